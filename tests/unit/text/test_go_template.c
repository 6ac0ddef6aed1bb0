/* Templates of Modelfiles: every row of text/go_template.jsonl was run by Ollama's own template package (tests/tools/ollama); the same text
 * has to come out, and an error where it gave one. GEMMAIKU_GO_TEMPLATES names another file of that form. */
#include "tests/unit/fixtures.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/format/json.h"
#include "engine/text/go_template.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct chat_message *read_messages(const json_t *array, size_t *n)
{
    *n = json_array_size(array);
    struct chat_message *m = mem_new(*n + 1, sizeof *m);
    for (size_t i = 0; i < *n; i++) {
        const json_t *o = json_array_get(array, i);
        m[i].role = json_string_value(json_object_get(o, "role"));
        m[i].content = json_string_value(json_object_get(o, "content"));
    }
    return m;
}

static bool prompt(const char *text, const struct chat_message *m, size_t n, struct str *out, struct gm_error *err)
{
    struct go_template *t = go_template_parse(text, strlen(text), err);
    bool ok = t && go_template_prompt(t, m, n, out, err);
    go_template_free(t);
    return ok;
}

static void test_against_ollama(void **state)
{
    const char *other = getenv("GEMMAIKU_GO_TEMPLATES");
    char *path = other ? mem_copy(other) : mem_copy(FIXTURES "/text/go_template.jsonl");
    struct str all = {0};
    struct gm_error err = {0};
    if (!file_read_all(path, 256 << 20, &all, &err))
        fail_msg("%s", err.text);
    int rows = 0, errors = 0, unsupported = 0, wrong = 0;
    for (char *line = all.data, *end; line && *line; line = end + 1) {
        end = strchr(line, '\n');
        json_t *row = json_parse(line, (size_t)(end - line), "row", &err);
        assert_non_null(row);
        const char *text = json_string_value(json_object_get(row, "template")), *want = json_string_value(json_object_get(row, "text"));
        size_t n;
        struct chat_message *m = read_messages(json_object_get(row, "messages"), &n);
        struct str out = {0};
        struct gm_error e = {0};
        bool ok = prompt(text, m, n, &out, &e);
        if (!ok && e.code == GM_E_UNSUPPORTED)
            unsupported++;
        else if (ok != (want != NULL) || (ok && strcmp(str_text(&out), want) != 0))
            if (wrong++ < 10)
                print_error("row %d: %s\n-- gives --\n%s\n-- and not --\n%s\n", rows + 1, text, ok ? str_text(&out) : e.text,
                            want ? want : json_string_value(json_object_get(row, "error")));
        errors += !want;
        rows++;
        str_free(&out);
        mem_free(m);
        json_decref(row);
    }
    assert_int_equal(wrong, 0);
    if (other)
        print_message("%d rows, %d errors, %d not supported\n", rows, errors, unsupported);
    assert_true(rows > 100);
    assert_true(unsupported * 10 <= rows || other);
    str_free(&all);
    mem_free(path);
    (void)state;
}

