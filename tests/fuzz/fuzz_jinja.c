/* Any bytes as a chat template, over a conversation: it gives a text with one mark a byte, or an error, in bounded time and memory. */
#include "tests/fuzz/fuzz.h"

#include "engine/format/json.h"
#include "engine/text/jinja.h"

#include <assert.h>

const char *const FUZZ_WORDS[] = {
    "{{ ", " }}", "{% ", " %}", "{%- ", " -%}", "{#", "#}", "{% for m in messages %}", "{% endfor %}", "{% if ", "{% else %}", "{% elif ", "{% endif %}",
    "{% set x = ", "{% set x %}", "{% endset %}", "{% macro f(a, b=1) %}", "{% endmacro %}", "f(", "{% call f() %}", "{% endcall %}", "caller()",
    "{% filter upper %}", "{% endfilter %}", "{% raw %}", "{% endraw %}", "{% break %}", "{% continue %}", "{% generation %}", "{% endgeneration %}",
    "{% with a = 1 %}", "{% endwith %}", "namespace(a=1)", "{% set ns.a = ", "range(3)", "loop.index", "loop.previtem", "loop.cycle(1, 2)", "m.content", "m['role']", "messages[0]", "[1:]", "[::-1]", "['a', 'b']",
    "{'a': 1}", " ~ ", " + ", " ** ", " // ", " % ", " in ", " not in ", " is defined", " is string", " if ", " else ", " and ", " or ", "not ", " | trim", " | tojson(indent=2)",
    " | map(attribute='role')", " | selectattr('role', 'eq', 'user')", " | join(', ')", " | sort", " | unique", " | replace('a', 'bb')", " | indent(4)", " | default('x')", " | list", " | last",
    " | batch(2)", " | truncate(3)", " | int", " | round(2)", " | dictsort", " | reverse", ".split('a')", ".strip()", ".title()", ".items()", ".format(1)", "'%5.1f' % 2", "raise_exception('x')",
    "strftime_now('%d')", "none", "true", "1e300", "9223372036854775807", "\\u00e9", "\xC3\xA9", "\xF0\x9F\x9A\x80", "\r\n", NULL};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char talk[] = "[{\"role\": \"user\", \"content\": \" Write <b> \\u00e9\\ud83d\\ude80\\n\"}, {\"role\": \"assistant\", \"content\": \"rain\", \"n\": [1, 2.5, null, {\"a\": true}]}]";
    struct gm_error err = {0};
    struct jinja_template *t = jinja_open((const char *)data, size, "fuzz", &err);
    if (!t)
        return 0;
    json_t *messages = json_parse(talk, sizeof talk - 1, "talk", &err);
    struct jinja *j = jinja_begin(t, 1721995200);
    struct str text = {0}, marks = {0};
    jinja_define(j, "messages", jinja_of_json(j, messages, 1));
    jinja_define(j, "bos_token", jinja_text(j, "<s>", 3, 0));
    jinja_define(j, "add_generation_prompt", jinja_bool(true));
    if (jinja_render(j, &text, &marks, &err))
        assert(text.len == marks.len);
    else
        assert(err.text[0]);
    jinja_end(j);
    jinja_free(t);
    json_decref(messages);
    str_free(&text);
    str_free(&marks);
    return 0;
}
