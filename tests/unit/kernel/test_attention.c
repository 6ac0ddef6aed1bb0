/* Attention: all families against the plain twins, the backward twin against central differences in double, the same
 * bits for 1, 2 and 4 threads, windows, packed sequences, grouped queries, soft-cap, odd head dimensions; the cached
 * form against the full one.
 *
 * Tolerances. f32: rounding of sums. Products of bf16 (families avx512bf16 and amx, BF16 mode) get operands that bf16 can hold, so what differs is
 * the rounding of probabilities and of the gradients of scores, each by at most 2^-9 of itself: the error of a sum of such
 * terms has a norm of about 2^-9 of the sum's, half of that on average. 2^-8 is asked for, and that no element strays further
 * than 16 times as much of the greatest. */
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/kernel/attention.h"
#include "tests/unit/kernel/pools.h"
#include "tests/unit/worse.h"

#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_SEQS = 40 };

/* A batch with everything it needs; q, k and v lie side by side in rows of one array, as after a joint projection. */
struct batch {
    struct attention_shape a;
    int n_seqs;
    int32_t start[MAX_SEQS + 1];
    int64_t T, ld, wide, narrow;
    float *qkv, *dout;
    float *out, *lse, *dqkv;
};

static const float *k_of(const struct batch *b, const float *qkv) { return qkv + b->wide; }
static const float *v_of(const struct batch *b, const float *qkv) { return qkv + b->wide + b->narrow; }

static void make(struct batch *b, struct attention_shape a, int n_seqs, const int *lengths, double spread)
{
    *b = (struct batch){.a = a, .n_seqs = n_seqs};
    for (int s = 0; s < n_seqs; s++)
        b->start[s + 1] = b->start[s] + lengths[s];
    b->T = b->start[n_seqs];
    b->wide = (int64_t)a.n_heads * a.head_dim;
    b->narrow = (int64_t)a.n_kv_heads * a.head_dim;
    b->ld = b->wide + 2 * b->narrow + 3; /* three columns that nobody may touch */
    struct rng r = rng_stream(11, "attention", 0);
    b->qkv = mem_new((size_t)(b->T * b->ld), sizeof(float));
    b->dqkv = mem_new((size_t)(b->T * b->ld), sizeof(float));
    b->dout = mem_new((size_t)(b->T * b->wide), sizeof(float));
    b->out = mem_new((size_t)(b->T * b->wide), sizeof(float));
    b->lse = mem_new((size_t)(b->T * a.n_heads), sizeof(float));
    for (int64_t i = 0; i < b->T * b->ld; i++)
        b->qkv[i] = (float)(spread * rng_normal(&r));
    for (int64_t i = 0; i < b->T * b->wide; i++)
        b->dout[i] = (float)rng_normal(&r);
}
static void drop(struct batch *b)
{
    mem_free(b->qkv), mem_free(b->dqkv), mem_free(b->dout), mem_free(b->out), mem_free(b->lse);
}

/* Families whose products are of bf16. */
static bool takes_bf16(enum family f)
{
    return f == FAMILY_AVX512BF16 || f == FAMILY_AMX;
}

/* What the processor can do, whether or not the family has matrix kernels. */
static bool runs_here(enum family f)
{
#ifdef SLOW_INSTRUCTIONS
    return f == FAMILY_AMX;
#endif
#if defined(__x86_64__)
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (f == FAMILY_AVX2)
        return avx2;
    if (f == FAMILY_AVX512F)
        return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")
            && __builtin_cpu_supports("avx512vl");
#endif
    return takes_bf16(f) ? family_runs_here(f) : f == FAMILY_PLAIN;
}

static void compute_make(struct compute *c, int pool, enum family f)
{
    assert_true(compute_init(c, pools[pool], GM_TRAIN, GM_COMPUTE_F32, FAMILY_PLAIN, NULL));
    c->family = f;
    if (takes_bf16(f))
        c->mode = GM_COMPUTE_BF16;
}

static enum family best_family(void)
{
#ifdef SLOW_INSTRUCTIONS
    return FAMILY_PLAIN;
#endif
    return runs_here(FAMILY_AVX512F) ? FAMILY_AVX512F : runs_here(FAMILY_AVX2) ? FAMILY_AVX2 : FAMILY_PLAIN;
}

