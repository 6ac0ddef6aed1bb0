/* vectors.h - what the tests of this room share: fixtures read into trees, tokenizers opened, ids
 * compared. */
#ifndef GM_TEST_TEXT_VECTORS_H
#define GM_TEST_TEXT_VECTORS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/format/model_source.h"
#include "engine/text/tokenizer.h"
#include "tests/unit/fixtures.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* text/ and real_smollm2/ are of one set alone; the rest may be another one's (fixtures_dir). */
static inline char *fixture_path(const char *name)
{
    bool own = strncmp(name, "text/", 5) == 0 || strncmp(name, "real_", 5) == 0;
    return path_join(own ? FIXTURES : fixtures_dir(), name);
}

static inline char *read_text(const char *name, size_t *n)
{
    char *path = fixture_path(name);
    struct str s = {0};
    struct gm_error err = {0};
    if (!file_read_all(path, 64 << 20, &s, &err))
        fail_msg("%s", err.text);
    mem_free(path);
    if (n)
        *n = s.len;
    return str_take(&s);
}

/* A folder with a tokenizer, or a GGUF. */
static inline struct tokenizer *open_path(const char *path)
{
    struct model_source src = {0};
    struct gm_error err = {0};
    if (!model_source_open_tokenizer(&src, path, &err))
        fail_msg("%s", err.text);
    struct tokenizer *t = tokenizer_open(&src, &err);
    if (!t)
        fail_msg("%s", err.text);
    model_source_close(&src);
    return t;
}

static inline struct tokenizer *open_fixture(const char *name)
{
    char *path = fixture_path(name);
    struct tokenizer *t = open_path(path);
    mem_free(path);
    return t;
}

static inline struct tokenizer *open_family(const char *family)
{
    char name[256];
    snprintf(name, sizeof name, "tokenizers/%s", family);
    return open_fixture(name);
}

/* Calls fn for each line of a .jsonl (Jansson itself: the texts hold NUL bytes). Returns the number
 * of rows. */
static inline size_t each_row(const char *name, void (*fn)(const json_t *row, size_t i, void *arg),
                              void *arg)
{
    char *text = read_text(name, NULL);
    size_t rows = 0;
    for (char *line = text, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        if (!end)
            break;
        json_t *row = json_loadb(line, (size_t)(end - line), JSON_ALLOW_NUL, NULL);
        assert_non_null(row);
        fn(row, rows++, arg);
        json_decref(row);
    }
    mem_free(text);
    return rows;
}

static inline bool same_ids(const struct id_list *have, const json_t *want)
{
    if (have->n != json_array_size(want))
        return false;
    for (size_t i = 0; i < have->n; i++)
        if (have->ids[i] != json_integer_value(json_array_get(want, i)))
            return false;
    return true;
}

static inline void show_ids(const char *what, const struct id_list *have, const json_t *want)
{
    printf("%s\n  have", what);
    for (size_t i = 0; i < have->n; i++)
        printf(" %d", have->ids[i]);
    char *text = json_dumps(want, JSON_COMPACT);
    printf("\n  want %s\n", text);
    free(text);
}

#endif
