/* YAML: what is read (as PyYAML reads it), what is refused and on which line, where values stand. */
#include "engine/base/mem.h"
#include "engine/base/str.h"
#include "engine/format/json.h"
#include "engine/format/yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A text and the JSON that PyYAML's safe loader, with mlx-lm's rule for 1e-5, makes of it. */
static const struct {
    const char *yaml, *json;
} good[] = {
    {"", "null"},
    {"# nothing\n\n---\n...\n", "null"},
    {"\xef\xbb\xbf" "a: 1\r\nb: two\r\n", "{\"a\":1,\"b\":\"two\"}"},
    {"---\nmodel: \"mlx_model\" # a comment\ntrain: true\nlearning_rate: 1e-5\nresume_adapter_file: null\n",
     "{\"model\":\"mlx_model\",\"train\":true,\"learning_rate\":1.0000000000000001e-05,\"resume_adapter_file\":null}"},
    {"lora_parameters:\n  # a comment\n  keys: [\"self_attn.q_proj\", 'self_attn.v_proj']\n  rank: 8\n  scale: 20.0\n",
     "{\"lora_parameters\":{\"keys\":[\"self_attn.q_proj\",\"self_attn.v_proj\"],\"rank\":8,\"scale\":20.0}}"},
    {"keys:\n- a\n- b\nnext: 1\n", "{\"keys\":[\"a\",\"b\"],\"next\":1}"},
    {"keys:\n  - a\n  -\n  - - 1\n    - 2\n  - x: 1\n    y: 2\n  - {z: [3, 4,]}\n", "{\"keys\":[\"a\",null,[1,2],{\"x\":1,\"y\":2},{\"z\":[3,4]}]}"},
    {"a:\n  b:\n    c: deep\n  d: back\ne:\nf: end", "{\"a\":{\"b\":{\"c\":\"deep\"},\"d\":\"back\"},\"e\":null,\"f\":\"end\"}"},
    {"- 1\n- -2\n- +3\n- 1_000\n- 0x1f\n- 1.5\n- .5\n- 5.\n- 1e3\n- -2.5E-2\n- 0\n",
     "[1,-2,3,1000,31,1.5,0.5,5.0,1000.0,-0.025000000000000001,0]"},
    {"[true, True, TRUE, yes, on, false, No, OFF, null, ~, Null]", "[true,true,true,true,true,false,false,false,null,null,null]"},
    {"- 1.2.3\n- 1:30:x\n- e5\n- 3%\n- -x\n- a#b\n- http://x/y\n- 0.7b\n- \"1\"\n- 'no'\n",
     "[\"1.2.3\",\"1:30:x\",\"e5\",\"3%\",\"-x\",\"a#b\",\"http://x/y\",\"0.7b\",\"1\",\"no\"]"},
    {"a: it's\nb: 'it''s'\nc: \"tab\\t \\x41 \\u00e9 \\U0001F600 \\ud83d\\ude00 \\/ \\\"\"\nd: ''\n",
     "{\"a\":\"it's\",\"b\":\"it's\",\"c\":\"tab\\t A \xc3\xa9 \xf0\x9f\x98\x80 \xf0\x9f\x98\x80 / \\\"\",\"d\":\"\"}"},
    {"a: plain text\n  goes on\n\n  and on\nb: \"quoted\n  too\n\n  here \\\n  there\"\nc: 'one\n  two'\n",
     "{\"a\":\"plain text goes on\\nand on\",\"b\":\"quoted too\\nhere there\",\"c\":\"one two\"}"},
    {"a: |\n  one\n    two\n\n  three\nb: >\n  one\n  two\n\n  three\n    four\n  five\nc: |-\n  x\nd: |+\n  x\n\ne: >-\n  y\n  z\n",
     "{\"a\":\"one\\n  two\\n\\nthree\\n\",\"b\":\"one two\\nthree\\n  four\\nfive\\n\",\"c\":\"x\",\"d\":\"x\\n\\n\",\"e\":\"y z\"}"},
    {"- |2\n   a\n  b\n- >\n\n  lead\n- |\n- x\n", "[\" a\\nb\\n\",\"\\nlead\\n\",\"\",\"x\"]"},
    {"{\n  \"a\": {\"b\" : [1, 2.0, \"x\"]},\n\t\"c\":null,\"d\":\"e\"}\n", "{\"a\":{\"b\":[1,2.0,\"x\"]},\"c\":null,\"d\":\"e\"}"},
    {"{a: 1, b, c: , 'd': [x y, z]}", NULL}, /* a key without ':' */
    {"{a: 1, c: , 'd': [x y, z], e: http://x}", "{\"a\":1,\"c\":null,\"d\":[\"x y\",\"z\"],\"e\":\"http://x\"}"},
    {"a: [1,\n  2, # two\n  3]\nb: 4\n", "{\"a\":[1,2,3],\"b\":4}"},
    {"\"quoted key\": 1\n'other': 2\nkey with blanks : 3\n", "{\"quoted key\":1,\"other\":2,\"key with blanks\":3}"},
    {"just a word\n", "\"just a word\""},
    {"--- # start\na: 1\n...\n# end\n", "{\"a\":1}"},
    {"a: 1\n   \n\t\n# c\nb: 2\n", "{\"a\":1,\"b\":2}"},
};

