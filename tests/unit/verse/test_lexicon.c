/* The pronunciation table and the overlay: every word has one of its listed counts; damaged tables
 * are refused. */
#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/builtin/builtin.h"
#include "engine/verse/lexicon.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct syllables *open_table(void)
{
    struct gm_error err = {0};
    struct syllables *s = syllables_open(&err);
    if (!s)
        fail_msg("%s", err.text);
    return s;
}

static bool among(int count, const int *counts, int n)
{
    for (int i = 0; i < n; i++)
        if (counts[i] == count)
            return true;
    return false;
}

static const struct overlay_word *in_overlay(const struct syllables *s, const char *word)
{
    for (size_t i = 0; i < s->n_overlay; i++)
        if (strcmp(s->overlay[i].word, word) == 0)
            return &s->overlay[i];
    return NULL;
}

/* Each of the table's words, given as text, comes out with a count that the table (or, where it
 * says otherwise, the overlay) lists. */
static void test_every_word(void **state)
{
    (void)state;
    struct syllables *s = open_table();
    assert_int_equal(s->n_words, 126052);
    for (uint32_t i = 0; i < s->n_words; i++) {
        char word[LEXICON_WORD_MAX + 1];
        struct reading listed;
        struct word_count count;
        lexicon_word(s, i, word, &listed);
        syllables_word(s, word, strlen(word), &count);
        const struct overlay_word *o = in_overlay(s, word);
        if (o ? count.likely != o->reading.count[0] : !among(count.likely, listed.count, listed.n))
            fail_msg("%s: %d (%s), listed %d", word, count.likely, count.source, listed.count[0]);
    }
    syllables_free(s);
}

/* The overlay, read here afresh from its file: the counts are exactly these, the first is the
 * likely one. */
static void test_overlay(void **state)
{
    (void)state;
    struct syllables *s = open_table();
    const struct builtin_file *f = builtin_find("verse/overlay.tsv");
    assert_non_null(f);
    char *text = mem_copy_n((const char *)f->data, f->size), *save = NULL;
    int rows = 0;
    strtok_r(text, "\n", &save);
    for (char *line; (line = strtok_r(NULL, "\n", &save));) {
        char word[64], counts[64];
        assert_int_equal(sscanf(line, "%63[^\t]\t%63[0-9,]", word, counts), 2);
        struct word_count got;
        syllables_word(s, word, strlen(word), &got);
        int n = 0;
        char *inner = NULL;
        for (char *c = strtok_r(counts, ",", &inner); c; c = strtok_r(NULL, ",", &inner), n++) {
            if (n == 0 && got.likely != atoi(c))
                fail_msg("%s: likely %d, overlay %s", word, got.likely, c);
            if (!among(atoi(c), got.alternatives, got.n_alternatives))
                fail_msg("%s: %s is not accepted", word, c);
        }
        /* dotted abbreviations may also be the bare word at the end of a sentence */
        if (got.n_alternatives != n && !strchr(word, '.'))
            fail_msg("%s: %d readings, overlay has %d", word, got.n_alternatives, n);
        rows++;
    }
    assert_true(rows >= 394);
    mem_free(text);
    syllables_free(s);
}

/* Opt-in: the committed table against the dictionary it was made from (GEMMAIKU_CMUDICT = path of
 * cmudict.dict). */
static void test_source(void **state)
{
    (void)state;
    const char *path = getenv("GEMMAIKU_CMUDICT");
    if (!path)
        skip();
    struct syllables *s = open_table();
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    char line[1024];
    int pronunciations = 0;
    struct lexicon x = {.s = s};
    size_t n_overlay = s->n_overlay;
    s->n_overlay = 0; /* the dictionary alone */
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "#\n")] = '\0';
        char *save = NULL, *word = strtok_r(line, " ", &save);
        if (!word)
            continue;
        word[strcspn(word, "(")] = '\0';
        int count = 0;
        for (char *phone; (phone = strtok_r(NULL, " ", &save));)
            count += strpbrk(phone, "0123456789") != NULL;
        struct reading r;
        if (!lexicon_find(&x, word, strlen(word), &r) || !among(count, r.count, r.n))
            fail_msg("%s: %d is not in the table", word, count);
        pronunciations++;
    }
    fclose(f);
    assert_true(pronunciations > 130000);
    s->n_overlay = n_overlay;
    syllables_free(s);
}

static bool opens(const unsigned char *table, size_t n)
{
    struct gm_error err = {0};
    struct syllables *s = syllables_open_bytes(table, n, NULL, 0, &err);
    if (!s)
        assert_true(err.code == GM_E_INPUT && strstr(err.text, "read pronunciation table"));
    if (s) { /* what opens can be used */
        struct word_count count;
        for (const char *const *w = (const char *const[]){"", "moon", "zzzz", "a", "'", NULL}; *w;
             w++)
            syllables_word(s, *w, strlen(*w), &count);
    }
    syllables_free(s);
    return s != NULL;
}

static void test_damage(void **state)
{
    (void)state;
    const struct builtin_file *f = builtin_find("verse/counts.bin");
    unsigned char *copy = mem_new(f->size, 1);
    memcpy(copy, f->data, f->size);
    assert_true(opens(copy, f->size));
    for (size_t n = 0; n < 4000; n++)
        assert_false(opens(copy, n));
    assert_false(opens(copy, f->size - 1));
    struct rng r = rng_stream(1, "damage", 0);
    int refused = 0;
    for (int i = 0; i < 400; i++) { /* one byte anywhere, more often in the header */
        size_t at = (size_t)rng_below(&r, i % 2 ? 24 + 39 * 8 + 64 : f->size);
        unsigned char old = copy[at];
        copy[at] = (unsigned char)rng_u32(&r);
        refused += copy[at] != old && !opens(copy, f->size);
        copy[at] = old;
    }
    assert_true(refused > 100);
    mem_free(copy);
}

static void test_bad_overlay(void **state)
{
    (void)state;
    const struct builtin_file *f = builtin_find("verse/counts.bin");
    static const char *const bad[] = {
        "word\tcounts\nmoon\n",  "h\n\t1\n",
        "h\nmoon\t\n",           "h\nmoon\t1,\n",
        "h\nmoon\tx\n",          "h\nmoon\t99\n",
        "h\nmoon\t1;2\n",        "h\nmoon\t1,1,1,1,1,1,1,1,1\n",
        "h\nmoon\t1\nmoon\t2\n", "h\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\t1\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct gm_error err = {0};
        assert_null(syllables_open_bytes(f->data, f->size, bad[i], strlen(bad[i]), &err));
        assert_true(err.code == GM_E_INPUT && strstr(err.text, "overlay"));
    }
    struct gm_error err = {0};
    const char *fine = "h\r\nmoon\t3,2\r\n# note\n\n";
    struct syllables *s = syllables_open_bytes(f->data, f->size, fine, strlen(fine), &err);
    assert_non_null(s);
    struct word_count count;
    syllables_word(s, "Moon", 4, &count);
    assert_int_equal(count.likely, 3);
    assert_string_equal(count.source, "overlay");
    syllables_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_word), cmocka_unit_test(test_overlay),
        cmocka_unit_test(test_damage), cmocka_unit_test(test_bad_overlay),
        cmocka_unit_test(test_source)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
