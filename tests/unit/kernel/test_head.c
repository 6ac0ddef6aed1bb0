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
    if (!(error <= tolerance * most))
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
            one(pool, mode, (enum family)f, 40, 2500, 160, 10); /* every lane comes back, with a cap */
            one(pool, mode, (enum family)f, 3, 300, 1300, 0);   /* the sum of a logit in stretches */
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
        float first[N * D], dh[N * D], *first_head = mem_new(V * D, sizeof(float));
        double first_total = 0;
        for (int threads = 1; threads <= 16; threads *= 2) {
            struct pool *pool = pool_new(threads, &err);
            struct compute c;
            assert_true(compute_init(&c, pool, GM_TRAIN, GM_COMPUTE_BF16, (enum family)f, &err));
            float *d_head = mem_new(V * D, sizeof *d_head);
            double total =
                head_loss(&c, &head, 0, h, targets, N, 1.0f, NULL, dh, d_head, workspace);
            for (int i = 0; i < N * D; i++)
                assert_true(isfinite(dh[i]));
            if (threads == 1) {
                first_total = total;
                memcpy(first, dh, sizeof dh);
                memcpy(first_head, d_head, V * D * sizeof *d_head);
            }
            assert_true(isfinite(total) && total == first_total);
            assert_memory_equal(first, dh, sizeof dh);
            assert_memory_equal(first_head, d_head, V * D * sizeof *d_head);
            mem_free(d_head);
            if (threads == 16) { /* bad numbers must show in the loss, not vanish */
                float old = h[5 * D + 3];
                h[5 * D + 3] = NAN;
                assert_true(
                    isnan(head_loss(&c, &head, 0, h, targets, N, 1.0f, NULL, dh, NULL, workspace)));
                h[5 * D + 3] = old;
            }
            compute_free(&c);
            pool_free(pool);
        }
        mem_free(first_head);
    }
    mem_free(h), mem_free(e), mem_free(workspace);
}

/* Logits that rise by hundreds along the vocabulary, so that every row changes its reference many
 * times, in the middle of a part and in lanes that have sums already; and a confident prediction,
 * whose gradient is small. */
static void references_move(void **state)
{
    enum { N = 35, V = 4700, D = 48 };
    struct gm_error err;
    struct pool *pool = pool_new(2, &err);
    float *h = test_floats(N * D, 1), *e = test_floats(V * D, 2), dh[N * D];
    int32_t targets[N];
    for (int r = 0; r < N; r++) {
        h[r * D] = r % 3 == 0 ? -1.0f : 1.0f;
        targets[r] = r % 2 ? V - 1 : r * 97;
    }
    for (int v = 0; v < V; v++)
        e[v * D] = 0.08f * (float)v + (v == V - 1 ? 40.0f : 0.0f); /* 0 .. 376, the last far above */
    round_floats(h, N * D), round_floats(e, V * D);
    struct mat head = mat_f32(e, V, D);
    struct reference r = reference_of(&head, 0, h, targets, N, 1);
    for (int f = FAMILY_AUTO + 1; f < FAMILY_COUNT; f++) {
        if (!family_runs_here((enum family)f))
            continue;
        struct compute c;
        assert_true(compute_init(&c, pool, GM_TRAIN, GM_COMPUTE_BF16, (enum family)f, &err));
        void *workspace = mem_new(head_workspace_bytes(N, V, D, true, GM_COMPUTE_BF16), 1);
        float nll[N];
        head_loss(&c, &head, 0, h, targets, N, 1.0f, nll, dh, NULL, workspace);
        near("dh", family_name((enum family)f), dh, r.dh, N * D, 6e-3);
        for (int row = 0; row < N; row++) {
            assert_true(fabs(nll[row] - r.nll[row]) <= 1e-4 * (1 + r.nll[row]));
            for (int i = 0; i < D && r.nll[row] < 1e-6; i++)
                assert_true(fabsf(dh[row * D + i]) < 0.05f); /* of 416: logits are floats */
        }
        mem_free(workspace);
        compute_free(&c);
    }
    mem_free(r.nll), mem_free(r.dh), mem_free(r.d_head), mem_free(h), mem_free(e);
    pool_free(pool);
}

/* Parts without any probability are left out: there W is huge in a column where h is 0, so that they
 * would show. The loss keeps its bits, and so does the rest of the gradient. */
