/* The way to Ollama: for every chat template of the fixtures a TEMPLATE is derived, and for every conversation the ids that Ollama would
 * build are those of the training, or differ for the reason that is named. */
#include "tests/unit/fixtures.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/export/modelfile.h"
#include "engine/export/ollama_template.h"
#include "engine/format/json.h"
#include "engine/format/model_source.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* What each template is known to do; conversations of chat_NAME.jsonl whose ids are equal, and what the others differ in. */
static const struct known {
    const char *family, *name;
    bool add_bos;
    unsigned differs;
} known[] = {
    {"gemma3", "gemma3", true, OLLAMA_TRIMS_USER | OLLAMA_TRIMS_ASSISTANT | OLLAMA_REFUSED},
    {"gemma3", "gemma2", true, OLLAMA_TRIMS_USER | OLLAMA_TRIMS_ASSISTANT | OLLAMA_REFUSED | OLLAMA_SYSTEM_LEFT_OUT},
    {"llama2", "zephyr", false, 0},
    {"smollm2", "smollm2", false, 0},
    {"smollm2", "chatml_qwen2", false, 0},
    {"llama3", "llama3", true, OLLAMA_TRIMS_USER | OLLAMA_TRIMS_ASSISTANT | OLLAMA_TRIMS_SYSTEM},
    {"llama3", "llama3.2", true, OLLAMA_TRIMS_USER | OLLAMA_TRIMS_ASSISTANT | OLLAMA_TRIMS_SYSTEM | OLLAMA_DATE},
    {"phi3", "phi3.5", false, 0},
    {"phi3", "phi3_first", true, OLLAMA_SYSTEM_LEFT_OUT},
};

struct opened {
    struct model_source source;
    struct tokenizer *tokenizer;
    struct chat_template *tpl;
    struct str jinja;
};

static bool open_known(const struct known *k, struct opened *o, struct gm_error *err)
{
    char path[2048], folder[1024];
    snprintf(folder, sizeof folder, "%s/tokenizers/%s", fixtures_dir(), k->family);
    snprintf(path, sizeof path, "%s/template_%s.jinja", folder, k->name);
    *o = (struct opened){0};
    return file_exists(path) && model_source_open_tokenizer(&o->source, folder, err) && (o->tokenizer = tokenizer_open(&o->source, err))
           && file_read_all(path, 1 << 20, &o->jinja, err) && (o->tpl = chat_template_from_text(str_text(&o->jinja), o->tokenizer, err))
           && chat_template_set_variables(o->tpl, "{\"date_string\": \"26 Jul 2024\"}", err);
}

static void close_known(struct opened *o)
{
    chat_template_free(o->tpl);
    tokenizer_free(o->tokenizer);
    model_source_close(&o->source);
    str_free(&o->jinja);
}

static int wrong;

static struct chat_message *read_messages(const json_t *array, size_t *n)
{
    *n = json_array_size(array);
    struct chat_message *m = mem_new(*n + 1, sizeof *m);
    for (size_t i = 0; i < *n; i++) {
        m[i].role = json_string_value(json_object_get(json_array_get(array, i), "role"));
        m[i].content = json_string_value(json_object_get(json_array_get(array, i), "content"));
    }
    return m;
}

/* One row of chat_NAME.jsonl that asks for an answer: equal ids, or a difference the template is known for. */
static void check_row(const struct known *k, const struct opened *o, const struct ollama_template *ot, const struct go_template *go, const json_t *row, int counts[3])
{
    struct gm_error err = {0};
    size_t n;
    struct chat_message *m = read_messages(json_object_get(row, "messages"), &n);
    unsigned why = ollama_explain(go, ot->add_bos, o->tpl, o->tokenizer, m, n, &err);
    if (json_object_get(row, "error"))
        assert_int_equal(why, OLLAMA_REFUSED);
    else if (why == UINT_MAX || (why & ~(ot->differs | OLLAMA_SPECIAL | OLLAMA_SAME_ROLE)))
        print_error("%s: case %lld: %#x %s\n", k->name, json_integer_value(json_object_get(row, "case")), why, err.text), wrong++;
    const json_t *ids = json_object_get(row, "ids");
    if (why == 0) { /* equal to the ids of Hugging Face as well, of which the training's differ where special tokens are spelled out only */
        struct id_list built = {0};
        assert_true(ollama_ids(go, ot->add_bos, o->tokenizer, m, n, &built, NULL, &err));
        assert_int_equal(built.n, json_array_size(ids));
        for (size_t i = 0; i < built.n; i++)
            assert_int_equal(built.ids[i], json_integer_value(json_array_get(ids, i)));
        id_list_free(&built);
    }
    counts[why == 0 ? 0 : why == OLLAMA_REFUSED ? 2 : 1]++;
    mem_free(m);
}