static struct attention_batch batch_of(const struct batch *b)
{
    return (struct attention_batch){.q = {b->qkv, b->ld, DT_F32}, .k = {k_of(b, b->qkv), b->ld, DT_F32},
                                    .v = {v_of(b, b->qkv), b->ld, DT_F32}, .n_seqs = b->n_seqs, .seq_start = b->start};
}

static void forward(struct batch *b, const struct compute *c)
{
    const struct attention_batch in = batch_of(b);
    memset(b->out, 0x7f, (size_t)(b->T * b->wide) * sizeof(float));
    memset(b->lse, 0x7f, (size_t)(b->T * b->a.n_heads) * sizeof(float));
    attention(c, &b->a, &in, (struct attention_out){b->out, b->wide, DT_F32}, b->lse);
}
static void backward(struct batch *b, const struct compute *c)
{
    const struct attention_batch in = batch_of(b);
    memset(b->dqkv, 0x7f, (size_t)(b->T * b->ld) * sizeof(float));
    attention_backward(c, &b->a, &in, (struct attention_in){b->dout, b->wide, DT_F32}, (struct attention_in){b->out, b->wide, DT_F32},
                       b->lse, (struct attention_out){b->dqkv, b->ld, DT_F32}, (struct attention_out){b->dqkv + b->wide, b->ld, DT_F32},
                       (struct attention_out){b->dqkv + b->wide + b->narrow, b->ld, DT_F32});
}

/* 1: within 2^-8 in norm, and 2^-4 of the greatest for every element. */
static double bf16_error(const float *got, int64_t ld_got, const float *want, int64_t ld_want, int64_t rows, int64_t n)
{
    double error = 0, norm = 1e-8 * (double)(rows * n), most = 0, greatest = 1e-4; /* what is 0 comes with the noise of f32 */
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < n; j++) {
            const double w = want[i * ld_want + j], e = fabs(got[i * ld_got + j] - w);
            error += e * e;
            norm += w * w;
            most = worse(most, e);
            greatest = fabs(w) > greatest ? fabs(w) : greatest;
        }
    return worse(sqrt(error / norm) * 256, most / greatest * 16);
}

static double worst(const float *got, const float *want, int64_t n)
{
    double w = 0;
    for (int64_t i = 0; i < n; i++)
        w = worse(w, fabs((double)got[i] - want[i]) / (1 + fabs(want[i])));
    return w;
}

struct example {
    struct attention_shape a;
    int n_seqs, lengths[MAX_SEQS];
};
static const struct example examples[] = {
    {{9, 3, 64, 0, 0.125f, 0}, 8, {64, 64, 20, 1, 64, 65, 33, 7}},   /* SmolLM2, short lines */
    {{9, 3, 64, 0, 0.125f, 0}, 1, {300}},                            /* one long sequence */
    {{4, 1, 256, 37, 0.0625f, 0}, 3, {100, 1, 90}},                  /* Gemma 3, window */
    {{4, 2, 32, 16, 0.17f, 50.0f}, 2, {200, 130}},                   /* Gemma 2: window and soft-cap */
    {{3, 3, 20, 0, 0.2f, 5.0f}, 3, {5, 70, 129}},                    /* a head dimension that is no multiple of a vector */
    {{2, 2, 7, 3, 0.4f, 0}, 4, {1, 2, 3, 150}},
    {{2, 1, 48, 1, 0.2f, 0}, 1, {70}},                               /* a window of one: every token sees itself */
    {{70, 1, 8, 0, 0.3f, 0}, 2, {9, 67}},                            /* more heads in a group than rows in a tile */
    {{4, 2, 32, 100, 0.17f, 0}, 6, {256, 0, 255, 17, 250, 256}},     /* joint backward over several tiles; an empty sequence */
    {{4, 1, 64, 0, 0.125f, 0}, 2, {256, 256}},
    {{52, 1, 64, 0, 0.125f, 0}, 1, {201}},                           /* so wide a group that blocks of keys are short */
    {{64, 4, 8, 0, 0.3f, 0}, 1, {520}},                              /* the gradients of the scores fit for some heads at a time */
    {{18, 1, 8, 0, 0.3f, 0}, 2, {1030, 70}},                         /* for none: scores are computed twice */
};

