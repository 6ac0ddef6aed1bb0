/* Element-wise kernels: every family and 1, 2, 4 threads give the same bits; these agree with the plain twins; the
 * backward passes agree with central differences in double. */
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/kernel/ops.h"
#include "engine/kernel/ops_kernels.h"
#include "tests/unit/kernel/pools.h"
#include "tests/unit/worse.h"

#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

/* What the processor can do, whether or not the family has matrix kernels. */
static bool runs_here(enum family f)
{
#if defined(__x86_64__)
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (f == FAMILY_AVX2)
        return avx2;
    if (f == FAMILY_AVX512F)
        return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")
            && __builtin_cpu_supports("avx512vl");
#endif
    return f == FAMILY_PLAIN;
}

static float *normals(size_t n, const char *name, double scale)
{
    struct rng r = rng_stream(7, name, 0);
    float *x = mem_new(n, sizeof(float));
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(scale * rng_normal(&r));
    return x;
}

static void assert_close(const float *got, const float *want, size_t n, double relative, double absolute)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - want[i]) <= absolute + relative * fabs(want[i])))
            fail_msg("element %zu: %.9g, not %.9g", i, got[i], want[i]);
}

/* Runs the operation for all families of a kind that run here and all pools; all must leave the same bytes in out, which returns. */
typedef void (*operation)(const struct compute *c, void *args, float *out);
enum kind { ALL, PLAIN_ONE, OTHERS }; /* plain code rounds twice where the others may multiply and add at once */
static bool same_bits_of(enum kind kind, operation op, void *args, float *out, size_t n)
{
    float *other = mem_new(n, sizeof(float));
    bool first = true;
    for (int f = FAMILY_COUNT - 1; f > FAMILY_AUTO; f--) {
        if (!runs_here((enum family)f) || (kind != ALL && (f == FAMILY_PLAIN) != (kind == PLAIN_ONE)))
            continue;
        for (int p = 0; p < POOLS; p++) {
            struct compute c = {.pool = pools[p], .role = GM_TRAIN, .family = (enum family)f};
            op(&c, args, first ? out : other);
            if (!first && memcmp(out, other, n * sizeof(float)) != 0)
                fail_msg("family %s, %d threads: other bits", family_name((enum family)f), 1 << p);
            first = false;
        }
    }
    mem_free(other);
    return !first;
}

static void same_bits(operation op, void *args, float *out, size_t n)
{
    assert_true(same_bits_of(ALL, op, args, out, n));
}

static void test_functions(void **state)
{
    (void)state;
    enum { N = 200000 };
    static float x[N], y[N];
    const double bound[3] = {1e-7, 2e-7, 2e-7};
    for (int which = 0; which < 3; which++)
        for (int f = FAMILY_AUTO + 1; f < FAMILY_COUNT; f++) {
            if (!runs_here((enum family)f))
                continue;
            double worst = 0;
            for (int i = 0; i < N; i++)
                x[i] = (float)(i % 2 ? (i - N / 2) * 87.0 / (N / 2) : (i - N / 2) * 1e-5);
            ops_kernels_of((enum family)f)->function(y, x, N, which);
            for (int i = 0; i < N; i++) {
                double v = x[i], want = which == 0 ? exp(v) : which == 1 ? 1 / (1 + exp(-v)) : tanh(v);
                worst = worse(worst, want == 0 ? fabs((double)y[i]) : fabs(y[i] / want - 1));
            }
            if (!(worst <= bound[which]))
                fail_msg("function %d, family %s: error %g", which, family_name((enum family)f), worst);
        }
    const float edge[8] = {-INFINITY, -1000.0f, 0.0f, -0.0f, 1000.0f, NAN, 1e-30f, -88.0f};
    float e[8], s[8], t[8];
    ops_kernels_base.function(e, edge, 8, 0);
    ops_kernels_base.function(s, edge, 8, 1);
    ops_kernels_base.function(t, edge, 8, 2);
    assert_true(e[0] == 0 && e[1] == 0 && e[2] == 1 && e[3] == 1 && e[4] > 1e38f && isnan(e[5]) && e[7] == 0);
    assert_true(s[0] < 1e-37f && s[2] == 0.5f && s[4] == 1 && isnan(s[5]));
    assert_true(t[0] == -1 && t[1] == -1 && t[2] == 0 && t[4] == 1 && isnan(t[5]) && t[6] == 1e-30f);
}