static void test_templates(void **state)
{
    int done = 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const struct known *k = &known[i];
        struct gm_error err = {0};
        struct opened o;
        if (open_known(k, &o, &err)) {
            struct ollama_template ot;
            if (!ollama_template_derive(&ot, o.tpl, o.tokenizer, &err))
                fail_msg("%s: %s", k->name, err.text);
            if (getenv("GEMMAIKU_SHOW"))
                print_message("---- %s bos %d differs %#x\n%s\n----\n", k->name, ot.add_bos, ot.differs, ot.text);
            assert_int_equal(ot.add_bos, k->add_bos);
            assert_int_equal(ot.differs, k->differs);
            assert_true(ot.verified >= 20);
            struct go_template *go = go_template_parse(ot.text, strlen(ot.text), &err);
            char path[1024];
            snprintf(path, sizeof path, "%s/tokenizers/%s/chat_%s.jsonl", fixtures_dir(), k->family, k->name);
            struct str rows = {0};
            assert_true(file_read_all(path, 16 << 20, &rows, &err));
            int counts[3] = {0};
            for (char *line = rows.data, *end; line && *line; line = end + 1) {
                end = strchr(line, '\n');
                json_t *row = json_parse(line, (size_t)(end - line), "row", &err);
                assert_non_null(row);
                if (json_is_true(json_object_get(row, "add_generation_prompt")))
                    check_row(k, &o, &ot, go, row, counts);
                json_decref(row);
            }
            print_message("%-14s %d equal, %d differ as named, %d refused\n", k->name, counts[0], counts[1], counts[2]);
            assert_true(counts[0] >= 2);
            go_template_free(go);
            ollama_template_free(&ot);
            str_free(&rows);
            done++;
        } else if (err.code)
            print_message("%-14s not tried: %s\n", k->name, err.text);
        close_known(&o);
    }
    assert_int_equal(wrong, 0);
    assert_true(done >= 3);
    (void)state;
}

/* Templates of other families, as they are published: with pieces for thinking, tools, system texts inside instructions. */
static void test_other_templates(void **state)
{
    static const char *const names[] = {"deepseek", "llama2", "llama31", "mistral", "phi35", "phi4", "qwen25", "qwen3", "generation"};
    struct model_source source;
    struct gm_error err = {0};
    assert_true(model_source_open_tokenizer(&source, FIXTURES "/tokenizers/smollm2", &err));
    struct tokenizer *t = tokenizer_open(&source, &err);
    assert_non_null(t);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = mem_printf(FIXTURES "/../fuzz/seeds/jinja/%s.jinja", names[i]);
        struct str text = {0};
        struct chat_template *tpl = file_read_all(path, 1 << 20, &text, &err) ? chat_template_from_text(str_text(&text), t, &err) : NULL;
        struct ollama_template ot;
        if (!tpl || !ollama_template_derive(&ot, tpl, t, &err))
            fail_msg("%s: %s", names[i], err.text);
        assert_true(ot.verified >= 25);
        ollama_template_free(&ot);
        chat_template_free(tpl);
        str_free(&text);
        mem_free(path);
    }
    tokenizer_free(t);
    model_source_close(&source);
    (void)state;
}

