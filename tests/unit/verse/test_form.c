/* Verdicts: what is a haiku, what only may be one, what is none; and the JSON of both. */
#include "engine/base/str.h"
#include "engine/verse/verse_json.h"
#include "tests/unit/verse/with_syllables.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define POND "An old silent pond\nA frog jumps into the pond\nSplash! Silence again."

struct expected {
    const char *text;
    bool strict, possible, three_lines;
    int n_lines;
};

static void test_haiku(void **state)
{
    const struct syllables *s = *state;
    static const struct expected rows[] = {
        {POND, true, true, true, 3},
        {"\n\n  An old silent pond  \r\n\r\n\tA frog jumps into the pond\r\nSplash! Silence "
         "again.\n\n",
         true, true, true, 3},
        {"An old silent pond\rA frog jumps into the pond\rSplash! Silence again.", true, true, true,
         3},
        {"\xEF\xBB\xBF"
         "An old silent pond\xE2\x80\xA8\xE3\x80\x80"
         "A frog jumps into the pond\xC2\xA0\nSplash! Silence again.",
         true, true, true, 3},
        {"Title\n" POND, false, false, false, 4},
        {POND "\nEnd", false, false, false, 4},
        {"An old silent pond A frog jumps into the pond\nSplash! Silence again.", false, false,
         false, 2},
        {"An old silent pond / A frog jumps into the pond / Splash! Silence again.", false, false,
         false, 1},
        {"1. An old silent pond\nA frog jumps into the pond\nSplash! Silence again.", false, false,
         true, 3},
        {"An old pond\nA frog jumps into the pond\nSplash! Silence again.", false, false, true, 3},
        /* fire is mostly one syllable, and may be two */
        {"The old fire still burns\nA frog jumps into the pond\nSplash! Silence again.", true, true,
         true, 3},
        {"The old fire burns\nA frog jumps into the pond\nSplash! Silence again.", false, true,
         true, 3},
        /* 2 + 2 that may be 1 + 1 each: 6 cannot be read as 5 by halves that do not exist */
        {"Flowers and flowers\nA frog jumps into the pond\nSplash! Silence again.", true, true,
         true, 3},
        {"Flowers and flowers now\nA frog jumps into the pond\nSplash! Silence again.", false, true,
         true, 3},
        {"", false, false, false, 0},
        {"\n \n\t\n", false, false, false, 0},
        {"...\n---\n\xF0\x9F\x8C\xB8", false, false, true, 3},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct verdict v;
        form_judge(s, form_find("haiku"), rows[i].text, strlen(rows[i].text), &v);
        if (v.strict != rows[i].strict || v.possible != rows[i].possible ||
            v.three_lines != rows[i].three_lines || v.n_lines != rows[i].n_lines)
            fail_msg("row %zu: strict %d, possible %d, three lines %d, %d lines (%d %d %d)", i,
                     v.strict, v.possible, v.three_lines, v.n_lines, v.syllables[0], v.syllables[1],
                     v.syllables[2]);
    }
}

static void test_tanka(void **state)
{
    const struct syllables *s = *state;
    const char *tanka = POND "\nThe rings go on and on, and\nthe moon in the water shakes";
    struct verdict v;
    form_judge(s, form_find("tanka"), tanka, strlen(tanka), &v);
    assert_true(v.strict && v.possible && !v.three_lines);
    assert_string_equal(v.form, "tanka");
    form_judge(s, form_find("tanka"), POND, strlen(POND), &v);
    assert_false(v.strict || v.possible);
    form_judge(s, form_find("haiku"), tanka, strlen(tanka), &v);
    assert_false(v.strict || v.possible);
    assert_null(form_find("sonnet"));
}

/* More lines than a verdict has room for. */
static void test_many_lines(void **state)
{
    const struct syllables *s = *state;
    struct str text = {0};
    for (int i = 0; i < 5000; i++)
        str_add(&text, "moon\n");
    struct verdict v;
    form_judge(s, form_find("haiku"), text.data, text.len, &v);
    assert_int_equal(v.n_lines, 5000);
    assert_false(v.strict);
    assert_int_equal(v.syllables[FORM_LINES - 1], 1);
    str_free(&text);
}

static void test_json(void **state)
{
    const struct syllables *s = *state;
    const char text[] = "The old fire burns\nA frog jumps into the pond\n\nSplash! Silence again.";
    json_t *row = verse_json_line(s, form_find("haiku"), text, strlen(text));
    char *dump = json_dumps(row, JSON_COMPACT | JSON_PRESERVE_ORDER);
    const char *head =
        "{\"text\":\"The old fire burns\\nA frog jumps into the pond\\n\\nSplash! Silence "
        "again.\",\"lines\":[{\"text\":\"The old fire burns\","
        "\"syllables\":4,\"min\":4,\"max\":5,\"words\":[{\"word\":\"The\",\"syllables\":1,"
        "\"alternatives\":[1],\"source\":\"dictionary\"},"
        "{\"word\":\"old\",\"syllables\":1,\"alternatives\":[1],\"source\":\"dictionary\"},"
        "{\"word\":\"fire\",\"syllables\":1,\"alternatives\":[1,2],\"source\":\"overlay\"},";
    if (strncmp(dump, head, strlen(head)) != 0)
        fail_msg("%s", dump);
    assert_non_null(strstr(
        dump, "\"form\":\"haiku\",\"strict\":false,\"possible\":true,\"three_lines\":true}"));
    assert_int_equal(json_array_size(json_object_get(row, "lines")), 3);
    free(dump);
    json_decref(row);

    struct verdict v;
    form_judge(s, form_find("haiku"), POND, strlen(POND), &v);
    json_t *verdict = verse_json_verdict(&v);
    dump = json_dumps(verdict, JSON_COMPACT | JSON_PRESERVE_ORDER);
    assert_string_equal(
        dump, "{\"form\":\"haiku\",\"strict\":true,\"possible\":true,\"syllables\":[5,7,5]}");
    free(dump);
    json_decref(verdict);

    /* broken UTF-8 and NUL still make a row */
    row = verse_json_line(s, form_find("haiku"), "mo\0on\xFF\xC3\nx", 9);
    dump = json_dumps(row, JSON_COMPACT);
    assert_non_null(dump);
    assert_non_null(strstr(dump, "\xEF\xBF\xBD"));
    free(dump);
    json_decref(row);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_haiku), cmocka_unit_test(test_tanka),
                                       cmocka_unit_test(test_many_lines),
                                       cmocka_unit_test(test_json)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