struct norm {
    int64_t rows, n;
    const float *x, *w, *dy, *rstd, *before;
    bool accumulate;
};
static void do_norm(const struct compute *c, void *args, float *out)
{
    struct norm *a = args;
    rmsnorm(c, out, out + a->rows * a->n, a->x, a->w, a->rows, a->n, 1e-6f);
}
static void do_norm_in_place(const struct compute *c, void *args, float *out)
{
    struct norm *a = args;
    memcpy(out, a->x, (size_t)(a->rows * a->n) * sizeof(float));
    rmsnorm(c, out, NULL, out, a->w, a->rows, a->n, 1e-6f);
}
static void do_norm_backward(const struct compute *c, void *args, float *out)
{
    struct norm *a = args;
    memcpy(out, a->accumulate ? a->before : a->dy, (size_t)(a->rows * a->n) * sizeof(float));
    memcpy(out + a->rows * a->n, a->before, (size_t)a->n * sizeof(float)); /* dw adds */
    rmsnorm_backward(c, out, out + a->rows * a->n, a->accumulate ? a->dy : out, a->x, a->rstd, a->w, a->rows, a->n, a->accumulate);
}

static double norm_loss(const double *x, const float *w, const float *dy, int64_t rows, int64_t n)
{
    double loss = 0;
    for (int64_t row = 0; row < rows; row++) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++)
            sum += x[row * n + i] * x[row * n + i];
        for (int64_t i = 0; i < n; i++)
            loss += dy[row * n + i] * x[row * n + i] / sqrt(sum / (double)n + 1e-6) * w[i];
    }
    return loss;
}

static void test_rmsnorm(void **state)
{
    (void)state;
    const int64_t shapes[][2] = {{1, 1}, {3, 7}, {5, 32}, {200, 64}, {37, 576}, {2, 20000}, {70, 100}};
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        const int64_t rows = shapes[k][0], n = shapes[k][1];
        const size_t all = (size_t)(rows * n), size = all + (size_t)(rows > n ? rows : n);
        float *x = normals(all, "x", 2), *w = normals((size_t)n, "w", 1), *dy = normals(all, "dy", 1), *before = normals(size, "b", 1);
        float *got = mem_new(size, sizeof(float)), *want = mem_new(size, sizeof(float));
        struct norm a = {.rows = rows, .n = n, .x = x, .w = w, .dy = dy, .before = before};

        same_bits(do_norm, &a, got, all + (size_t)rows);
        plain_rmsnorm(want, want + all, x, w, rows, n, 1e-6f);
        assert_close(got, want, all + (size_t)rows, 1e-6, 1e-7);
        float *in_place = mem_new(all, sizeof(float));
        same_bits(do_norm_in_place, &a, in_place, all);
        assert_memory_equal(in_place, got, all * sizeof(float));

        float *rstd = mem_new((size_t)rows, sizeof(float));
        memcpy(rstd, want + all, (size_t)rows * sizeof(float));
        a.rstd = rstd;
        for (int accumulate = 0; accumulate < 2; accumulate++) {
            a.accumulate = accumulate;
            same_bits(do_norm_backward, &a, got, all + (size_t)n);
            memcpy(want, before, size * sizeof(float));
            memcpy(want + all, before, (size_t)n * sizeof(float));
            plain_rmsnorm_backward(want, want + all, dy, x, rstd, w, rows, n, accumulate);
            assert_close(got, want, all + (size_t)n, 2e-6, 2e-5);
        }
        if (all < 5000) { /* central differences; got = before + gradient */
            double *xd = mem_new(all, sizeof(double));
            for (size_t i = 0; i < all; i++)
                xd[i] = x[i];
            for (size_t i = 0; i < all; i += 13) {
                const double h = 1e-5;
                xd[i] = x[i] + h;
                double up = norm_loss(xd, w, dy, rows, n);
                xd[i] = x[i] - h;
                double down = norm_loss(xd, w, dy, rows, n);
                xd[i] = x[i];
                double gradient = (up - down) / (2 * h);
                assert_true(fabs(got[i] - before[i] - gradient) < 2e-5 * (1 + fabs(gradient)));
            }
            mem_free(xd);
        }
        mem_free(x), mem_free(w), mem_free(dy), mem_free(before), mem_free(got), mem_free(want), mem_free(in_place), mem_free(rstd);
    }
}