/* What Go cannot follow is refused, with the reason. */
static void test_underivable(void **state)
{
    static const struct {
        const char *jinja, *says;
    } cases[] = {{"{% for m in messages %}{{ loop.index }}: {{ m.content }}\n{% endfor %}", "do not repeat"},
                 {"{% for m in messages %}{{ m.content | upper }}{% endfor %}", "is not once in the text"},
                 {"{% for m in messages %}<{{ m.role }}>{{ m.content | replace(' ', '_') }}\n{% endfor %}<assistant>", "is not what was trained"},
                 {"{{ raise_exception('never') }}", "never"}};
    struct model_source source;
    struct gm_error err = {0};
    assert_true(model_source_open_tokenizer(&source, FIXTURES "/tokenizers/smollm2", &err));
    struct tokenizer *t = tokenizer_open(&source, &err);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct chat_template *tpl = chat_template_from_text(cases[i].jinja, t, &err);
        struct ollama_template ot;
        assert_non_null(tpl);
        assert_false(ollama_template_derive(&ot, tpl, t, &err));
        if (!strstr(err.text, cases[i].says))
            fail_msg("%s: %s", cases[i].jinja, err.text);
        chat_template_free(tpl);
    }
    tokenizer_free(t);
    model_source_close(&source);
    (void)state;
}

/* Rows of text/modelfile.jsonl were read by Ollama's own parser (tests/tools/ollama). */
static void test_read(void **state)
{
    const char *other = getenv("GEMMAIKU_MODELFILES");
    struct str rows = {0};
    struct gm_error err = {0};
    assert_true(file_read_all(other ? other : FIXTURES "/text/modelfile.jsonl", 64 << 20, &rows, &err));
    int bad = 0;
    for (char *line = rows.data, *end; line && *line; line = end + 1) {
        end = strchr(line, '\n');
        json_t *row = json_parse(line, (size_t)(end - line), "row", &err);
        assert_non_null(row);
        const char *text = json_string_value(json_object_get(row, "modelfile"));
        const json_t *commands = json_object_get(row, "commands");
        struct modelfile m;
        struct gm_error e = {0};
        bool ok = modelfile_read(&m, text, strlen(text), "Modelfile", &e), same = ok == (commands != NULL) && m.n == json_array_size(commands);
        for (size_t i = 0; ok && same && i < m.n; i++) {
            const json_t *c = json_array_get(commands, i);
            const char *name = json_string_value(json_array_get(c, 0));
            same = strcmp(m.commands[i].name, strcmp(name, "model") == 0 ? "from" : name) == 0 && strcmp(m.commands[i].value, json_string_value(json_array_get(c, 1))) == 0;
        }
        if (!same && bad++ < 5)
            print_error("[%s]\n%s (%s)\n", text, ok ? "read" : e.text, json_string_value(json_object_get(row, "error")));
        if (ok)
            modelfile_free(&m);
        json_decref(row);
    }
    assert_int_equal(bad, 0);
    str_free(&rows);
    (void)state;
}

/* Quotes that stay open over a file of blank lines: each line is looked at once. */
static void test_open_quotes(void **state)
{
    enum { LINES = 1000000 };
    char *text = mem_new(LINES + 64, 1);
    struct gm_error err = {0};
    struct modelfile m;
    size_t n = (size_t)sprintf(text, "FROM x\nTEMPLATE   \"\"\"");
    memset(text + n, '\n', LINES);
    assert_false(modelfile_read(&m, text, n + LINES, "Modelfile", &err));
    assert_non_null(strstr(err.text, "Modelfile:2: the quotes"));
    memcpy(text + n + LINES, "end\"\"\"\n", 7);
    assert_true(modelfile_read(&m, text, n + LINES + 7, "Modelfile", &err));
    assert_int_equal(strlen(modelfile_value(&m, "template")), LINES + 3);
    modelfile_free(&m);
    mem_free(text);
    (void)state;
}

