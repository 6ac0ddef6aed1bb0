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
#include "engine/text/tokenizer.h"
#include "tests/unit/fixtures.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* tokenizers/ and models/ from the set of fixtures that is asked for, the rest from ours. */
static inline char *read_text(const char *name, size_t *n)
{
    bool of_set = strncmp(name, "tokenizers/", 11) == 0 || strncmp(name, "models/", 7) == 0;
    char *path = path_join(of_set ? fixtures_dir() : FIXTURES, name);
    struct str s = {0};
    struct gm_error err = {0};
    if (!file_read_all(path, 64 << 20, &s, &err))
        fail_msg("%s", err.text);
    mem_free(path);
    if (n)
        *n = s.len;
    return str_take(&s);
}

static inline struct tokenizer *open_family(const char *family)
{
    char name[256];
    size_t n;
    snprintf(name, sizeof name, "tokenizers/%s/tokenizer.json", family);
    char *json = read_text(name, &n);
    snprintf(name, sizeof name, "tokenizers/%s/tokenizer_config.json", family);
    char *config = read_text(name, NULL);
    struct gm_error err = {0};
    struct tokenizer *t = tokenizer_open_json(json, n, config, family, &err);
    if (!t)
        fail_msg("%s", err.text);
    mem_free(json);
    mem_free(config);
    return t;
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
