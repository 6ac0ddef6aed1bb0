/* Forward against transformers: logits, every layer's output, the loss of packed batches, for every
 * storage type and GGUF. */
#include "model_test.h"

static void logits_and_hidden(const struct compute *c, const char *name)
{
    struct fixture f;
    fixture_open(&f, name);
    check_logits(f.model, NULL, c, &f.expected, name,
                 json_object_get(f.json, "tolerances")
                     ? number_at(f.json, "tolerances", "logits_f32_max_abs", NULL)
                     : 2e-4);
    int L = f.model->config.n_layers;
    const struct tensor_info *ids = tensor(&f.expected, "ids.1");
    int64_t n = ids->shape[0], d = f.model->config.d_model, size = n * d;
    float *layers = mem_new((size_t)((L + 1) * size), sizeof *layers),
          *final = mem_new((size_t)size, sizeof *final);
    mem_free(logits_of(f.model, NULL, c, ids->data, n, layers, final));
    for (int k = 0; k <= L; k++)
        near(name, layers + k * size, tensor(&f.expected, "hidden.%d", k)->data, size, 2e-4);
    near(name, final, tensor(&f.expected, "hidden.final")->data, size, 2e-4);
    mem_free(layers);
    mem_free(final);
    fixture_close(&f);
}

static void test_models(void **state)
{
    for (enum family family = FAMILY_AUTO; next_family(&family);) {
        struct tools t;
        tools_init_for(&t, 2, GM_COMPUTE_F32, family);
        for (int i = 0; i < N_MODELS; i++)
            logits_and_hidden(&t.compute, MODELS[i]);
        if (fixture_there("models/stories260k"))
            logits_and_hidden(&t.compute, "stories260k");
        tools_free(&t);
    }
}

static void test_loss(void **state)
{
    struct tools t;
    tools_init(&t, 2, GM_COMPUTE_F32);
    for (int i = 0; i < N_MODELS; i++) {
        struct fixture f;
        fixture_open(&f, MODELS[i]);
        if (!safetensors_find(&f.expected, "loss")) {
            fixture_close(&f);
            continue;
        }
        struct pass *p = pass_for(f.model, NULL, PASS_FORWARD, 0);
        for (int b = 0; b < 2; b++) {
            struct packed batch;
            float nll[512];
            pack_batch(&batch, &f.expected, b);
            double sum = pass_loss(p, &t.compute, NULL, &batch.b, nll), again = 0;
            float want = ((const float *)tensor(&f.expected, "loss")->data)[b];
            float loss = (float)(sum / (double)batch.b.n_targets);
            near(MODELS[i], &loss, &want, 1, number_at(f.json, "tolerances", "loss_abs", NULL));
            for (int64_t k = 0; k < batch.b.n_targets; k++)
                again += (double)nll[k];
            assert_true(fabs(again - sum) < 1e-3);
        }
        pass_free(p);
        fixture_close(&f);
    }
    tools_free(&t);
}

/* Rows of a packed batch do not see one another: each gives what it gives alone. */
static void test_packing(void **state)
{
    struct tools t;
    tools_init(&t, 2, GM_COMPUTE_F32);
    for (int i = 0; i < N_MODELS; i++) {
        struct fixture f;
        struct packed batch;
        fixture_open(&f, MODELS[i]);
        if (!safetensors_find(&f.expected, "batch.1.ids")) {
            fixture_close(&f);
            continue;
        }
        pack_batch(&batch, &f.expected, 1);
        struct pass *p = pass_for(f.model, NULL, PASS_FORWARD, 0);
        int64_t d = f.model->config.d_model;
        float *together = mem_new((size_t)(batch.b.T * d), sizeof *together);
        memcpy(together, pass_hidden(p, &t.compute, NULL, &batch.b, NULL),
               (size_t)(batch.b.T * d) * sizeof *together);
        for (int s = 0; s < batch.b.n_seqs; s++) {
            struct one alone;
            int32_t first = batch.borders[s], n = batch.borders[s + 1] - first;
            const float *hidden =
                pass_hidden(p, &t.compute, NULL, one_sequence(&alone, batch.ids + first, n), NULL);
            near(MODELS[i], together + first * d, hidden, n * d, 2e-4);
        }
        mem_free(together);
        pass_free(p);
        fixture_close(&f);
    }
    tools_free(&t);
}

static void check_file(const struct tools *t, const char *path, const char *numbers, const char *name)
{
    struct gm_error err = {0};
    struct safetensors expected;
    struct model *m = model_open(path, &err);
    if (!m || !safetensors_open(&expected, numbers, &err))
        fail_msg("%s", err.text);
    check_logits(m, NULL, &t->compute, &expected, name, 2e-4);
    safetensors_close(&expected);
    model_free(m);
}

static void test_gguf(void **state)
{
    static const char *const files[] = {"llama_f16",      "llama_q8_0",    "smollm2_q8_0", "gemma3_mm_f16",
                                        "gemma3_mm_q8_0", "llama_f32_f32"};
    struct tools t;
    tools_init(&t, 2, GM_COMPUTE_F32);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *path = mem_printf("%s/quantised/gguf/%s.gguf", fixtures_dir(), files[i]);
        char *numbers = strcmp(files[i], "llama_f32_f32") != 0
                            ? mem_printf("%s/quantised/gguf/%s.expected.safetensors", fixtures_dir(), files[i])
                            : mem_printf("%s/models/llama_f32/expected.safetensors", fixtures_dir());
        if (file_exists(path))
            check_file(&t, path, numbers, files[i]);
        mem_free(path);
        mem_free(numbers);
    }
    tools_free(&t);
}

/* Folders as MLX quantises them: one sequence each, every weight expanded in f32. */
static void test_mlx(void **state)
{
    static const char *const folders[] = {
        "gemma3_text_4bit_g32",   "gemma3_text_4bit_g64", "gemma3_text_8bit_g64", "gemma3_text_mxfp4",
        "gemma3_text_mixed_4_6",  "gemma3_mm_4bit_g32",   "gemma2_4bit_g32",      "llama_4bit_g32",
        "llama_4bit_g64",         "llama_8bit_g64",       "llama_mxfp4",          "llama_custom"};
    struct tools t;
    int seen = 0;
    tools_init(&t, 2, GM_COMPUTE_F32);
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        struct gm_error err = {0};
        struct safetensors expected;
        char *path = mem_printf("%s/quantised/%s", fixtures_dir(), folders[i]);
        char *numbers = path_join(path, "expected.safetensors");
        if (dir_exists(path)) {
            struct model *m = model_open(path, &err);
            if (!m || !safetensors_open(&expected, numbers, &err))
                fail_msg("%s", err.text);
            const struct tensor_info *ids = tensor(&expected, "ids"), *want = tensor(&expected, "logits");
            float *logits = logits_of(m, NULL, &t.compute, ids->data, ids->shape[0], NULL, NULL);
            near(folders[i], logits, want->data, tensor_elements(want), 2e-4);
            assert_int_equal(tensor_elements(want), ids->shape[0] * m->config.vocab_size);
            mem_free(logits);
            safetensors_close(&expected);
            model_free(m);
            seen++;
        }
        mem_free(path);
        mem_free(numbers);
    }
    assert_true(seen >= 10);
    tools_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_models),
        cmocka_unit_test(test_loss),     cmocka_unit_test(test_packing),
        cmocka_unit_test(test_gguf),     cmocka_unit_test(test_mlx)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
