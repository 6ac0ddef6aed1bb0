/* The interpreter of chat templates against jinja2 (fixtures/text/make_jinja_vectors.py); marks of
 * what people wrote; limits; errors. */
#include "tests/unit/text/vectors.h"

#include "engine/text/jinja.h"

struct rows {
    char **templates; /* by row */
    size_t n, failures;
};

/* Renders with the members of `context` as variables. */
static bool render(const char *template, size_t n, const json_t *context, struct str *text,
                   struct str *marks, struct gm_error *err)
{
    struct jinja_template *t = jinja_open(template, n, "t", err);
    if (!t)
        return false;
    struct jinja *j = jinja_begin(t, 1721995200); /* 26 July 2024 */
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)context, key, value)
        jinja_define(j, key, jinja_of_json(j, value, 1));
    bool ok = jinja_render(j, text, marks, err);
    jinja_end(j);
    jinja_free(t);
    return ok;
}

static void show(size_t i, const char *template, const char *have, const char *want)
{
    printf("row %zu: %s\n  have %s\n  want %s\n", i, template, have, want);
}

static void check_row(const json_t *row, size_t i, void *arg)
{
    struct rows *r = arg;
    const json_t *template = json_object_get(row, "template"), *want = json_object_get(row, "text");
    const char *text = json_is_string(template) ? json_string_value(template)
                                                : r->templates[json_integer_value(template)];
    r->templates = mem_grow(r->templates, i, i + 1, sizeof *r->templates);
    r->templates[i] = mem_copy(text);
    text = r->templates[i];
    r->n = i + 1;
    struct str out = {0};
    struct gm_error err = {0};
    bool ok = render(text, strlen(text), json_object_get(row, "context"), &out, NULL, &err);
    const char *raised = json_string_value(json_object_get(row, "raised"));
    bool good = want ? ok && out.len == json_string_length(want) &&
                           memcmp(str_text(&out), json_string_value(want), out.len) == 0
                     : !ok && (!raised || strcmp(raised, err.text) == 0);
    if (!good)
        show(i, text, ok ? str_text(&out) : err.text,
             want ? json_string_value(want) : raised ? raised : "an error");
    if (!want && !raised && !ok)
        assert_int_equal(strncmp(err.text, "t:", 2), 0); /* file and line */
    r->failures += !good;
    str_free(&out);
}

static void test_vectors(void **state)
{
    struct rows r = {0};
    assert_true(each_row("text/jinja.jsonl", check_row, &r) > 400);
    assert_int_equal(r.failures, 0);
    for (size_t i = 0; i < r.n; i++)
        mem_free(r.templates[i]);
    mem_free(r.templates);
}

/* Bytes of x that come out marked are shown in capitals here: the template writes small letters
 * only, the data is letters only. */
static void check_marks(const char *template, const char *want)
{
    json_t *context = json_loads("{\"x\": \" dab cd \", \"l\": [\"pq\", \"rs\"], \"m\": {\"k\": \"v\"}}", 0,
                                 NULL);
    struct str text = {0}, marks = {0};
    struct gm_error err = {0};
    if (!render(template, strlen(template), context, &text, &marks, &err))
        fail_msg("%s: %s", template, err.text);
    assert_int_equal(text.len, marks.len);
    for (size_t i = 0; i < text.len; i++) {
        bool letter = text.data[i] >= 'a' && text.data[i] <= 'z';
        text.data[i] = marks.data[i] && letter ? text.data[i] - 32 : text.data[i];
        if (marks.data[i] && text.data[i] == ' ')
            text.data[i] = '_';
    }
    assert_string_equal(str_text(&text), want);
    str_free(&text);
    str_free(&marks);
    json_decref(context);
}