struct rotation {
    const float *x;
    int64_t ldx, T;
    int n_heads;
    const int32_t *positions;
    const struct rope_table *t;
    bool inverse;
};
static void do_rope(const struct compute *c, void *args, float *out)
{
    struct rotation *a = args;
    memcpy(out, a->x, (size_t)(a->T * a->ldx) * sizeof(float));
    rope(c, out, a->ldx, a->positions, a->T, a->n_heads, a->t, a->inverse);
}

static void test_rope(void **state)
{
    (void)state;
    const int dims[] = {2, 6, 32, 64, 96};
    for (size_t k = 0; k < 2 * (sizeof dims / sizeof *dims); k++) { /* the whole head turns, then a part of it */
        const int d = dims[k / 2], half = k % 2 ? (d + 2) / 4 : d / 2, n_heads = 3;
        const int64_t T = 300, ldx = n_heads * d + 5;
        double frequencies[64];
        for (int i = 0; i < half; i++)
            frequencies[i] = pow(10000.0, -1.0 * i / half) / 8;
        struct rope_table t;
        assert_true(rope_table_init(&t, 1000, d, half, frequencies, 1.5, NULL));
        for (int i = 0; i < half; i++)
            assert_true(fabs(t.sin[777 * t.half + i] - 1.5 * sin(777 * frequencies[i])) < 2e-7);
        rope_table_free(&t);
        assert_true(rope_table_init(&t, 1000, d, half, frequencies, 1, NULL));
        int32_t positions[300];
        for (int i = 0; i < T; i++)
            positions[i] = (i * 37) % 1000;
        float *x = normals((size_t)(T * ldx), "rope", 1), *got = mem_new((size_t)(T * ldx), 4), *want = mem_new((size_t)(T * ldx), 4);
        struct rotation a = {x, ldx, T, n_heads, positions, &t, false};
        for (int inverse = 0; inverse < 2; inverse++) {
            a.inverse = inverse;
            memcpy(want, x, (size_t)(T * ldx) * 4);
            plain_rope(want, ldx, positions, T, n_heads, &t, inverse);
            same_bits(do_rope, &a, got, (size_t)(T * ldx));
            assert_close(got, want, (size_t)(T * ldx), 1e-6, 1e-6); /* the five columns behind the heads too: untouched */
        }
        struct compute c = {.pool = pools[1]};
        rope(&c, got, ldx, positions, T, n_heads, &t, false); /* undoes the inverse; its Jacobian is its transpose */
        assert_close(got, x, (size_t)(T * ldx), 1e-6, 1e-6);
        rope_table_free(&t);
        mem_free(x), mem_free(got), mem_free(want);
    }
    struct rope_table t;
    struct gm_error err = {0};
    const double f[4] = {1, 0.5, 0.25, 0.125}, bad[4] = {1, -1, 1, 1};
    assert_false(rope_table_init(&t, 0, 8, 4, f, 1, &err));
    assert_false(rope_table_init(&t, 10, 7, 4, f, 1, &err));
    assert_false(rope_table_init(&t, 10, 8, 4, bad, 1, &err));
    assert_false(rope_table_init(&t, 10, 8, 4, f, 0, &err));
    assert_false(rope_table_init(&t, INT64_MAX / 2, 8, 4, f, 1, &err));
    assert_true(err.text[0] != 0);
}

