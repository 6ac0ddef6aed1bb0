/* JSON: what is refused and where, what the getters say, what is written. */
#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/base/str.h"
#include "engine/format/json.h"
#include "engine/format/json_scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const struct {
    const char *text, *place, *says;
} broken[] = {
    {"", "f.json:1:1:", "no JSON"},
    {"  \n\t ", "f.json:1:1:", "no JSON"},
    {"{\"a\": 1,\n \"b\": }", "f.json:2:", "mend"},
    {"{\"a\": 1", "f.json:1:", "cut short"},
    {"{\"a\": 1, \"a\": 2}", "f.json:1:", "duplicate"},
    {"{\"a\": 01}", "f.json:1:", ""},
    {"{\"a\": NaN}", "f.json:1:", ""},
    {"{\"a\": 1e999}", "f.json:1:", ""},
    {"{\"a\": 99999999999999999999}", "f.json:1:", ""},
    {"{\"a\": \"x\ty\"}", "f.json:1:", ""},
    {"{\"a\": \"\\ud800\"}", "f.json:1:", ""},
    {"{\"a\": \"\\u0000\"}", "f.json:1:", ""},
    {"{\"a\": \"\xff\"}", "f.json:1:", "UTF-8"},
    {"{} {}", "f.json:1:", ""},
    {"[1,]", "f.json:1:", ""},
    {"{a: 1}", "f.json:1:", ""},
    {"{'a': 1}", "f.json:1:", ""},
    {"\"\x1b[2J", "f.json:1:", ""},
};

static void test_broken(void **state)
{
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        struct gm_error err = {0};
        json_t *v = json_parse(broken[i].text, strlen(broken[i].text), "f.json", &err);
        if (v || err.code != GM_E_INPUT || !strstr(err.text, broken[i].place) ||
            !strstr(err.text, broken[i].says) || strchr(err.text, '\x1b'))
            fail_msg("case %zu: %s", i, v ? "accepted" : err.text);
    }
}

static void test_place(void **state)
{
    struct gm_error err = {0};
    const char *text = "{\n  \"gr\xc3\xbc\xc3\x9f\": tru\n}";
    assert_null(json_parse_at(text, strlen(text), "rows.jsonl", 17, &err));
    assert_non_null(
        strstr(err.text, "read rows.jsonl:18:13:")); /* columns count characters, not bytes */
}

static void test_depth(void **state)
{
    char text[600] = {0};
    struct gm_error err = {0};
    memset(text, '[', JSON_DEPTH_MAX);
    memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    json_t *v = json_parse(text, strlen(text), "deep", &err);
    assert_non_null(v);
    json_decref(v);
    memset(text, '[', 300);
    memset(text + 300, 0, 300);
    assert_null(json_parse(text, 300, "deep", &err));
    assert_non_null(strstr(err.text, "deep:1:65: nested deeper"));
    const char *quoted =
        "[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[\"]";
    v = json_parse(quoted, strlen(quoted), "quoted", &err);
    assert_non_null(v);
    json_decref(v);
}

static void test_bom(void **state)
{
    struct gm_error err = {0};
    json_t *v = json_parse("\xEF\xBB\xBF{}", 5, "bom", &err);
    assert_true(json_is_object(v));
    json_decref(v);
    assert_null(json_parse("\xEF\xBB\xBF\xEF\xBB\xBF{}", 8, "bom", &err));
}

static void test_getters(void **state)
{
    struct gm_error err = {0};
    const char *text = "{\"i\": 7, \"r\": 0.5, \"f\": 64.0, \"b\": true, \"s\": \"x\", \"n\": "
                       "null, \"a\": [1], \"o\": {}}";
    json_t *o = json_parse(text, strlen(text), "t", &err);
    assert_non_null(o);
    int64_t i = 3;
    double r = 1.5;
    bool b = false;
    const char *s = "default";
    const json_t *v = NULL;
    assert_true(json_get_int(o, "i", REQUIRED, 0, 10, &i, &err) && i == 7);
    assert_true(json_get_int(o, "absent", OPTIONAL, 0, 10, &i, &err) && i == 7);
    assert_true(json_get_int(o, "n", OPTIONAL, 0, 10, &i, &err) && i == 7);
    assert_true(json_get_double(o, "r", REQUIRED, 0, 1, &r, &err) && r == 0.5);
    assert_true(json_get_double(o, "i", REQUIRED, 0, 10, &r, &err) && r == 7.0);
    assert_true(json_get_bool(o, "b", REQUIRED, &b, &err) && b);
    assert_true(json_get_string(o, "absent", OPTIONAL, &s, &err) && strcmp(s, "default") == 0);
    assert_true(json_get_string(o, "s", REQUIRED, &s, &err) && strcmp(s, "x") == 0);
    assert_true(json_get_array(o, "a", REQUIRED, &v, &err) && json_array_size(v) == 1);
    assert_true(json_get_object(o, "o", REQUIRED, &v, &err) && json_object_size(v) == 0);
    assert_false(json_get_int(o, "f", REQUIRED, 0, 100, &i, &err)); /* 64.0 is no integer */
    assert_non_null(strstr(err.text, "\"f\" is a fraction"));
    assert_false(json_get_int(o, "i", REQUIRED, 8, 100, &i, &err));
    assert_non_null(strstr(err.text, "\"i\" is 7 (it must be 8 to 100)"));
    assert_false(json_get_int(o, "n", REQUIRED, 0, 1, &i, &err));
    assert_non_null(strstr(err.text, "missing"));
    assert_false(json_get_bool(o, "i", OPTIONAL, &b, &err));
    assert_false(json_get_double(o, "s", OPTIONAL, 0, 1, &r, &err));
    assert_false(json_get_string(o, "i", OPTIONAL, &s, &err));
    assert_false(json_get_int(json_object_get(o, "a"), "i", OPTIONAL, 0, 1, &i, &err));
    assert_true(json_has(o, "i") && !json_has(o, "n") && !json_has(o, "zz"));
    assert_int_equal(i, 7);
    json_decref(o);
}

