/* Lines of real verse, hostile lines, and speed. */
#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/verse/form.h"
#include "tests/unit/verse/with_syllables.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static void read_text(const char *path, struct str *text)
{
    struct gm_error err = {0};
    if (!file_read_all(path, 64u << 20, text, &err))
        fail_msg("%s", err.text);
}

/* Lines found in public-domain verse; a few end in a page number, so that not all can fit. */
static void test_found_sample(void **state)
{
    const struct syllables *s = *state;
    struct str text = {0};
    read_text(FIXTURES "/verse/found_lines.tsv", &text);
    struct line_count line = {0};
    int n = 0, right = 0;
    char *save = NULL;
    for (char *row = strtok_r(text.data, "\n", &save); row; row = strtok_r(NULL, "\n", &save)) {
        if (*row == '#')
            continue;
        char *tab = strchr(row, '\t');
        assert_non_null(tab);
        syllables_line(s, tab + 1, strlen(tab + 1), &line);
        n++;
        if (line.likely == atoi(row))
            right++;
        else
            print_message("%d, not %d: %s\n", line.likely, atoi(row), tab + 1);
    }
    print_message("%d of %d lines\n", right, n);
    assert_int_equal(n, 303);
    assert_true(right >= 0.98 * n);
    line_count_free(&line);
    str_free(&text);
}

/* Opt-in: all of found_haiku.tsv (GEMMAIKU_SHARED = the folder that holds data/). */
static void test_found_all(void **state)
{
    const struct syllables *s = *state;
    const char *folder = getenv("GEMMAIKU_SHARED");
    if (!folder)
        skip();
    char *path = mem_printf("%s/data/found_haiku.tsv", folder);
    struct str text = {0};
    read_text(path, &text);
    struct line_count line = {0};
    long n = 0, right = 0;
    char *p = strchr(text.data, '\n') + 1;
    while (*p) {
        char *end = strchr(p, '\n');
        for (int i = 0; i < 3; i++) {
            char *tab = strchr(p, '\t');
            assert_true(tab && tab < end);
            syllables_line(s, p, (size_t)(tab - p), &line);
            right += line.likely == (i == 1 ? 7 : 5);
            n++;
            p = tab + 1;
        }
        p = end + 1;
    }
    print_message("%ld of %ld lines (%.2f %%)\n", right, n, 100.0 * (double)right / (double)n);
    assert_true(n > 24000);
    assert_true((double)right >= 0.99 * (double)n);
    line_count_free(&line);
    str_free(&text);
    mem_free(path);
}

static void expect_line(const struct syllables *s, const char *text, int likely, size_t n_words)
{
    struct line_count line = {0};
    syllables_line(s, text, strlen(text), &line);
    if (line.likely != likely || line.n_words != n_words)
        fail_msg("%s: %d syllables in %zu words, expected %d in %zu", text, line.likely,
                 line.n_words, likely, n_words);
    assert_true(line.min <= line.likely && line.max >= line.likely &&
                (line.possible >> line.likely & 1));
    line_count_free(&line);
}

static void test_marks(void **state)
{
    const struct syllables *s = *state;
    expect_line(s, "old silent pond", 4, 3);
    expect_line(s,
                "\xE2\x80\x9C"
                "Hello,\xE2\x80\x9D she said\xE2\x80\x94softly\xE2\x80\xA6then left",
                8, 6);
    expect_line(s, "wait--what...now?!", 3, 3);
    expect_line(s, "and/or sea,sky", 4, 4);
    expect_line(s, "**moon** _light_ `x` ~", 3, 3);
    expect_line(s, "- the moon", 2, 2);
    expect_line(
        s,
        "moon \xF0\x9F\x8C\x95\xEF\xB8\x8F over \xF0\x9F\x91\xA8\xE2\x80\x8D\xF0\x9F\x91\xA9 sea",
        4, 3);
    expect_line(s, "at 10 am", 4, 3);
    expect_line(s, "I am", 2, 2);
    expect_line(s, "GIVE US PEACE", 3, 3); /* shouted: no United States */
    expect_line(s, "the US flag", 4, 3);
    expect_line(s, "", 0, 0);
    expect_line(s, " \t\xC2\xA0 ", 0, 0);
    expect_line(s, "1-2-3", 3, 1);
    struct line_count line = {0};
    const char *text = " \"'Tis,\" the walkers' fire";
    syllables_line(s, text, strlen(text), &line);
    assert_int_equal(line.n_words, 4);
    assert_int_equal(strncmp(text + line.words[0].start, "'Tis", line.words[0].length), 0);
    assert_int_equal(line.words[0].length, 4);
    assert_int_equal(line.words[2].length, 8);
    assert_int_equal(line.likely, 5);
    assert_int_equal(line.max, 6);
    assert_true(line.possible == (1u << 5 | 1u << 6));
    line_count_free(&line);
}

