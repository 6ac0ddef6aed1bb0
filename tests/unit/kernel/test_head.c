/* The fused cross-entropy against a double reference: loss, gradient of the hidden states, gradient
 * of the head, soft-cap, threads. */
#include "tests/unit/kernel/kernel_test.h"

#include "engine/kernel/head.h"

struct reference {
    double total;
    double *nll, *dh, *d_head;
};

static struct reference reference_of(const struct mat *head, float softcap, const float *h,
                                     const int32_t *targets, int64_t n, double weight)
{
    int64_t V = head->rows, d = head->cols;
    struct reference r = {.nll = mem_new((size_t)n, sizeof(double)),
                          .dh = mem_new((size_t)(n * d), sizeof(double)),
                          .d_head = mem_new((size_t)(V * d), sizeof(double))};
    double *logit = mem_new((size_t)V, sizeof *logit), *slope = mem_new((size_t)V, sizeof *slope);
    const float *e = head->data;
    for (int64_t t = 0; t < n; t++) {
        double most = -1e300, sum = 0;
        for (int64_t v = 0; v < V; v++) {
            double l = 0;
            for (int64_t i = 0; i < d; i++)
                l += (double)h[t * d + i] * e[v * d + i];
            double th = softcap > 0 ? tanh(l / softcap) : 0;
            logit[v] = softcap > 0 ? softcap * th : l;
            slope[v] = 1 - th * th;
            most = logit[v] > most ? logit[v] : most;
        }
        for (int64_t v = 0; v < V; v++)
            sum += exp(logit[v] - most);
        double lse = most + log(sum);
        r.nll[t] = lse - logit[targets[t]];
        r.total += r.nll[t];
        for (int64_t v = 0; v < V; v++) {
            double g = weight * slope[v] * (exp(logit[v] - lse) - (v == targets[t]));
            for (int64_t i = 0; i < d; i++) {
                r.dh[t * d + i] += g * e[v * d + i];
                r.d_head[v * d + i] += g * h[t * d + i];
            }
        }
    }
    mem_free(logit), mem_free(slope);
    return r;
}

static void near(const char *what, const char *who, const float *got, const double *expected,
                 size_t n, double tolerance)
{
    double most = 0, error = 0;
    for (size_t i = 0; i < n; i++) {
        assert_true(isfinite(got[i]));
        most = fmax(most, fabs(expected[i]));
        error = fmax(error, fabs(got[i] - expected[i]));
    }
    if (error > tolerance * most)
        fail_msg("%s, %s: largest error %.3g, largest value %.3g", who, what, error, most);
}

static void one(struct pool *pool, enum compute_mode mode, enum family family, int64_t n, int64_t V,
                int64_t d, float softcap)
{
    struct gm_error err;
    struct compute c;
    assert_true(compute_init(&c, pool, GM_TRAIN, mode, family, &err));
    float *h = test_floats((size_t)(n * d), 1), *e = test_floats((size_t)(V * d), 2);
    for (int64_t i = 0; i < V * d; i++)
        e[i] *= 1.5f; /* logits of some size, so that probabilities differ */
    if (mode == GM_COMPUTE_BF16)
        round_floats(h, (size_t)(n * d)), round_floats(e, (size_t)(V * d));
    uint64_t seed = 3;
    int32_t *targets = mem_new((size_t)n, sizeof *targets);
    for (int64_t i = 0; i < n; i++)
        targets[i] = (int32_t)(test_random(&seed) % (uint32_t)V);
    struct mat head = mat_f32(e, V, d);
    struct reference r = reference_of(&head, softcap, h, targets, n, 0.25);
    float *nll = mem_new((size_t)n, sizeof *nll), *dh = test_floats((size_t)(n * d), 9),
          *d_head = mem_new((size_t)(V * d), sizeof *d_head);
    void *workspace = mem_new(head_workspace_bytes(n, V, d, true, mode), 1);
    char who[100];
    snprintf(who, sizeof who, "%s %s n %d V %d d %d softcap %g", compute_mode_name(mode),
             family_name(family), (int)n, (int)V, (int)d, softcap);
    double loose =
        mode == GM_COMPUTE_BF16 ? 6e-3 : 2e-5; /* a gradient of logits in bf16: 2^-8 twice */
    double total = head_loss(&c, &head, softcap, h, targets, n, 0.25f, nll, dh, d_head, workspace);
    if (!(fabs(total - r.total) <= 2e-5 * r.total))
        fail_msg("%s: loss %.9g, expected %.9g", who, total, r.total);
    near("nll", who, nll, r.nll, (size_t)n, 2e-5);
    near("dh", who, dh, r.dh, (size_t)(n * d), loose);
    near("d_head", who, d_head, r.d_head, (size_t)(V * d), loose);
    /* adds to d_head; and each output may be left out */
    head_loss(&c, &head, softcap, h, targets, n, 0.25f, NULL, NULL, d_head, workspace);
    for (int64_t i = 0; i < V * d; i++)
        d_head[i] /= 2;
    near("d_head twice", who, d_head, r.d_head, (size_t)(V * d), loose);
    assert_true(head_loss(&c, &head, softcap, h, targets, n, 0.25f, NULL, NULL, NULL, workspace) ==
                total);
    float *logits = mem_new((size_t)(n * V), sizeof *logits);
    head_logits(&c, &head, softcap, logits, h, n);
    for (int64_t t = 0; t < n; t++) {
        double sum = 0;
        for (int64_t v = 0; v < V; v++)
            sum += exp(logits[t * V + v]);
        assert_true(fabs(log(sum) - logits[t * V + targets[t]] - r.nll[t]) < 1e-4);
    }
    mem_free(h), mem_free(e), mem_free(targets), mem_free(r.nll), mem_free(r.dh),
        mem_free(r.d_head);
    mem_free(nll), mem_free(dh), mem_free(d_head), mem_free(workspace), mem_free(logits);
    compute_free(&c);
}