#ifdef SLOW_INSTRUCTIONS
enum { EXAMPLES = 8 }; /* whose types are tried */
#else
enum { EXAMPLES = sizeof examples / sizeof *examples };
#endif

static uint16_t *rounded(float *x, int64_t n)
{
    uint16_t *to = mem_new((size_t)n, sizeof *to);
    for (int64_t i = 0; i < n; i++)
        x[i] = bf16_to_f32(to[i] = f32_to_bf16(x[i]));
    return to;
}
static void make_rounded(struct batch *b, const struct example *e)
{
    make(b, e->a, e->n_seqs, e->lengths, 1.0);
    mem_free(rounded(b->qkv, b->T * b->ld)), mem_free(rounded(b->dout, b->T * b->wide));
}

static void test_against_plain(void **state)
{
    (void)state;
    for (size_t e = 0; e < sizeof examples / sizeof *examples; e++) {
        struct batch b, want;
        make_rounded(&b, &examples[e]);
        make_rounded(&want, &examples[e]);
        plain_attention(&want.a, want.out, want.lse, want.qkv, want.ld, k_of(&want, want.qkv), want.ld, v_of(&want, want.qkv),
                        want.ld, want.n_seqs, want.start);
        memset(want.dqkv, 0x7f, (size_t)(want.T * want.ld) * sizeof(float));
        plain_attention_backward(&want.a, want.dqkv, want.dqkv + want.wide, want.dqkv + want.wide + want.narrow, want.dout,
                                 want.qkv, want.ld, k_of(&want, want.qkv), want.ld, v_of(&want, want.qkv), want.ld, want.n_seqs,
                                 want.start);
        for (int f = FAMILY_AUTO + 1; f < FAMILY_COUNT; f++) {
            if (!runs_here((enum family)f))
                continue;
            struct batch first;
            make_rounded(&first, &examples[e]);
            for (int p = 0; p < POOLS; p++) {
                struct batch *to = p == 0 ? &first : &b;
                struct compute c;
                compute_make(&c, p, (enum family)f);
                forward(to, &c);
                backward(to, &c);
                compute_free(&c);
                if (p > 0 && (memcmp(b.out, first.out, (size_t)(b.T * b.wide) * sizeof(float)) != 0
                              || memcmp(b.lse, first.lse, (size_t)(b.T * b.a.n_heads) * sizeof(float)) != 0
                              || memcmp(b.dqkv, first.dqkv, (size_t)(b.T * b.ld) * sizeof(float)) != 0))
                    fail_msg("example %zu, family %s: %d threads give other bits", e, family_name((enum family)f), 1 << p);
            }
            double out = worst(first.out, want.out, b.T * b.wide), lse = worst(first.lse, want.lse, b.T * b.a.n_heads);
            double gradient = worst(first.dqkv, want.dqkv, b.T * b.ld);
            if (takes_bf16((enum family)f)) {
                const double *const bf16 = (double[]){
                    bf16_error(first.out, b.wide, want.out, b.wide, b.T, b.wide), bf16_error(first.dqkv, b.ld, want.dqkv, b.ld, b.T, b.wide),
                    bf16_error(k_of(&b, first.dqkv), b.ld, k_of(&b, want.dqkv), b.ld, b.T, b.narrow),
                    bf16_error(v_of(&b, first.dqkv), b.ld, v_of(&b, want.dqkv), b.ld, b.T, b.narrow)};
                if (!(lse < 2e-6 && bf16[0] < 1 && bf16[1] < 1 && bf16[2] < 1 && bf16[3] < 1))
                    fail_msg("example %zu, bf16: errors %g (lse); of what is allowed: %g (out) %g (dq) %g (dk) %g (dv)", e, lse, bf16[0],
                             bf16[1], bf16[2], bf16[3]);
                for (int64_t t = 0; t < b.T; t++) /* the columns that nobody may touch */
                    assert_memory_equal(first.dqkv + t * b.ld + b.ld - 3, want.dqkv + t * b.ld + b.ld - 3, 3 * sizeof(float));
            } else if (!(out < 2e-6 && lse < 2e-6 && gradient < 2e-5))
                fail_msg("example %zu, family %s: errors %g (out) %g (lse) %g (gradient)", e, family_name((enum family)f), out, lse,
                         gradient);
            drop(&first);
        }
        drop(&b);
        drop(&want);
    }
}

