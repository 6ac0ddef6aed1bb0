/* Forward against transformers: logits, every layer's output, the loss of packed batches, for every
 * storage type and GGUF. */
#include "model_test.h"

static const char *const MODELS[] = {"gemma3_text", "llama",         "smollm2",    "llama_f32",
                                     "llama_f16",   "llama_sharded", "stories260k"};
enum { N_MODELS = sizeof MODELS / sizeof *MODELS };

static void test_logits(void **state)
{
    struct tools t;
    tools_init(&t, 2, GM_COMPUTE_F32);
    for (int i = 0; i < N_MODELS; i++) {
        struct fixture f;
        fixture_open(&f, MODELS[i]);
        check_logits(f.model, NULL, &t.compute, &f.expected, MODELS[i],
                     json_object_get(f.json, "tolerances")
                         ? number_at(f.json, "tolerances", "logits_f32_max_abs", NULL)
                         : 2e-4);
        fixture_close(&f);
    }
    tools_free(&t);
}

static void test_hidden(void **state)
{
    struct tools t;
    tools_init(&t, 2, GM_COMPUTE_F32);
    for (int i = 0; i < N_MODELS; i++) {
        struct fixture f;
        fixture_open(&f, MODELS[i]);
        int L = f.model->config.n_layers;
        const struct tensor_info *ids = tensor(&f.expected, "ids.1");
        int64_t n = ids->shape[0], d = f.model->config.d_model, size = n * d;
        float *layers = mem_new((size_t)((L + 1) * size), sizeof *layers),
              *final = mem_new((size_t)size, sizeof *final);
        mem_free(logits_of(f.model, NULL, &t.compute, ids->data, n, layers, final));
        for (int k = 0; k <= L; k++) {
            const struct tensor_info *want = tensor(&f.expected, "hidden.%d", k);
            near(MODELS[i], layers + k * size, want->data, size, 2e-4);
        }
        near(MODELS[i], final, tensor(&f.expected, "hidden.final")->data, size, 2e-4);
        mem_free(layers);
        mem_free(final);
        fixture_close(&f);
    }
    tools_free(&t);
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
        struct pass *p = pass_for(f.model, NULL, PASS_FORWARD, false);
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
    struct fixture f;
    struct packed batch;
    tools_init(&t, 2, GM_COMPUTE_F32);
    fixture_open(&f, "gemma3_text");
    pack_batch(&batch, &f.expected, 1);
    struct pass *p = pass_for(f.model, NULL, PASS_FORWARD, false);
    int64_t d = f.model->config.d_model;
    float *together = mem_new((size_t)(batch.b.T * d), sizeof *together);
    memcpy(together, pass_hidden(p, &t.compute, NULL, &batch.b, NULL),
           (size_t)(batch.b.T * d) * sizeof *together);
    for (int s = 0; s < batch.b.n_seqs; s++) {
        struct one alone;
        int32_t first = batch.borders[s], n = batch.borders[s + 1] - first;
        const float *hidden =
            pass_hidden(p, &t.compute, NULL, one_sequence(&alone, batch.ids + first, n), NULL);
        near("packed", together + first * d, hidden, n * d, 2e-5);
    }
    mem_free(together);
    pass_free(p);
    fixture_close(&f);
    tools_free(&t);
}

static void test_gguf(void **state)
{
    static const char *const files[] = {"llama_f16", "smollm2_q8_0", "gemma3_mm_f16",
                                        "gemma3_mm_q8_0", "llama_f32_f32"};
    struct tools t;
    tools_init(&t, 2, GM_COMPUTE_F32);
    for (int i = 0; i < 5; i++) {
        struct gm_error err = {0};
        struct safetensors expected;
        char *path = mem_printf(FIXTURES "/quantised/gguf/%s.gguf", files[i]);
        char *numbers =
            i < 4 ? mem_printf(FIXTURES "/quantised/gguf/%s.expected.safetensors", files[i])
                  : mem_copy(FIXTURES "/models/llama_f32/expected.safetensors");
        struct model *m = model_open(path, &err);
        if (!m || !safetensors_open(&expected, numbers, &err))
            fail_msg("%s", err.text);
        check_logits(m, NULL, &t.compute, &expected, files[i], 2e-4);
        safetensors_close(&expected);
        model_free(m);
        mem_free(path);
        mem_free(numbers);
    }
    tools_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits),   cmocka_unit_test(test_hidden),
        cmocka_unit_test(test_loss),     cmocka_unit_test(test_packing),
        cmocka_unit_test(test_gguf)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