static void against_double(void **state)
{
    struct gm_error err;
    struct pool *pool = pool_new(2, &err);
    for (int f = FAMILY_AUTO + 1; f < FAMILY_COUNT; f++) {
        if (!family_runs_here((enum family)f))
            continue;
        for (int m = 0; m < 2; m++) {
            enum compute_mode mode = m ? GM_COMPUTE_BF16 : GM_COMPUTE_F32;
            if (!m && f != FAMILY_PLAIN)
                continue;
            one(pool, mode, (enum family)f, 1, 97, 40, 0);
            one(pool, mode, (enum family)f, 7, 300, 33, 30);
            one(pool, mode, (enum family)f, 70, 1000, 64, 0);
            one(pool, mode, (enum family)f, 300, 515, 72, 3);
            one(pool, mode, (enum family)f, 9, 9001, 96, 0);
        }
    }
    pool_free(pool);
}

static void bits_and_extremes(void **state)
{
    enum { N = 37, V = 5000, D = 64 };
    struct gm_error err;
    float *h = test_floats(N * D, 1), *e = test_floats(V * D, 2);
    for (int i = 0; i < D; i++)
        h[i] *= 1000; /* logits of thousands: nothing may overflow */
    int32_t targets[N];
    for (int i = 0; i < N; i++)
        targets[i] = i * 131;
    struct mat head = mat_f32(e, V, D);
    void *workspace = mem_new(head_workspace_bytes(N, V, D, true, GM_COMPUTE_BF16), 1);
    for (int f = FAMILY_AUTO + 1; f < FAMILY_COUNT; f++) {
        if (!family_runs_here((enum family)f))
            continue;
        float first[N * D], dh[N * D];
        double first_total = 0;
        for (int threads = 1; threads <= 4; threads *= 2) {
            struct pool *pool = pool_new(threads, &err);
            struct compute c;
            assert_true(compute_init(&c, pool, GM_TRAIN, GM_COMPUTE_BF16, (enum family)f, &err));
            double total = head_loss(&c, &head, 0, h, targets, N, 1.0f, NULL, dh, NULL, workspace);
            for (int i = 0; i < N * D; i++)
                assert_true(isfinite(dh[i]));
            if (threads == 1) {
                first_total = total;
                memcpy(first, dh, sizeof dh);
            }
            assert_true(isfinite(total) && total == first_total);
            assert_memory_equal(first, dh, sizeof dh);
            if (threads == 4) { /* bad numbers must show in the loss, not vanish */
                float old = h[5 * D + 3];
                h[5 * D + 3] = NAN;
                assert_true(
                    isnan(head_loss(&c, &head, 0, h, targets, N, 1.0f, NULL, dh, NULL, workspace)));
                h[5 * D + 3] = old;
            }
            compute_free(&c);
            pool_free(pool);
        }
    }
    mem_free(h), mem_free(e), mem_free(workspace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(against_double),
                                       cmocka_unit_test(bits_and_extremes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