static char *written(const char *template, const char *system, struct gm_error *err)
{
    static const char *const stops[] = {"<end_of_turn>", "two words"};
    struct modelfile_settings s = {.from = "./model.gguf", .template = template, .system = system, .stops = stops, .n_stops = 2, .sampling = sampling_default(),
                                   .num_ctx = 4096, .license = "MIT", .comment = "Made by a test\nsecond\x1b[31m line"};
    return modelfile_write(&s, err);
}

static void test_write(void **state)
{
    struct gm_error err = {0};
    char *text = written("{{ range .Messages }}<u>\n{{ .Content }}{{ end }}\n", "You \"write\"\n haiku. ", &err);
    assert_non_null(text);
    struct modelfile m;
    assert_true(modelfile_read(&m, text, strlen(text), "Modelfile", &err));
    assert_string_equal(modelfile_value(&m, "from"), "./model.gguf");
    assert_string_equal(modelfile_value(&m, "template"), "{{ range .Messages }}<u>\n{{ .Content }}{{ end }}\n");
    assert_string_equal(modelfile_value(&m, "system"), "You \"write\"\n haiku. ");
    assert_string_equal(modelfile_value(&m, "license"), "MIT");
    static const char *const want[][2] = {{"stop", "<end_of_turn>"}, {"stop", "two words"}, {"temperature", "0.7"}, {"top_k", "0"}, {"top_p", "1"},
                                          {"min_p", "0"}, {"repeat_penalty", "1"}, {"repeat_last_n", "64"}, {"num_ctx", "4096"}};
    size_t at = 0;
    for (size_t i = 0; i < m.n; i++)
        if (m.commands[i].parameter) {
            assert_string_equal(m.commands[i].name, want[at][0]);
            assert_string_equal(m.commands[i].value, want[at][1]);
            at++;
        }
    assert_int_equal(at, 9);
    char **lines;
    size_t n;
    assert_true(modelfile_check(&m, &lines, &n));
    assert_int_equal(n, 0);
    mem_free(lines);
    modelfile_free(&m);
    mem_free(text);
    assert_null(written("a \"\"\"\nb", NULL, &err));
    assert_non_null(strstr(err.text, "end of a line"));
    assert_null(written("a", "no\xc2\xa0""break", &err));
    assert_non_null(strstr(err.text, "U+00A0"));
    (void)state;
}

static void test_check(void **state)
{
    static const struct {
        const char *text, *says;
        bool ok;
    } cases[] = {{"FROM x\nTEMPLATE t\nPARAMETER top_k 1.5\n", "line 3: top_k is a whole number", false},
                 {"FROM x\nTEMPLATE t\nPARAMETER nonsense 1\n", "line 3: Ollama has no parameter nonsense", false},
                 {"FROM x\nTEMPLATE t\nPARAMETER top_p 7\n", "line 3: top_p 7 is out of range", true},
                 {"FROM x\nTEMPLATE t\nPARAMETER mirostat 1\n", "does nothing", true},
                 {"FROM x\nTEMPLATE t\nPARAMETER use_mmap yes\n", "true or false", false},
                 {"FROM x\nTEMPLATE \"\"\"a\n{{ if .System }}\"\"\"\n", "line 2: TEMPLATE: template line 2", false},
                 {"FROM x\nTEMPLATE {{ printf .System }}\n", "printf is not supported", true},
                 {"FROM x\n", "there is no TEMPLATE", true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gm_error err = {0};
        struct modelfile m;
        char **lines;
        size_t n;
        assert_true(modelfile_read(&m, cases[i].text, strlen(cases[i].text), "Modelfile", &err));
        assert_int_equal(modelfile_check(&m, &lines, &n), cases[i].ok);
        assert_int_equal(n, 1);
        assert_non_null(strstr(lines[0], cases[i].says));
        mem_free(lines[0]);
        mem_free(lines);
        modelfile_free(&m);
    }
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_templates), cmocka_unit_test(test_other_templates), cmocka_unit_test(test_underivable), cmocka_unit_test(test_read), cmocka_unit_test(test_open_quotes), cmocka_unit_test(test_write), cmocka_unit_test(test_check)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
