/* train_test.h - what the tests of this room share: a folder of one's own, files in it, and a
 * tokenizer with its template. */
#ifndef GM_TEST_TRAIN_H
#define GM_TEST_TRAIN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/train/dataset.h"

#include "engine/format/model_source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline char *new_folder(void)
{
    char name[] = "/tmp/gemmaiku-test-XXXXXX";
    assert_non_null(mkdtemp(name));
    return mem_copy(name);
}

static inline void remove_folder(char *folder)
{
    assert_true(dir_remove(folder, NULL));
    mem_free(folder);
}

/* Writes folder/name; returns its path (mem_free). */
static inline char *put_file(const char *folder, const char *name, const char *text)
{
    char *path = path_join(folder, name);
    assert_true(file_replace(path, text, strlen(text), NULL));
    return path;
}

static inline struct str read_whole(const char *path)
{
    struct str s = {0};
    struct gm_error err = {0};
    if (!file_read_all(path, 1 << 28, &s, &err))
        fail_msg("%s", err.text);
    return s;
}

static inline bool same_file(const char *a, const char *b)
{
    struct str x = read_whole(a), y = read_whole(b);
    bool same = x.len == y.len && memcmp(str_text(&x), str_text(&y), x.len) == 0;
    str_free(&x);
    str_free(&y);
    return same;
}

struct text_tools {
    struct model_source source;
    struct tokenizer *tokenizer;
    struct chat_template *tpl;
};

static inline struct text_tools open_tools(const char *folder)
{
    struct text_tools t = {0};
    struct gm_error err = {0};
    if (!model_source_open_tokenizer(&t.source, folder, &err) ||
        !(t.tokenizer = tokenizer_open(&t.source, &err)) ||
        !(t.tpl = chat_template_open(&t.source, t.tokenizer, NULL, &err)))
        fail_msg("%s", err.text);
    return t;
}

static inline void close_tools(struct text_tools *t)
{
    chat_template_free(t->tpl);
    tokenizer_free(t->tokenizer);
    model_source_close(&t->source);
}

/* n conversations as JSON Lines, every prompt and line its own. */
static inline char *many_rows(int n)
{
    static const char *const THINGS[] = {"rain", "snow", "moss", "heron", "lamp", "river",
                                         "dust", "owl",  "pine", "kite",  "salt"};
    struct str s = {0};
    for (int i = 0; i < n; i++)
        str_printf(&s,
                   "{\"messages\": [{\"role\": \"user\", \"content\": \"Write about %s %d\"}, "
                   "{\"role\": \"assistant\", \"content\": "
                   "\"the %s number %d\\nwaits %d hours by the %s\\nand %d more%s\"}]}\n",
                   THINGS[i % 11], i, THINGS[(i * 7 + 3) % 11], i, i + 1, THINGS[(i * 5 + 1) % 11],
                   i * 3 + 2, i % 4 == 0 ? " until the long day is over and done" : "");
    return str_take(&s);
}

#endif