static void reads_what_settings_are_written_in(void **state)
{
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct gm_error err = {0};
        json_t *value = yaml_parse(good[i].yaml, strlen(good[i].yaml), "f.yaml", NULL, &err);
        if (!good[i].json) {
            assert_null(value);
            continue;
        }
        if (!value)
            fail_msg("case %zu: %s", i, err.text);
        char *line = json_line(value);
        json_t *wanted = json_parse(good[i].json, strlen(good[i].json), "wanted", &err);
        char *other = json_line(wanted);
        assert_string_equal(line, other);
        mem_free(line);
        mem_free(other);
        json_decref(wanted);
        json_decref(value);
    }
}

static const struct {
    const char *yaml;
    int line;
    const char *says;
} bad[] = {
    {"a: 1\nb: 2\na: 3\n", 3, "second time"},
    {"a: {b: 1, b: 2}\n", 1, "second time"},
    {"a: 1\n\tb: 2\n", 2, "tab"},
    {"a:\n\t- 1\n", 2, "tab"},
    {"a: &x 1\n", 1, "&x is an anchor"},
    {"a: 1\nb: *x\n", 2, "*x is an alias"},
    {"a: !!python/object:os.system x\n", 1, "!!python/object:os.system is a tag"},
    {"a: [&x 1]\n", 1, "anchor"},
    {"<<: {a: 1}\n", 1, "merges"},
    {"%YAML 1.2\n---\na: 1\n", 1, "directive"},
    {"a: 1\n---\nb: 2\n", 2, "second document"},
    {"a: 1\n...\nb: 2\n", 3, "behind the end"},
    {"? a\n: b\n", 1, "\"?\" stands where"},
    {"a: b: c\n", 1, "second \":\""},
    {"a: - 1\n", 1, "list cannot begin"},
    {"a: 1\n  b: 2\n", 2, ""},
    {"a:\n    b: 1\n  c: 2\n", 3, ""},
    {"  a: 1\nb: 2\n", 2, "belongs to nothing"},
    {"a: 1\nno key\n", 2, "no \"key: value\""},
    {"- 1\nb: 2\n", 2, "belongs to nothing"},
    {"a: [1, 2\nb: 3\n", 2, ""},
    {"a: [1, 2", 1, "brackets"},
    {"a: {b: 1\n", 2, "brackets"},
    {"a: [1 2]\nb: ]\n", 2, ""},
    {"a: \"open\nb: 2\n", 1, "never closed"},
    {"a: 'open", 1, "never closed"},
    {"a: \"\\q\"\n", 1, "no escape"},
    {"a: \"\\u12\"\n", 1, "cut short"},
    {"a: \"\\u0000\"\n", 1, "names no character"},
    {"a: \"\\ud800\"\n", 1, "names no character"},
    {"a: \"\\UFFFFFFFF\"\n", 1, "names no character"},
    {"a: \"x\" y\n", 1, "does not belong here"},
    {"a: @x\n", 1, "cannot begin"},
    {"a: ]\n", 1, "stands where"},
    {"a: 010\n", 1, "octal"},
    {"a: .inf\n", 1, "finite"},
    {"a: 1e999\n", 1, "too large"},
    {"a: 99999999999999999999\n", 1, "too large"},
    {"a: \x01\n", 1, "control character"},
    {"b: 1\na: \xff\n", 2, "UTF-8"},
    {"a: |x\n  b\n", 1, "behind | or >"},
    {"a: | text\n", 1, "next line"},
    {"a: 1 # c\nb: 2 #c\nc: 3#c\nd: \"e\"#c\n", 4, "does not belong"},
};