static void assert_rounded(const uint16_t *got, int64_t ld_got, const float *want, int64_t ld_want, int64_t rows, int64_t n)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < n; j++)
            assert_int_equal(got[i * ld_got + j], f32_to_bf16(want[i * ld_want + j]));
}

/* Operands in bf16 are those numbers in f32, results in bf16 are those in f32 rounded once, whatever the strides. */
static void test_types(void **state)
{
    (void)state;
    for (size_t e = 0; e < EXAMPLES; e++)
        for (int f = FAMILY_AUTO + 1; f < FAMILY_COUNT; f++) {
            if (!runs_here((enum family)f))
                continue;
            struct batch b;
            make(&b, examples[e].a, examples[e].n_seqs, examples[e].lengths, 1.0);
            const int64_t T = b.T, ld = b.wide + 5, narrow = b.narrow + 2;
            uint16_t *qkv = rounded(b.qkv, T * b.ld), *dout = rounded(b.dout, T * b.wide);
            uint16_t *out = mem_new((size_t)(T * ld), 2), *dq = mem_new((size_t)(T * ld), 2), *dv = mem_new((size_t)(T * narrow), 2);
            float *lse = mem_new((size_t)(T * b.a.n_heads), sizeof *lse), *dk = mem_new((size_t)(T * narrow), sizeof *dk);
            struct compute c;
            compute_make(&c, 1, (enum family)f);
            const struct attention_batch in = {.q = {qkv, b.ld, DT_BF16}, .k = {k_of(&b, b.qkv), b.ld, DT_F32},
                                               .v = {qkv + b.wide + b.narrow, b.ld, DT_BF16}, .n_seqs = b.n_seqs, .seq_start = b.start};
            forward(&b, &c);
            attention(&c, &b.a, &in, (struct attention_out){out, ld, DT_BF16}, lse);
            assert_memory_equal(lse, b.lse, (size_t)(T * b.a.n_heads) * sizeof *lse);
            assert_rounded(out, ld, b.out, b.wide, T, b.wide);
            mem_free(rounded(b.out, T * b.wide));
            backward(&b, &c);
            attention_backward(&c, &b.a, &in, (struct attention_in){dout, b.wide, DT_BF16}, (struct attention_in){out, ld, DT_BF16}, lse,
                               (struct attention_out){dq, ld, DT_BF16}, (struct attention_out){dk, narrow, DT_F32},
                               (struct attention_out){dv, narrow, DT_BF16});
            assert_rounded(dq, ld, b.dqkv, b.ld, T, b.wide);
            assert_rounded(dv, narrow, b.dqkv + b.wide + b.narrow, b.ld, T, b.narrow);
            for (int64_t t = 0; t < T; t++)
                assert_memory_equal(dk + t * narrow, b.dqkv + b.wide + t * b.ld, (size_t)b.narrow * sizeof *dk);
            compute_free(&c);
            mem_free(qkv), mem_free(dout), mem_free(out), mem_free(dq), mem_free(dk), mem_free(dv), mem_free(lse);
            drop(&b);
        }
}

static void test_flops(void **state)
{
    (void)state;
    const int32_t start[] = {0, 5, 5, 7};
    const struct attention_shape a = {.n_heads = 3, .n_kv_heads = 1, .head_dim = 8, .window = 3};
    assert_true(attention_flops(&a, 3, start) == 4 * 8 * 3 * (1 + 2 + 3 + 3 + 3 + 1 + 2));
}

/* sum dout·attention(q, k, v) in double, written on its own: the judge of the twins. */
static double loss(const struct batch *b, const double *qkv)
{
    const struct attention_shape *a = &b->a;
    const int D = a->head_dim;
    double total = 0, p[256];
    for (int s = 0; s < b->n_seqs; s++)
        for (int64_t i = b->start[s]; i < b->start[s + 1]; i++)
            for (int h = 0; h < a->n_heads; h++) {
                const int64_t g = h / (a->n_heads / a->n_kv_heads);
                double sum = 0;
                for (int64_t j = b->start[s]; j <= i; j++) {
                    double u = 0;
                    for (int d = 0; d < D; d++)
                        u += qkv[i * b->ld + h * D + d] * qkv[j * b->ld + b->wide + g * D + d];
                    u *= a->scale;
                    if (a->softcap > 0)
                        u = a->softcap * tanh(u / a->softcap);
                    p[j - b->start[s]] = a->window > 0 && i - j >= a->window ? 0 : exp(u);
                    sum += p[j - b->start[s]];
                }
                for (int64_t j = b->start[s]; j <= i; j++)
                    for (int d = 0; d < D; d++)
                        total += b->dout[i * b->wide + h * D + d] * p[j - b->start[s]] / sum
                               * qkv[j * b->ld + b->wide + b->narrow + g * D + d];
            }
    return total;
}

