/* The bf16 path on every family of kernels that runs here: how far its distributions are from f32,
 * against torch's own bf16. */
#include "model_test.h"

static double mean_kl(const float *p, const float *q, int64_t rows, int vocab)
{
    double total = 0;
    for (int64_t r = 0; r < rows; r++, p += vocab, q += vocab) {
        double mp = -1e30, mq = -1e30, sp = 0, sq = 0, kl = 0;
        for (int i = 0; i < vocab; i++) {
            mp = fmax(mp, (double)p[i]);
            mq = fmax(mq, (double)q[i]);
        }
        for (int i = 0; i < vocab; i++) {
            sp += exp((double)p[i] - mp);
            sq += exp((double)q[i] - mq);
        }
        for (int i = 0; i < vocab; i++) {
            double lp = (double)p[i] - mp - log(sp), lq = (double)q[i] - mq - log(sq);
            kl += exp(lp) * (lp - lq);
        }
        total += kl;
    }
    return total / (double)rows;
}

static void test_kl(void **state)
{
    struct tools exact;
    tools_init(&exact, 2, GM_COMPUTE_F32);
    for (int family = FAMILY_AUTO + 1; family < FAMILY_COUNT; family++) {
        struct gm_error err = {0};
        struct compute c;
        if (!family_runs_here((enum family)family))
            continue;
        if (!compute_init(&c, exact.pool, GM_TASTE, GM_COMPUTE_BF16, (enum family)family, &err))
            fail_msg("%s", err.text);
        for (size_t i = 0; i < N_MODELS; i++) {
            struct fixture f;
            fixture_open(&f, MODELS[i]);
            int vocab = f.model->config.vocab_size;
            double ours = 0, torch = 0;
            for (int k = 1; k <= 2; k++) {
                const struct tensor_info *ids = tensor(&f.expected, "ids.%d", k);
                char name[16];
                snprintf(name, sizeof name, "logits.%d", k);
                float *want =
                    logits_of(f.model, NULL, &exact.compute, ids->data, ids->shape[0], NULL, NULL);
                float *have = logits_of(f.model, NULL, &c, ids->data, ids->shape[0], NULL, NULL);
                ours += mean_kl(want, have, ids->shape[0], vocab);
                torch += json_number_value(json_object_get(
                    json_object_get(json_object_get(json_object_get(f.json, "bf16_vs_f32"), name),
                                    "kl"),
                    "mean"));
                mem_free(want);
                mem_free(have);
            }
            print_message("%-12s %-12s mean KL %.2e, torch %.2e\n",
                          family_name((enum family)family), MODELS[i], ours / 2, torch / 2);
            assert_true(torch > 0);
            if (!(ours <= 2 * torch))
                fail_msg("%s, %s: mean KL %g, torch's bf16 has %g",
                         family_name((enum family)family), MODELS[i], ours / 2, torch / 2);
            fixture_close(&f);
        }
        compute_free(&c);
    }
    tools_free(&exact);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kl)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