static void test_marks(void **state)
{
    check_marks("{{ 'a' + x }}", "a_DAB_CD_");
    check_marks("{{ x | trim }}", "DAB_CD");
    check_marks("{{ x.strip()[1:3] ~ 'x' }}", "ABx");
    check_marks("{{ x | replace('ab', 'xy') }}", "_Dxy_CD_");
    check_marks("{{ 'xqx' | replace('q', x | trim) }}", "xDAB_CDx");
    check_marks("{{ x.split() | join('-') }}", "DAB-CD");
    check_marks("{{ '-'.join(l) }} {{ l | join('+') }}", "PQ-RS PQ+RS");
    check_marks("{{ l }} {{ l | tojson }}", "['PQ', 'RS'] [\"PQ\", \"RS\"]");
    check_marks("{{ m }} {{ m | tojson }}", "{'K': 'V'} {\"K\": \"V\"}");
    check_marks("{{ (x | trim).title().lower() }}", "DAB_CD");
    check_marks("{{ x | trim | title | lower | capitalize | lower }}", "DAB_CD");
    check_marks("{% set y %}a{{ l[0] }}b{% endset %}{{ y }}", "aPQb");
    check_marks("{% macro f(z) %}<{{ z }}>{% endmacro %}{{ f(l[1]) }}", "<RS>");
    check_marks("{% filter replace('p', 'z') %}a{{ l[0] }}{% endfilter %}", "azQ");
    check_marks("{% for c in l[0] %}{{ c }}.{% endfor %}", "P.Q.");
    check_marks("{{ l[0] * 2 }}{{ l[0][::-1] }}{{ l[0] | reverse }}", "PQPQQPQP");
    check_marks("{{ '%s-%s' % (l[0], 'a') }} {{ '{} {}'.format('b', l[1]) }}", "PQ-a b RS");
    check_marks("{{ l[0] | indent(1, true) }} {{ l[0].center(4, '-') }}", " PQ -PQ-");
    check_marks("{{ l[0] if l[0] == 'pq' else 'z' }}{{ 'pq' in l and 'c' }}", "PQc");
    check_marks("{% for k, v in m.items() %}{{ k }}{{ v }}{% endfor %}", "KV");
    check_marks("{{ {'a': l[0]} }}{{ [l[1], 'b'] | last }}", "{'a': 'PQ'}b");
    check_marks("{{ x | length }}{{ l[0] | e }}{{ l[0] | string }}{{ l[0] | safe }}", "8PQPQPQ");
}

static void check_error(const char *template, enum gm_code code, const char *part)
{
    struct str text = {0};
    struct gm_error err = {0};
    if (render(template, strlen(template), NULL, &text, NULL, &err))
        fail_msg("%.60s: gives %.60s", template, str_text(&text));
    if (!strstr(err.text, part) || err.code != code)
        fail_msg("%.60s: %d %s", template, err.code, err.text);
    str_free(&text);
}

static void test_errors(void **state)
{
    check_error("a\n{{ 'x' | xmlattr }}", GM_E_UNSUPPORTED, "t:2: filter 'xmlattr' is not supported");
    check_error("\n\n{{ 'x' | nope }}", GM_E_UNSUPPORTED, "t:3: filter 'nope' is not known");
    check_error("{{ 1 is nope }}", GM_E_UNSUPPORTED, "t:1: test 'nope' is not known");
    check_error("{% import 'x' as y %}", GM_E_INPUT, "t:1: tag 'import' is not known");
    check_error("{% for x in y recursive %}{% endfor %}", GM_E_INPUT, "recursive");
    check_error("{{ messages[0]['role'] }}", GM_E_INPUT, "t:1: 'messages' is undefined");
    check_error("{{ {}.a.b }}", GM_E_INPUT, "t:1: 'dict object' has no attribute 'a'");
    check_error("{% if true %}\nx", GM_E_INPUT, "t:1: the block that begins here has no {% endif %}");
    check_error("{{ raise_exception('as it is') }}", GM_E_INPUT, "as it is");
    check_error("{{ 2 ** 63 }}", GM_E_INPUT, "more than 64 bits");
    check_error("{{ 9223372036854775807 + 1 }}", GM_E_INPUT, "more than 64 bits");
    check_error("{{ 99999999999999999999 }}", GM_E_INPUT, "more than 64 bits");
}

static void test_limits(void **state)
{
    check_error("{{ 'abcdefgh' * 1000000000000 }}", GM_E_INPUT, "t:1: the template takes more than");
    check_error("{{ [0] * 1000000000000 }}", GM_E_INPUT, "the template takes more than");
    check_error("{{ '%300d' % 1 ~ 'a'.center(99999999999) }}", GM_E_INPUT, "takes more than");
    check_error("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
                GM_E_INPUT, "takes more than");
    check_error("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", GM_E_INPUT, "goes deeper than");
    check_error("{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}"
                "{% endfor %}",
                GM_E_INPUT, "MiB of memory");
    check_error("{% set ns = namespace(x=[]) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}"
                "{% endfor %}{{ ns.x }}",
                GM_E_INPUT, "goes deeper than");
    check_error("{% set ns = namespace(x=[]) %}{% for i in range(99) %}{% set ns.x = [ns.x, ns.x] %}"
                "{% endfor %}{{ ns.x == [1] }}{{ ns.x | tojson }}",
                GM_E_INPUT, "takes more than");
    check_error("{% set a = 'a' * 2000000 %}{{ a.rfind('a' * 1000000 ~ 'b') }}", GM_E_INPUT, "takes more than");
    check_error("{{ ('a' * 1000000).strip('b' * 1000000) }}", GM_E_INPUT, "takes more than");
    struct str deep = {0};
    for (int i = 0; i < 100000; i++)
        str_add_char(&deep, i < 2 ? '{' : '(');
    check_error(deep.data, GM_E_INPUT, "nested too deep");
    str_clear(&deep);
    str_add(&deep, "{{ ");
    for (int i = 0; i < 100000; i++)
        str_add(&deep, i < 50 ? "not " : "- ");
    str_add(&deep, "1 }}");
    check_error(deep.data, GM_E_INPUT, "nested too deep");
    str_clear(&deep);
    for (int i = 0; i < 5000; i++)
        str_add(&deep, "{% if 1 %}");
    check_error(deep.data, GM_E_INPUT, "nested too deep");
    str_clear(&deep);
    str_add(&deep, "{{ 1");
    for (int i = 0; i < 5000; i++)
        str_add(&deep, "+1");
    str_add(&deep, " }}");
    check_error(deep.data, GM_E_INPUT, "goes deeper than");
    str_free(&deep);
}