static void skips(void **state)
{
    enum { N = 70, V = 8192, D = 32, NEAR = 5120 };
    struct gm_error err;
    float *h = test_floats(N * D, 1), *e = test_floats(V * D, 2), dh[N * D], whole[N * D],
          first[N * D];
    int32_t targets[N];
    for (int r = 0; r < N; r++) {
        h[r * D] = 1, h[r * D + 1] = 0;
        targets[r] = r * 71;
    }
    for (int v = 0; v < V; v++) {
        e[v * D + 1] = v < NEAR ? 0.0f : 1e9f;
        if (v >= NEAR)
            e[v * D] = -30; /* 1e-13 of what the others have */
    }
    struct mat head = mat_f32(e, V, D);
    void *workspace = mem_new(head_workspace_bytes(N, V, D, true, GM_COMPUTE_BF16), 1);
    for (int f = FAMILY_AUTO + 1; f < FAMILY_COUNT; f++) {
        for (int threads = 1; threads <= 16 && family_runs_here((enum family)f); threads *= 4) {
            struct pool *pool = pool_new(threads, &err);
            struct compute c;
            assert_true(compute_init(&c, pool, GM_TRAIN, GM_COMPUTE_BF16, (enum family)f, &err));
            double total = head_loss(&c, &head, 0, h, targets, N, 1, NULL, whole, NULL, workspace);
            c.head_skip = true;
            assert_true(head_loss(&c, &head, 0, h, targets, N, 1, NULL, dh, NULL, workspace) ==
                        total);
            const float tolerance = f == FAMILY_NEONBF16 ? 1e-6f : 0; /* BFMMLA rounds to odd: what is added shows, however small */
            for (int i = 0; i < N * D; i++)
                if (!(i % D == 1 ? dh[i] == 0 && whole[i] > 0 : fabsf(dh[i] - whole[i]) <= tolerance))
                    fail_msg("%s, %d threads: row %d column %d is %.9g, without skipping %.9g", family_name((enum family)f), threads, i / D, i % D,
                             (double)dh[i], (double)whole[i]);
            if (threads == 1)
                memcpy(first, dh, sizeof dh);
            assert_memory_equal(first, dh, sizeof dh);
            compute_free(&c);
            pool_free(pool);
        }
    }
    mem_free(h), mem_free(e), mem_free(workspace);
}

/* The workspace is what was planned, to the byte; nothing is written behind it. */
static void workspace_is_enough(void **state)
{
    enum { V = 2100, D = 40, ROWS = 600, GUARD = 64 };
    struct gm_error err;
    struct pool *pool = pool_new(2, &err);
    float *h = test_floats(ROWS * D, 1), *e = test_floats(V * D, 2),
          *dh = mem_new(ROWS * D, sizeof *dh);
    int32_t targets[ROWS] = {0};
    struct mat head = mat_f32(e, V, D);
    static const int64_t rows[] = {1, 31, 256, 257, ROWS};
    for (int m = 0; m < 2; m++) {
        enum compute_mode mode = m ? GM_COMPUTE_BF16 : GM_COMPUTE_F32;
        struct compute c;
        assert_true(compute_init(&c, pool, GM_TRAIN, mode, FAMILY_AUTO, &err));
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            for (int gradient = 0; gradient < 2; gradient++) {
                size_t size = head_workspace_bytes(rows[i], V, D, gradient, mode);
                assert_true(head_workspace_bytes(rows[i], V, D, gradient, GM_COMPUTE_AUTO) >= size);
                unsigned char *workspace = mem_new(size + GUARD, 1);
                memset(workspace + size, 0xa5, GUARD);
                double total = head_loss(&c, &head, 0, h, targets, rows[i], 1.0f, NULL,
                                         gradient ? dh : NULL, NULL, workspace);
                assert_true(isfinite(total));
                for (int k = 0; k < GUARD; k++)
                    assert_int_equal(workspace[size + (size_t)k], 0xa5);
                mem_free(workspace);
            }
        }
        compute_free(&c);
    }
    mem_free(h), mem_free(e), mem_free(dh);
    pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(against_double),
                                       cmocka_unit_test(bits_and_extremes),
                                       cmocka_unit_test(references_move),
                                       cmocka_unit_test(skips),
                                       cmocka_unit_test(workspace_is_enough)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