static void test_gradient(void **state)
{
    (void)state;
    const struct example small[] = {
        {{2, 1, 5, 0, 0.4f, 0}, 2, {9, 4}},
        {{4, 2, 4, 3, 0.5f, 2.0f}, 3, {7, 1, 11}},
    };
    for (int e = 0; e < 2; e++) {
        struct batch b;
        make(&b, small[e].a, small[e].n_seqs, small[e].lengths, 1.0);
        struct compute c;
        compute_make(&c, 1, best_family());
        forward(&b, &c);
        backward(&b, &c);
        compute_free(&c);
        double *x = mem_new((size_t)(b.T * b.ld), sizeof(double));
        for (int64_t i = 0; i < b.T * b.ld; i++)
            x[i] = b.qkv[i];
        for (int64_t i = 0; i < b.T * b.ld; i++) {
            if (i % b.ld >= b.ld - 3)
                continue;
            x[i] = b.qkv[i] + 1e-5;
            double up = loss(&b, x);
            x[i] = b.qkv[i] - 1e-5;
            double down = loss(&b, x);
            x[i] = b.qkv[i];
            if (!(fabs((up - down) / 2e-5 - b.dqkv[i]) < 5e-6))
                fail_msg("example %d, element %lld: gradient %g, difference %g", e, (long long)i, b.dqkv[i], (up - down) / 2e-5);
        }
        mem_free(x);
        drop(&b);
    }
}

/* Large scores: the maximum is taken out before the exponential, in whatever stretch it comes. */
static void test_large_scores(void **state)
{
    (void)state;
    struct batch b, want;
    const struct example e = {{2, 1, 32, 0, 1.0f, 0}, 2, {200, 150}};
    make(&want, e.a, e.n_seqs, e.lengths, 6.0);
    mem_free(rounded(want.qkv, want.T * want.ld));
    plain_attention(&want.a, want.out, want.lse, want.qkv, want.ld, k_of(&want, want.qkv), want.ld, v_of(&want, want.qkv), want.ld, 2,
                    want.start);
    for (int f = FAMILY_AUTO + 1; f < FAMILY_COUNT; f++) {
        if (!runs_here((enum family)f))
            continue;
        make(&b, e.a, e.n_seqs, e.lengths, 6.0);
        mem_free(rounded(b.qkv, b.T * b.ld));
        struct compute c;
        compute_make(&c, 1, (enum family)f);
        forward(&b, &c);
        if (takes_bf16((enum family)f))
            assert_true(bf16_error(b.out, b.wide, want.out, b.wide, b.T, b.wide) < 1);
        else /* scores of 1000 carry errors of 1e-4, and so does exp */
            assert_true(worst(b.out, want.out, b.T * b.wide) < 2e-3);
        assert_true(worst(b.lse, want.lse, b.T * b.a.n_heads) < 1e-6);
        b.qkv[100 * b.ld] = NAN; /* a NaN shows in its row */
        forward(&b, &c);
        assert_true(isnan(b.out[100 * b.wide]) && !isnan(b.out[99 * b.wide]) && !isnan(b.out[101 * b.wide]));
        compute_free(&c);
        drop(&b);
    }
    drop(&want);
}

