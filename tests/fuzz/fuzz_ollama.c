/* Any bytes as a Modelfile, and as a template of one over a conversation: a prompt, or an error that names what is wrong, in bounded time and memory. */
#include "tests/fuzz/fuzz.h"

#include "engine/base/mem.h"
#include "engine/export/modelfile.h"
#include "engine/text/go_template.h"

#include <assert.h>
#include <string.h>

const char *const FUZZ_WORDS[] = {
    "FROM ", "TEMPLATE ", "SYSTEM ", "PARAMETER stop ", "PARAMETER temperature ", "MESSAGE user ", "LICENSE ", "\"\"\"", "\"", "#", "\n", "\r\n", "{{ ", " }}", "{{- ", " -}}", "{{/* ", " */}}",
    "{{ range .Messages }}", "{{ range $i, $m := .Messages }}", "{{ range 3 }}", "{{ end }}", "{{ else }}", "{{ else if ", "{{ if ", "{{ with ", "{{ break }}", "{{ continue }}", ".System", ".Prompt",
    ".Response", ".Messages", "$.Messages", ".Role", ".Content", ".ToolCalls", "$m.Content", "$x := ", "$x = ", "$x", "eq ", "ne ", "lt ", "and ", "or ", "not ", "len ", "index ", "slice ", "json ",
    "(", ")", " | ", "\"user\"", "`raw`", "\"\\u00e9\\x41\"", "nil", "true", "-1", "9223372036854775807", "\xC2\xA0", "\xE2\x80\x8D", NULL};

static void run_template(const char *text, size_t n)
{
    static const struct chat_message talk[] = {{"system", "be brief"}, {"user", " Write \xC3\xA9 "}, {"assistant", "rain\n"}, {"user", ""}, {"user", "more"}};
    struct gm_error err = {0};
    struct str out = {0};
    struct go_template *t = go_template_parse(text, n, &err);
    assert(t || err.text[0]);
    for (size_t k = 1; t && k <= 5; k += 2)
        if (!go_template_prompt(t, talk, k, &out, &err))
            assert(err.text[0]);
    go_template_free(t);
    str_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gm_error err = {0};
    struct modelfile m;
    char **lines;
    size_t n;
    run_template((const char *)data, size);
    if (!modelfile_read(&m, (const char *)data, size, "fuzz", &err)) {
        assert(err.text[0]);
        return 0;
    }
    const char *template = modelfile_value(&m, "template");
    if (template)
        run_template(template, strlen(template));
    modelfile_check(&m, &lines, &n);
    for (size_t i = 0; i < n; i++)
        mem_free(lines[i]);
    mem_free(lines);
    modelfile_free(&m);
    return 0;
}