static void refuses_the_rest_with_the_line(void **state)
{
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct gm_error err = {0};
        struct yaml_lines lines = {0};
        json_t *value = yaml_parse(bad[i].yaml, strlen(bad[i].yaml), "f.yaml", &lines, &err);
        char place[32];
        snprintf(place, sizeof place, "read f.yaml:%d: ", bad[i].line);
        if (value)
            fail_msg("case %zu passes", i);
        if (strncmp(err.text, place, strlen(place)) != 0 || !strstr(err.text, bad[i].says))
            fail_msg("case %zu: %s", i, err.text);
        yaml_lines_free(&lines);
    }
}

static void knows_the_lines(void **state)
{
    static const char text[] = "# head\na: 1\nlora_parameters:\n  rank: 8\n  keys:\n    - x\n    - y\nb: {c: 1,\n  d: 2}\n";
    struct yaml_lines lines = {0};
    struct gm_error err = {0};
    json_t *value = yaml_parse(text, strlen(text), "f.yaml", &lines, &err);
    assert_non_null(value);
    assert_int_equal(yaml_line(&lines, "a"), 2);
    assert_int_equal(yaml_line(&lines, "lora_parameters"), 3);
    assert_int_equal(yaml_line(&lines, "lora_parameters.rank"), 4);
    assert_int_equal(yaml_line(&lines, "lora_parameters.keys.1"), 7);
    assert_int_equal(yaml_line(&lines, "b.d"), 9);
    assert_int_equal(yaml_line(&lines, "nothing"), 0);
    yaml_lines_free(&lines);
    json_decref(value);
}

static void deep_and_large_texts_are_refused(void **state)
{
    struct gm_error err = {0};
    struct str s = {0};
    for (int i = 0; i < 100000; i++)
        str_add_char(&s, '[');
    assert_null(yaml_parse(str_text(&s), s.len, "f.yaml", NULL, &err));
    assert_non_null(strstr(err.text, "nests deeper"));
    str_clear(&s);
    for (int i = 0; i < 200; i++)
        str_printf(&s, "%*sa:\n", i, "");
    assert_null(yaml_parse(str_text(&s), s.len, "f.yaml", NULL, &err));
    assert_non_null(strstr(err.text, "nests deeper"));
    str_clear(&s);
    for (int i = 0; i < 60000; i++)
        str_add(&s, "- ");
    assert_null(yaml_parse(str_text(&s), s.len, "f.yaml", NULL, &err));
    str_clear(&s);
    for (int i = 0; i <= YAML_MAX_BYTES; i++)
        str_add_char(&s, '#');
    assert_null(yaml_parse(str_text(&s), s.len, "f.yaml", NULL, &err));
    assert_non_null(strstr(err.text, "bytes"));
    str_free(&s);
    /* a long key above many values costs no more than the text */
    size_t before = mem_peak_bytes();
    for (int i = 0; i < 20000; i++)
        str_add_char(&s, 'k');
    str_add(&s, ": [");
    for (int i = 0; i < 50000; i++)
        str_add(&s, "1,");
    str_add(&s, "]\n");
    struct yaml_lines lines = {0};
    json_t *value = yaml_parse(str_text(&s), s.len, "f.yaml", &lines, &err);
    assert_non_null(value);
    assert_true(mem_peak_bytes() < before + (64 << 20));
    json_decref(value);
    yaml_lines_free(&lines);
    str_free(&s);
}

/* Every prefix of a text with everything in it, and every byte changed: an answer or an error, nothing else. */
static void damaged_texts_do_no_harm(void **state)
{
    static const char text[] = "a: {b: [1, \"x\\u00e9\", 'y'], c: 1e-5} # c\nd:\n  - |\n    t\n     u\n  - >-\n    v\n    w\n  - e: f\n    g: h\n..."
                               "\n";
    static const char swaps[] = "\"'[]{}:-#|>&*!%@\n\t ?,\xff\x01";
    for (size_t n = 0; n <= strlen(text); n++) {
        struct gm_error err = {0};
        json_decref(yaml_parse(text, n, "f.yaml", NULL, &err));
    }
    for (size_t i = 0; i < strlen(text); i++)
        for (const char *c = swaps; *c; c++) {
            struct gm_error err = {0};
            struct yaml_lines lines = {0};
            char copy[sizeof text];
            memcpy(copy, text, sizeof text);
            copy[i] = *c;
            json_t *value = yaml_parse(copy, strlen(text), "f.yaml", &lines, &err);
            assert_true((value != NULL) == (err.code == GM_OK));
            json_decref(value);
            yaml_lines_free(&lines);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_settings_are_written_in), cmocka_unit_test(refuses_the_rest_with_the_line),
        cmocka_unit_test(knows_the_lines),                    cmocka_unit_test(deep_and_large_texts_are_refused),
        cmocka_unit_test(damaged_texts_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