static void check_line(const char *text, const char *expect)
{
    struct gm_error err = {0};
    json_t *v = json_parse(text, strlen(text), "t", &err);
    if (!v)
        fail_msg("%s: %s", text, err.text);
    char *line = json_line(v);
    assert_string_equal(line, expect);
    json_t *again = json_parse(line, strlen(line), "again", &err);
    assert_true(again && json_equal(v, again));
    mem_free(line);
    json_decref(again);
    json_decref(v);
}

static void test_line(void **state)
{
    check_line("{ \"z\": [1, 2.50, -0.1, 1e30], \"a\": {\"k\": null} }",
               "{\"z\":[1,2.5,-0.1,1e+30],\"a\":{\"k\":null}}");
    check_line("\"gr\\u00fc\\u00df\\n \\u65e5\"", "\"gr\xc3\xbc\xc3\x9f\\n \xe6\x97\xa5\"");
    check_line("\"\\u001b \\u009b \\u202e \\u007f \\\" \\\\\"",
               "\"\\u001b \\u009b \\u202e \\u007f \\\" \\\\\"");
    check_line("[0.1, 0.30000000000000004, 2.0, 4.35]", "[0.1,0.30000000000000004,2.0,4.35]");
    check_line("[[],{},true,false,-9223372036854775807]",
               "[[],{},true,false,-9223372036854775807]");
}

static void test_write(void **state)
{
    char path[] = "/tmp/gm_json_XXXXXX";
    close(mkstemp(path));
    struct gm_error err = {0};
    const char *text = "{\"b\":[1,2],\"a\":{\"x\":[{\"y\":1}]},\"e\":{}}";
    json_t *v = json_parse(text, strlen(text), "t", &err);
    assert_true(json_write_file(path, v, &err));
    struct str got = {0};
    assert_true(file_read_all(path, 4096, &got, &err));
    assert_string_equal(str_text(&got), "{\n  \"b\": [1, 2],\n  \"a\": {\n    \"x\": [\n      {\n  "
                                        "      \"y\": 1\n      }\n    ]\n  },\n  \"e\": {}\n}\n");
    json_t *again = json_load_file_checked(path, 4096, &err);
    assert_true(again && json_equal(v, again));
    assert_null(json_load_file_checked(path, 10, &err));
    assert_true(file_replace(path, "version https://git-lfs.github.com/spec/v1\n", 43, &err));
    assert_null(json_load_file_checked(path, 4096, &err));
    assert_non_null(strstr(err.text, "git lfs pull"));
    json_decref(again);
    json_decref(v);
    str_free(&got);
    unlink(path);
}

/* The scanner accepts what Jansson accepts, for texts that both should judge alike. */
static void test_scan(void **state)
{
    static const struct {
        const char *text;
        bool good;
    } cases[] = {
        {"{}", true},
        {"[]", true},
        {" [1, -2.5e+3, \"a\\u00e9\\ud83d\\ude00\", {\"k\": [true, false, null]}] ", true},
        {"[1 2]", false},
        {"[1,]", false},
        {"{\"a\":}", false},
        {"{\"a\" 1}", false},
        {"[01]", false},
        {"[1.]", false},
        {"[.5]", false},
        {"[1e]", false},
        {"[-]", false},
        {"[tru]", false},
        {"[\"\\x\"]", false},
        {"[\"\\ud83d\"]", false},
        {"[\"\\ude00\"]", false},
        {"[\"\\u00\"]", false},
        {"[\"a", false},
        {"[\"\xc3(\"]", false},
        {"[\"\xed\xa0\x80\"]", false},
        {"[", false},
        {"[]]", false},
        {"{\"a\":1,}", false},
        {"[\"\n\"]", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gm_error err = {0};
        size_t n = strlen(cases[i].text);
        char *exact = malloc(n);
        memcpy(exact, cases[i].text, n);
        struct json_scan s = json_scan_begin(exact, n, "t", 0, &err);
        bool ok = scan_skip(&s) && scan_end(&s);
        json_t *tree = json_parse(exact, n, "t", NULL);
        if (ok != cases[i].good || (tree != NULL) != cases[i].good ||
            (!ok && err.code != GM_E_INPUT))
            fail_msg("case %zu (%s): scan %d, tree %d, %s", i, cases[i].text, ok, tree != NULL,
                     err.text);
        json_decref(tree);
        free(exact);
    }
}

/* Singles are written as people wrote them, and read back as they were. */
static void test_f32(void **state)
{
    (void)state;
    const float singles[] = {0.2f, 0.1f, 1.0f / 3, 4.0f / 3, 16777216, 1e-8f, 3.4028235e38f, 1e-45f, -0.7f, 0};
    for (size_t i = 0; i < sizeof singles / sizeof *singles; i++) {
        json_t *value = json_f32(singles[i]);
        assert_true((float)json_real_value(value) == singles[i]);
        json_decref(value);
    }
    json_t *value = json_f32(0.2f);
    assert_true(json_real_value(value) == 0.2);
    json_decref(value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broken), cmocka_unit_test(test_place),   cmocka_unit_test(test_depth),
        cmocka_unit_test(test_bom),    cmocka_unit_test(test_getters), cmocka_unit_test(test_line),
        cmocka_unit_test(test_write),  cmocka_unit_test(test_scan),    cmocka_unit_test(test_f32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