struct glu_call {
    int64_t count;
    const float *gate, *up;
    enum activation act;
};
static void do_glu(const struct compute *c, void *args, float *out)
{
    struct glu_call *a = args;
    glu(c, out, a->gate, a->up, a->count, a->act);
}
static void test_glu(void **state)
{
    (void)state;
    const int64_t counts[] = {1, 15, 16, 33, 1000, 16384 * 2 + 7};
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++)
        for (int act = 0; act < 2; act++) {
            const int64_t n = counts[k];
            float *gate = normals((size_t)n, "gate", 3), *up = normals((size_t)n, "up", 1);
            float *got = mem_new((size_t)n, sizeof(float)), *want = mem_new((size_t)n, sizeof(float));
            struct glu_call a = {n, gate, up, (enum activation)act};
            plain_glu(want, gate, up, n, (enum activation)act);
            for (int kind = PLAIN_ONE; kind <= OTHERS; kind++)
                if (same_bits_of((enum kind)kind, do_glu, &a, got, (size_t)n)) /* the twin's double has all digits where 1 + tanh cancels */
                    assert_close(got, want, (size_t)n, 3e-6, 1e-9);
            mem_free(gate), mem_free(up), mem_free(got), mem_free(want);
        }
    const float g[7] = {-3, -1, -.5f, .5f, 1, 3, NAN}, one[7] = {1, 1, 1, 1, 1, 1, 1};
    const float want[6] = {-0.003637392f, -0.158808009f, -0.154285990f, 0.345714010f, 0.841191991f, 2.996362608f};
    float h[7];
    struct compute c = {.pool = pools[0]};
    glu(&c, h, g, one, 7, ACT_GELU_TANH);
    assert_close(h, want, 6, 5e-7, 0);
    assert_true(isnan(h[6]));
}

struct simple {
    int64_t count;
    const float *x, *y;
};
static void do_add(const struct compute *c, void *args, float *out)
{
    struct simple *a = args;
    memcpy(out, a->y, (size_t)a->count * sizeof(float));
    add_inplace(c, out, a->x, a->count);
}
static void do_scale(const struct compute *c, void *args, float *out)
{
    struct simple *a = args;
    memcpy(out, a->y, (size_t)a->count * sizeof(float));
    scale_inplace(c, out, -1.7f, a->count);
}
static void do_sum_squares(const struct compute *c, void *args, float *out)
{
    struct simple *a = args;
    double sum = sum_squares(c, a->x, a->count);
    memcpy(out, &sum, sizeof sum);
}

static void test_simple(void **state)
{
    (void)state;
    const int64_t counts[] = {0, 1, 17, 16384, 16385, 100003};
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
        const int64_t n = counts[k];
        float *x = normals((size_t)n + 1, "x", 1), *y = normals((size_t)n + 1, "y", 1), *got = mem_new((size_t)n + 2, sizeof(float));
        struct simple a = {n, x, y};
        same_bits(do_add, &a, got, (size_t)n);
        for (int64_t i = 0; i < n; i++)
            assert_true(got[i] == y[i] + x[i]);
        same_bits(do_scale, &a, got, (size_t)n);
        for (int64_t i = 0; i < n; i++)
            assert_true(got[i] == y[i] * -1.7f);
        double sum;
        same_bits(do_sum_squares, &a, got, 2);
        memcpy(&sum, got, sizeof sum);
        assert_true(fabs(sum - plain_sum_squares(x, n)) <= 1e-12 * (sum + 1));
        mem_free(x), mem_free(y), mem_free(got);
    }
}

static void do_to_bf16(const struct compute *c, void *args, float *out)
{
    struct simple *a = args;
    to_bf16(c, (uint16_t *)out, a->x, a->count);
}
static void test_bf16(void **state)
{
    (void)state;
    enum { N = 65536 * 5 + 6 }; /* even: two of the results fill one float of same_bits */
    const uint32_t low[5] = {0, 0x7fff, 0x8000, 0x8001, 0xffff};
    uint32_t *bits = mem_new(N, sizeof *bits);
    uint16_t *half = mem_new(N, sizeof *half);
    for (uint32_t i = 0; i < N; i++)
        bits[i] = (i & 0xffff) << 16 | low[(i >> 16) % 5];
    struct simple a = {.count = N, .x = (const float *)bits};
    same_bits(do_to_bf16, &a, (float *)half, N / 2);
    for (int i = 0; i < N; i++)
        assert_int_equal(half[i], f32_to_bf16(((const float *)bits)[i]));
    if (family_runs_here(FAMILY_AVX512BF16)) { /* the processor's own conversion: the same, but for numbers below the smallest normal one */
        uint16_t *own = mem_new(N, sizeof *own);
        ops_kernels_avx512bf16()->to_bf16(own, (const float *)bits, N);
        for (int i = 0; i < N; i++)
            assert_true(own[i] == half[i] || (bits[i] << 1 < 0x1000000u && (own[i] & 0x7fff) == 0));
        mem_free(own);
    }
    mem_free(bits), mem_free(half);
}