/* Prompts, then single steps, of several requests at once, must give what the full attention gives at those positions. */
static void test_cached(void **state)
{
    (void)state;
    const struct example shapes[] = {
        {{9, 3, 64, 0, 0.125f, 0}, 5, {150, 1, 64, 70, 33}},
        {{4, 1, 256, 37, 0.0625f, 30.0f}, 3, {100, 90, 5}},
        {{2, 2, 12, 0, 0.3f, 0}, 2, {40, 80}},
        {{6, 2, 32, 0, 0.2f, 0}, 3, {700, 20, 300}}, /* so long that the keys are cut */
        {{3, 1, 64, 400, 0.125f, 0}, 2, {800, 390}},
    };
    for (int e = 0; e < 5; e++)
        for (int f = FAMILY_AUTO + 1; f < FAMILY_COUNT; f++) {
            if (!runs_here((enum family)f))
                continue;
            struct batch b;
            make(&b, shapes[e].a, shapes[e].n_seqs, shapes[e].lengths, 1.0);
            for (int64_t i = 0; i < b.T * b.ld; i++) /* what bf16 can hold, so that both caches hold the same */
                b.qkv[i] = bf16_to_f32(f32_to_bf16(b.qkv[i]));
            struct compute c;
            compute_make(&c, 1, (enum family)f);
            forward(&b, &c);
            float *k = mem_new((size_t)(b.T * b.narrow), 4), *v = mem_new((size_t)(b.T * b.narrow), 4);
            uint16_t *k16 = mem_new((size_t)(b.T * b.narrow), 2), *v16 = mem_new((size_t)(b.T * b.narrow), 2);
            float *q = mem_new((size_t)(b.T * b.wide), 4), *out = mem_new((size_t)(b.T * b.wide), 4), *out16 = mem_new((size_t)(b.T * b.wide), 4);
            for (int64_t t = 0; t < b.T; t++)
                for (int64_t i = 0; i < b.narrow; i++) {
                    k16[t * b.narrow + i] = f32_to_bf16(k[t * b.narrow + i] = k_of(&b, b.qkv)[t * b.ld + i]);
                    v16[t * b.narrow + i] = f32_to_bf16(v[t * b.narrow + i] = v_of(&b, b.qkv)[t * b.ld + i]);
                }
            for (int n_new = 1; n_new < 80; n_new = n_new * 5 + 1) { /* 1, 6, 31 new tokens, fewer where the sequence is short */
                struct attention_request r[MAX_SEQS], r16[MAX_SEQS];
                int64_t rows = 0;
                for (int s = 0; s < b.n_seqs; s++) {
                    const int length = b.start[s + 1] - b.start[s], n = n_new < length ? n_new : length;
                    r[s] = (struct attention_request){k + b.start[s] * b.narrow, v + b.start[s] * b.narrow, length - n, n};
                    r16[s] = (struct attention_request){k16 + b.start[s] * b.narrow, v16 + b.start[s] * b.narrow, length - n, n};
                    for (int i = 0; i < n; i++, rows++)
                        memcpy(q + rows * b.wide, b.qkv + (b.start[s + 1] - n + i) * b.ld, (size_t)b.wide * 4);
                }
                attention_cached(&c, &b.a, DT_F32, out, q, r, b.n_seqs);
                attention_cached(&c, &b.a, DT_BF16, out16, q, r16, b.n_seqs);
                assert_memory_equal(out, out16, (size_t)(rows * b.wide) * 4);
                rows = 0;
                for (int s = 0; s < b.n_seqs; rows += r[s++].n_new)
                    if (takes_bf16((enum family)f)) /* probabilities are rounded against another maximum */
                        assert_true(bf16_error(out + rows * b.wide, b.wide, b.out + (b.start[s + 1] - r[s].n_new) * b.wide, b.wide, r[s].n_new, b.wide) < 1);
                    else
                        assert_true(worst(out + rows * b.wide, b.out + (b.start[s + 1] - r[s].n_new) * b.wide, r[s].n_new * b.wide) < 1e-6);
                /* a request gets the same bits alone and beside others */
                attention_cached(&c, &b.a, DT_F32, out16, q, r, 1);
                assert_memory_equal(out, out16, (size_t)(r[0].n_new * b.wide) * 4);
            }
            compute_free(&c);
            mem_free(k), mem_free(v), mem_free(k16), mem_free(v16), mem_free(q), mem_free(out), mem_free(out16);
            drop(&b);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_plain),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_flops),
        cmocka_unit_test(test_gradient),
        cmocka_unit_test(test_large_scores),
        cmocka_unit_test(test_cached),
    };
    return cmocka_run_group_tests(tests, start_pools, stop_pools);
}