/* Any bytes: no crash, sums that hold together, words inside the text and in order. */
static void test_hostile(void **state)
{
    const struct syllables *s = *state;
    static const char alphabet[] =
        "aeiouyAEst'-.,:$%&0123 9\xC3\xA9\xE2\x80\x99\xF0\x9F\x00\xFF\xCC\x88 \n";
    struct rng r = rng_stream(7, "hostile", 0);
    struct line_count line = {0};
    char text[600];
    for (int round = 0; round < 6000; round++) {
        size_t n = (size_t)rng_below(&r, sizeof text);
        for (size_t i = 0; i < n; i++)
            text[i] = round % 3 ? alphabet[rng_below(&r, sizeof alphabet - 1)] : (char)rng_u32(&r);
        syllables_line(s, text, n, &line);
        long sum = 0;
        size_t end = 0;
        for (size_t i = 0; i < line.n_words; i++) {
            const struct word_count *w = &line.words[i];
            assert_true(w->start >= end && w->length > 0 && w->start + w->length <= n);
            assert_true(w->n_alternatives >= 1 && w->n_alternatives <= SYLLABLES_ALTERNATIVES &&
                        w->min >= 0 && w->min <= w->likely && w->likely <= w->max);
            end = w->start + w->length;
            sum += w->likely;
        }
        assert_int_equal(sum, line.likely);
        struct verdict v;
        form_judge(s, form_find("haiku"), text, n, &v);
    }
    line_count_free(&line);
}

/* Megabytes in one word: no recursion, no blow-up, counts that stop at their cap. */
static void test_huge(void **state)
{
    const struct syllables *s = *state;
    static const char *const patterns[] = {
        "a",   "7",   "'",  "-",  "a'",           "a-", "aB",  "\xC3\xA9",
        "bcd", "ing", "un", "1,", "\xE3\x81\x81", "ee", "...", "$5"};
    size_t n = 4u << 20;
    char *text = mem_new(n + 1, 1);
    for (size_t k = 0; k < sizeof patterns / sizeof *patterns; k++) {
        size_t length = strlen(patterns[k]);
        for (size_t i = 0; i < n; i++)
            text[i] = patterns[k][i % length];
        struct word_count count;
        double began = clock_seconds();
        size_t before = mem_live_bytes();
        syllables_word(s, text, n, &count);
        assert_int_equal(mem_live_bytes(), before);
        double seconds = clock_seconds() - began;
        assert_true(count.likely >= 0 && count.likely <= 1000000 && count.max <= 1000000);
        if (seconds > 20)
            fail_msg("%s: %.1f s", patterns[k], seconds);
    }
    mem_free(text);
}

/* Of this thread alone: what else runs on the machine does not count. */
static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void test_speed(void **state)
{
    const struct syllables *s = *state;
    struct str text = {0}, all = {0};
    read_text(FIXTURES "/verse/found_lines.tsv", &text);
    while (all.len < 400000)
        str_add_n(&all, text.data, text.len);
    struct line_count line = {0};
    double best = 1e9;
    for (int round = 0; round < 3; round++) {
        double began = cpu_seconds();
        const char *p;
        size_t at = 0, n;
        while (form_next_line(all.data, all.len, &at, &p, &n))
            syllables_line(s, p, n, &line);
        double seconds = cpu_seconds() - began;
        if (seconds < best)
            best = seconds;
    }
    print_message("%.1f MB/s\n", (double)all.len / best / 1e6);
#ifdef __SANITIZE_ADDRESS__
    double bar = 1e5;
#else
    double bar = 1e6;
#endif
    assert_true((double)all.len / best > bar);
    line_count_free(&line);
    str_free(&text);
    str_free(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found_sample), cmocka_unit_test(test_found_all),
        cmocka_unit_test(test_marks),        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_huge),         cmocka_unit_test(test_speed)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