static void test_errors_name_the_line(void **state)
{
    static const struct {
        const char *text, *says;
        enum gm_code code;
    } cases[] = {
        {"a\nb\n{{ if .System }}\nc", "line 3: what is opened here", GM_E_INPUT},
        {"a\n{{ printf \"%s\" .System }}{{ .Messages }}", "line 2: the function printf is not supported", GM_E_UNSUPPORTED},
        {"a\n{{ trim .System }}", "line 2: Ollama has no function trim", GM_E_INPUT},
        {"\n\n{{ $x }}", "line 3: the variable $x", GM_E_INPUT},
        {"{{ define \"x\" }}{{ end }}", "define", GM_E_UNSUPPORTED},
        {"{{ range .Messages }}\n{{ .Name }}{{ end }}", "line 2: a message has no field Name", GM_E_INPUT},
        {"{{ range .Messages }}{{ end }}\n{{ index .Messages 7 }}", "line 2: an index is out of range", GM_E_INPUT},
        {"{{ if .X }}{{ .Response }}{{ else }}y{{ end }}", "a branch that has an else", GM_E_INPUT},
    };
    const struct chat_message m[] = {{"user", "hello"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct str out = {0};
        struct gm_error err = {0};
        assert_false(prompt(cases[i].text, m, 1, &out, &err));
        assert_non_null(strstr(err.text, cases[i].says));
        assert_int_equal(err.code, cases[i].code);
        str_free(&out);
    }
    (void)state;
}

/* A template comes from a stranger: depth, steps and output end. */
static void test_limits(void **state)
{
    struct str deep = {0}, loops = {0}, loud = {0}, out = {0};
    for (int i = 0; i < 5000; i++)
        str_add(&deep, i % 2 ? "{{ if (((" : "{{ if . }}");
    for (int i = 0; i < 20; i++)
        str_add(&loops, "{{ range 1000 }}");
    for (int i = 0; i < 20; i++)
        str_add(&loops, "{{ end }}");
    str_add(&loud, "{{ range .Messages }}{{ end }}{{ range 1000 }}{{ range 1000 }}");
    for (int i = 0; i < 1000; i++)
        str_add(&loud, "                                                                                ");
    str_add(&loud, "{{ end }}{{ end }}");
    struct gm_error err = {0};
    const struct chat_message m[] = {{"user", "hello"}};
    assert_false(prompt(str_text(&deep), m, 1, &out, &err));
    assert_false(prompt(str_text(&loops), m, 1, &out, &err));
    assert_non_null(strstr(err.text, "too many steps"));
    str_clear(&out);
    assert_false(prompt(str_text(&loud), m, 1, &out, &err));
    assert_non_null(strstr(err.text, "too much text"));
    str_clear(&loud); /* the same of texts that are never printed, and of those that are compared */
    str_add(&loud, "{{ range $m := .Messages }}{{ range 1000000 }}{{ $x := json $m.Content }}{{ end }}{{ end }}");
    str_clear(&loops);
    str_add(&loops, "{{ range $m := .Messages }}{{ range 1000000 }}{{ if eq $m.Content $m.Content }}{{ end }}{{ end }}{{ end }}");
    char *long_text = mem_new(1000001, 1);
    memset(long_text, 'x', 1000000);
    const struct chat_message long_one[] = {{"user", long_text}};
    assert_false(prompt(str_text(&loud), long_one, 1, &out, &err));
    assert_non_null(strstr(err.text, "too much text"));
    assert_false(prompt(str_text(&loops), long_one, 1, &out, &err));
    assert_non_null(strstr(err.text, "too many steps"));
    mem_free(long_text);
    str_free(&deep);
    str_free(&loops);
    str_free(&loud);
    str_free(&out);
    (void)state;
}

/* Whatever stands in a text comes out again. */
static void test_quote(void **state)
{
    static const char *const texts[] = {"", "{", "{{", "{{{{ x }}", "a{b}}c{", "{{- trimmed -}}", "line\n{{/* c */}}\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct str quoted = {0}, out = {0};
        struct gm_error err = {0};
        go_template_quote(&quoted, texts[i], strlen(texts[i]));
        str_add(&quoted, "{{ range .Messages }}{{ end }}");
        const struct chat_message m[] = {{"user", "hello"}};
        assert_true(prompt(str_text(&quoted), m, 1, &out, &err));
        assert_string_equal(str_text(&out), texts[i]);
        str_free(&quoted);
        str_free(&out);
    }
    (void)state;
}

/* Damaged templates are refused or run, and touch nothing else. */
static void test_damaged(void **state)
{
    static const char good[] = "{{- $s := .System }}{{ range $i, $m := .Messages }}{{ if and (eq .Role \"user\") (le (len (slice $.Messages $i)) 1) }}"
                               "{{ $s | json }}\n{{ .Content -}} x {{- else if ne $i 0 }}{{ (index $.Messages 0).Role }}{{ else }}{{/* no */}}"
                               "{{ continue }}{{ end }}{{ end }}`\"\\u00e9\"";
    const struct chat_message m[] = {{"system", "s"}, {"user", "hello"}, {"assistant", "x"}, {"user", "y"}};
    struct rng rng = rng_stream(7, "damage", 0);
    char text[sizeof good];
    for (int round = 0; round < 20000; round++) {
        size_t n = sizeof good - 1;
        memcpy(text, good, sizeof good);
        for (uint64_t k = rng_below(&rng, 4) + 1; k > 0; k--)
            text[rng_below(&rng, n)] = "{}-\"`$.|(): =a0\n\\\x80"[rng_below(&rng, 18)];
        n -= rng_below(&rng, 3) ? 0 : rng_below(&rng, n);
        struct str out = {0};
        struct gm_error err = {0};
        char *exact = mem_new(n + !n, 1); /* so that a step too far is seen */
        memcpy(exact, text, n);
        struct go_template *t = go_template_parse(exact, n, &err);
        if (t)
            go_template_prompt(t, m, 4, &out, &err);
        go_template_free(t);
        mem_free(exact);
        str_free(&out);
    }
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_ollama), cmocka_unit_test(test_errors_name_the_line), cmocka_unit_test(test_limits),
                                       cmocka_unit_test(test_quote), cmocka_unit_test(test_damaged)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