struct embedding {
    const struct mat *m;
    const int32_t *ids;
    int64_t T;
};
static void do_embed(const struct compute *c, void *args, float *out)
{
    struct embedding *a = args;
    embed_rows(c, out, a->m, a->ids, a->T, 25.25f);
}

static void test_embedding(void **state)
{
    (void)state;
    enum { V = 50, D = 72, T = 400 };
    float *table = normals(V * D, "embed", 1), *got = mem_new(T * D, 4), *want = mem_new(T * D, 4), *dx = normals(T * D, "dx", 1);
    uint16_t half[V * D];
    int32_t ids[T];
    for (int i = 0; i < V * D; i++)
        half[i] = f32_to_bf16(table[i]);
    for (int t = 0; t < T; t++)
        ids[t] = (t * 31 + t / 7) % V;
    struct mat forms[2] = {mat_f32(table, V, D), {.data = half, .type = DT_BF16, .rows = V, .cols = D, .row_bytes = D * 2}};
    for (int f = 0; f < 2; f++) {
        struct embedding a = {&forms[f], ids, T};
        same_bits(do_embed, &a, got, T * D);
        plain_embed_rows(want, &forms[f], ids, T, 25.25f);
        assert_memory_equal(got, want, T * D * sizeof(float));
    }
    double *sum = mem_new(V * D, sizeof(double));
    float *de = normals(V * D, "de", 1);
    for (int i = 0; i < V * D; i++)
        sum[i] = de[i];
    for (int i = 0; i < T * D; i++)
        sum[ids[i / D] * D + i % D] += 25.25 * dx[i];
    embed_backward(de, dx, ids, T, D, 25.25f);
    for (int i = 0; i < V * D; i++)
        assert_true(fabs(de[i] - sum[i]) < 1e-4);
    mem_free(table), mem_free(got), mem_free(want), mem_free(dx), mem_free(sum), mem_free(de);
}

struct step {
    struct adam adam;
    int64_t count;
    const float *w, *m, *v, *g;
};
static void do_adamw(const struct compute *c, void *args, float *out)
{
    struct step *a = args;
    const size_t bytes = (size_t)a->count * sizeof(float);
    memcpy(out, a->w, bytes);
    memcpy(out + a->count, a->m, bytes);
    memcpy(out + 2 * a->count, a->v, bytes);
    adamw_update(c, &a->adam, out, out + a->count, out + 2 * a->count, a->g, 0.37f, a->count);
}

static void test_adamw(void **state)
{
    (void)state;
    const int64_t counts[] = {1, 31, 40000};
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++)
        for (int corrected = 0; corrected < 2; corrected++) {
            const int64_t n = counts[k];
            float *w = normals((size_t)n, "w", 1), *m = normals((size_t)n, "m", .1), *v = normals((size_t)n, "v", .1);
            float *g = normals((size_t)n, "g", 1), *got = mem_new((size_t)n * 3, 4), *want = mem_new((size_t)n * 3, 4);
            for (int64_t i = 0; i < n; i++)
                v[i] *= v[i];
            struct step a = {{3e-3f, 0.9f, 0.999f, 1e-8f, 0.1f, 1, 1}, n, w, m, v, g};
            if (corrected) {
                a.adam.bias1 = 1 - 0.9f * 0.9f;
                a.adam.bias2 = 1 - 0.999f * 0.999f;
            }
            same_bits(do_adamw, &a, got, (size_t)n * 3);
            memcpy(want, w, (size_t)n * 4);
            memcpy(want + n, m, (size_t)n * 4);
            memcpy(want + 2 * n, v, (size_t)n * 4);
            plain_adamw_update(&a.adam, want, want + n, want + 2 * n, g, 0.37f, n);
            assert_close(got, want, (size_t)n * 3, 5e-7, 1e-7);
            mem_free(w), mem_free(m), mem_free(v), mem_free(g), mem_free(got), mem_free(want);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_functions), cmocka_unit_test(test_rmsnorm),   cmocka_unit_test(test_rope),
        cmocka_unit_test(test_glu), cmocka_unit_test(test_simple),    cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_embedding), cmocka_unit_test(test_adamw),
    };
    return cmocka_run_group_tests(tests, start_pools, stop_pools);
}
