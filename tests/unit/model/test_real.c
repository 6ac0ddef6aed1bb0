/* SmolLM2-135M-Instruct as published (Q4_1 and Q8_0 in GGUF): opt-in, since the file is large.
 *
 *     GEMMAIKU_SMOLLM2=/path/SmolLM2-135M-Instruct.Q4_1.gguf ./test_model_real
 */
#include "model_test.h"

#include <stdlib.h>

static struct model *model;
static struct safetensors expected;
static json_t *json;

static int setup(void **state)
{
    struct gm_error err = {0};
    const char *path = getenv("GEMMAIKU_SMOLLM2");
    if (!path)
        return 0;
    model = model_open(path, &err);
    json = json_load_file_checked(FIXTURES "/real_smollm2/expected.json", 1 << 20, &err);
    if (!model || !json ||
        !safetensors_open(&expected, FIXTURES "/real_smollm2/expected.safetensors", &err)) {
        print_error("%s\n", err.text);
        return 1;
    }
    return 0;
}

static int teardown(void **state)
{
    model_free(model);
    json_decref(json);
    safetensors_close(&expected);
    return 0;
}

static int read_ids(const json_t *array, int32_t *ids)
{
    int n = (int)json_array_size(array);
    assert_true(n > 0 && n <= 512);
    for (int i = 0; i < n; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(array, (size_t)i));
    return n;
}

static void test_logits(void **state)
{
    if (!model)
        skip();
    struct tools t;
    tools_init(&t, 2, GM_COMPUTE_F32);
    double tolerance = number_at(json, "tolerances", "logits_f32_max_abs", NULL);
    const json_t *prompts = json_object_get(json, "prompts");
    int vocab = model->config.vocab_size, d = model->config.d_model;
    for (size_t k = 0; k < json_array_size(prompts); k++) {
        const json_t *prompt = json_array_get(prompts, k), *top = json_object_get(prompt, "top10");
        int32_t ids[512];
        int n = read_ids(json_object_get(prompt, "ids"), ids);
        float *layers = mem_new((size_t)(31 * n * d), sizeof *layers),
              *final = mem_new((size_t)(n * d), sizeof *final);
        float *logits = logits_of(model, NULL, &t.compute, ids, n, layers, final);
        for (size_t i = 0; i < json_array_size(top); i++) {
            const json_t *row = json_array_get(top, i);
            float want = (float)json_number_value(json_array_get(row, 1));
            near("top ten", logits + (n - 1) * vocab + json_integer_value(json_array_get(row, 0)),
                 &want, 1, tolerance);
        }
        if (k == 1) {
            static const int kept[] = {0, 1, 2, 15, 30};
            double most = 0;
            for (int i = 0; i < 5; i++) { /* a few numbers reach 22,000 on the way, and their rounding stays */
                const float *want = tensor(&expected, "hidden.%d", kept[i])->data;
                for (int64_t e = 0; e < (int64_t)n * d; e++)
                    most = fmax(most, fabs((double)want[e]));
                near("hidden", layers + kept[i] * n * d, want, n * d, 2e-4 + 2.5e-6 * most);
            }
            near("hidden.final", final, tensor(&expected, "hidden.final")->data, n * d, tolerance);
        }
        if (k == 4)
            near("all logits", logits + (n - 1) * vocab, tensor(&expected, "last_logits.4")->data,
                 vocab, tolerance);
        mem_free(layers);
        mem_free(final);
        mem_free(logits);
    }
    tools_free(&t);
}

static double haiku_loss(const struct compute *c, double tolerance)
{
    const json_t *rows = json_object_get(json, "haiku_rows");
    struct pass *p = pass_for(model, NULL, PASS_FORWARD, 0);
    double sum = 0, supervised = 0;
    for (size_t k = 0; k < json_array_size(rows); k++) {
        const json_t *row = json_array_get(rows, k);
        static struct one o;
        static int32_t ids[512], at[512], targets[512];
        int n = read_ids(json_object_get(row, "ids"), ids),
            from = (int)json_integer_value(json_object_get(row, "prompt_length"));
        struct batch b = *one_sequence(&o, ids, n);
        for (int i = from; i < n; i++) {
            at[b.n_targets] = i - 1;
            targets[b.n_targets++] = ids[i];
        }
        b.target_row = at;
        b.target_id = targets;
        double nll = pass_loss(p, c, NULL, &b, NULL);
        float have = (float)(nll / (double)b.n_targets),
              want = (float)json_number_value(json_object_get(row, "loss"));
        near("row", &have, &want, 1, tolerance);
        sum += nll;
        supervised += (double)b.n_targets;
    }
    pass_free(p);
    assert_true(supervised == number_at(json, "haiku_loss", "supervised", NULL));
    return sum / supervised;
}

static void test_loss(void **state)
{
    if (!model)
        skip();
    double want = number_at(json, "haiku_loss", "mean_over_supervised_tokens_of_all_rows", NULL);
    for (int mode = 0; mode < 2; mode++) {
        struct tools t;
        tools_init(&t, 2, mode ? GM_COMPUTE_BF16 : GM_COMPUTE_F32);
        double have =
            haiku_loss(&t.compute, mode ? 0.05 : number_at(json, "tolerances", "loss_abs", NULL));
        print_message("haiku loss %.6f, want %.6f\n", have, want);
        assert_true(fabs(have - want) < (mode ? 0.02 : 1e-4));
        tools_free(&t);
    }
}

static void test_greedy(void **state)
{
    if (!model)
        skip();
    struct gm_error err = {0};
    struct tools t;
    tools_init(&t, 2, GM_COMPUTE_F32);
    const json_t *chats = json_object_get(json, "greedy");
    int vocab = model->config.vocab_size;
    float *logits = mem_new((size_t)vocab, sizeof *logits);
    struct decoder *d = decoder_new(model, 1, 512, true, &err);
    int slot = decoder_take(d);
    for (size_t k = 0; k < json_array_size(chats); k++) {
        const json_t *chat = json_array_get(chats, k);
        int32_t prompt[512], want[512], token;
        int n = read_ids(json_object_get(chat, "prompt_ids"), prompt),
            m = read_ids(json_object_get(chat, "ids"), want);
        struct decode_item item = {.slot = slot, .ids = prompt, .n = n, .logits = logits};
        decoder_truncate(d, slot, 0);
        for (int i = 0; i < m; i++) {
            if (!decoder_run(d, &t.compute, &item, 1, &err))
                fail_msg("%s", err.text);
            token = 0;
            for (int v = 1; v < vocab; v++)
                token = logits[v] > logits[token] ? v : token;
            assert_int_equal(token, want[i]);
            item.ids = &token;
            item.n = 1;
        }
    }
    decoder_free(d);
    mem_free(logits);
    tools_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_logits), cmocka_unit_test(test_loss),
                                       cmocka_unit_test(test_greedy)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