/* What somebody wrote may be long: going over all of it costs what its length is. */
static void test_long(void **state)
{
    enum { LINES = 40000 };
    struct str lines = {0}, text = {0};
    struct gm_error err = {0};
    for (int i = 0; i < LINES; i++)
        str_add(&lines, "a line of fifty bytes, which are not many for one\n");
    json_t *context = json_pack("{s:s}", "m", str_text(&lines));
    static const char t[] = "{{ m.split('\n') | length }} {{ m.rsplit('\n') | length }} {{ m.count('fifty') }} {{ m.replace('fifty', '50') | length }}";
    if (!render(t, sizeof t - 1, context, &text, NULL, &err))
        fail_msg("%s", err.text);
    assert_string_equal(str_text(&text), "40001 40001 40000 1880000");
    json_decref(context);
    str_free(&lines);
    str_free(&text);
}

/* Pieces of the vectors' templates put together anyhow: an answer or an error, in bounded time. */
static void test_pieces(void **state)
{
    static const char *const pieces[] = {
        "{{ ", " }}", "{% ", " %}", "{%- ", " -%}", "{# ", " #}", "for x in ", "if ", "endif", "endfor",
        "set x = ", "x", "messages", "[0]", "['role']", "(", ")", "[", "]", "{", "}", "'a'", "\"b\"", "1",
        "2.5", " + ", " ~ ", " * ", " ** ", " | ", "upper", "join(", "map('", "tojson", "sort", " is ",
        "defined", " not ", " in ", " and ", ".", ",", ":", "::", "loop.index", "macro f(x)", "endmacro",
        "f(", "namespace(", "range(", "else", "elif ", "\n", "  ", "raw", "endraw", "\\", "\xff", "%s",
        "set ns.x", "=", "==", "<", "filter upper", "endfilter", "call f()", "endcall", "caller()",
        "break", "continue", "generation", "endgeneration", "strftime_now('%Y')", "true", "none"};
    uint64_t r = 88172645463325252u;
    size_t good = 0;
    json_t *context = json_loads("{\"messages\": [{\"role\": \"user\", \"content\": \"a\\u00e9\"}], \"x\": 3}",
                                 0, NULL);
    for (int round = 0; round < 20000; round++) {
        struct str s = {0}, out = {0};
        struct gm_error err = {0};
        for (uint64_t n = 0; n < 2 + r % 14; n++) {
            r ^= r << 13, r ^= r >> 7, r ^= r << 17;
            str_add(&s, pieces[(r >> 20) % (sizeof pieces / sizeof *pieces)]);
            if (n % 3 == 2)
                str_add(&s, n % 2 ? "{{ x }}" : " ");
        }
        bool ok = render(str_text(&s), s.len, context, &out, NULL, &err);
        assert_int_equal(ok, err.code == GM_OK);
        good += ok;
        str_free(&s);
        str_free(&out);
    }
    assert_true(good > 100);
    json_decref(context);
}

static void test_time(void **state)
{
    struct str text = {0};
    struct gm_error err = {0};
    const char *t = "{{ strftime_now('%b %Y') }}";
    assert_true(render(t, strlen(t), NULL, &text, NULL, &err));
    assert_string_equal(text.data, "Jul 2024");
    str_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors), cmocka_unit_test(test_marks),  cmocka_unit_test(test_errors),
        cmocka_unit_test(test_limits), cmocka_unit_test(test_long), cmocka_unit_test(test_pieces), cmocka_unit_test(test_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
