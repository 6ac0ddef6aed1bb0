/* A folder for Ollama: GGUF, Modelfile, card and proof; what was trained with a BOS gets one, and what was not gets none. */
#include "desk.h"

#include "engine/export/modelfile.h"

static char *text_of(const struct desk *d, const char *name)
{
    struct str text = {0};
    struct gm_error err = {0};
    char *path = path_join(d->out, name);
    if (!file_read_all(path, 1 << 20, &text, &err))
        fail_msg("%s", err.text);
    mem_free(path);
    return str_take(&text);
}

static bool gguf_adds_bos(const struct desk *d)
{
    struct gguf g;
    struct gm_error err = {0};
    char *path = path_join(d->out, "model.gguf");
    bool adds = false;
    assert_true(gguf_open(&g, path, &err));
    assert_true(gguf_bool(&g, "tokenizer.ggml.add_bos_token", REQUIRED, &adds, &err));
    gguf_close(&g);
    mem_free(path);
    return adds;
}

static void one(const char *model, const char *adapter, enum export_type type, bool adds_bos, const char *in_template)
{
    struct desk d;
    struct gm_error err = {0};
    struct sampling sampling = sampling_default();
    sampling.temperature = 0.35f;
    desk_open(&d, model, adapter);
    if (!d.tpl)
        fail_msg("%s has no template", model);
    d.request.to = EXPORT_OLLAMA;
    d.request.type = type;
    d.request.system = "You write haiku.";
    d.request.sampling = &sampling;
    struct export_result r = done(&d);
    assert_int_equal(r.files, 4); /* model.gguf, Modelfile, README.md, proof.json */
    assert_true(r.prompts_verified >= 20);
    assert_int_equal(gguf_adds_bos(&d), adds_bos);
    char *modelfile = text_of(&d, "Modelfile"), *card = text_of(&d, "README.md");
    assert_non_null(strstr(card, "conversations of several turns"));
    struct modelfile m;
    assert_true(modelfile_read(&m, modelfile, strlen(modelfile), "Modelfile", &err));
    assert_string_equal(modelfile_value(&m, "from"), "./model.gguf");
    assert_string_equal(modelfile_value(&m, "system"), "You write haiku.");
    assert_non_null(strstr(modelfile_value(&m, "template"), in_template));
    assert_non_null(strstr(modelfile, "PARAMETER temperature 0.35\n"));
    int stops = 0;
    for (size_t i = 0; i < m.n; i++)
        stops += m.commands[i].parameter && strcmp(m.commands[i].name, "stop") == 0;
    assert_true(stops >= 1);
    json_t *proof = json_of(d.out, "proof.json");
    assert_int_equal(json_integer_value(json_object_get(proof, "prompts_verified")), r.prompts_verified);
    json_decref(proof);
    modelfile_free(&m);
    mem_free(modelfile);
    mem_free(card);
    desk_close(&d);
}

static void test_bos_of_the_template(void **state)
{
    one("models/gemma3_text", "gemma3_text/peft", EXPORT_F16, true, "<start_of_turn>user\n");
    (void)state;
}

/* The vocabulary of Llama 2 adds BOS, Zephyr's template has none: the GGUF must not add one. */
static void test_no_bos(void **state)
{
    one("models/llama", "llama/peft", EXPORT_Q8_0, false, "<|user|>\n");
    (void)state;
}

static void test_bos_that_opens_turns(void **state)
{
    one("models/smollm2", NULL, EXPORT_F32, false, "<|im_start|>user\n");
    (void)state;
}

static void test_refused(void **state)
{
    struct desk d;
    desk_open(&d, "models/llama", "llama/peft");
    d.request.to = EXPORT_OLLAMA;
    const struct chat_template *tpl = d.request.tpl;
    d.request.tpl = NULL;
    refused(&d, GM_E_UNSUPPORTED, "needs a chat template");
    d.request.tpl = tpl;
    d.request.system = "a no\xc2\xa0" "break space"; /* Ollama's parser would drop it */
    refused(&d, GM_E_UNSUPPORTED, "U+00A0");
    struct gm_error err = {0};
    struct chat_template *odd = chat_template_from_text("{% for m in messages %}{{ m.content }} is what {{ m.role }} said, {{ loop.index }}. {% endfor %}", d.tokenizer, &err);
    assert_non_null(odd);
    d.request.system = NULL;
    d.request.tpl = odd;
    refused(&d, GM_E_UNSUPPORTED, "TEMPLATE");
    chat_template_free(odd);
    desk_close(&d);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bos_of_the_template), cmocka_unit_test(test_no_bos), cmocka_unit_test(test_bos_that_opens_turns),
                                       cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
