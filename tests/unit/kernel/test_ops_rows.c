/* The operators over rows: 1, 2, 4 threads and every family (but for what is said of fused multiplication) give the same bits; these agree with the plain twins, in f32 and in
 * bf16, with rows closer and further apart; padding is zero. */
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/kernel/ops_kernels.h"
#include "engine/kernel/ops_rows.h"
#include "tests/unit/kernel/pools.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { T = 37, ARRAYS = 12, LD_MOST = 4 * 96, BYTES = T * LD_MOST * 4 };

/* Arrays of one call, each at a place of its own; filled with the same random numbers before every run. */
struct arrays {
    struct rows rows[ARRAYS];
    int64_t n[ARRAYS];
    int count;
    unsigned char *data;
};

static struct rows add_array(struct arrays *a, enum dtype type, int64_t n, int64_t ld)
{
    struct rows r = rows_of(a->data + (size_t)a->count * BYTES, type, ld);
    assert_true(a->count < ARRAYS && ld <= LD_MOST && n <= ld);
    a->n[a->count] = n;
    a->rows[a->count++] = r;
    return r;
}

static void fill(struct arrays *a)
{
    struct rng random = rng_stream(11, "test", 0);
    memset(a->data, 0x7f, (size_t)ARRAYS * BYTES);
    for (int k = 0; k < a->count; k++)
        for (int64_t t = 0; t < T; t++)
            for (int64_t i = 0; i < a->n[k]; i++) {
                float v = (float)rng_normal(&random);
                if (a->rows[k].type == DT_BF16)
                    ((uint16_t *)a->rows[k].data)[t * a->rows[k].ld + i] = f32_to_bf16(v);
                else
                    ((float *)a->rows[k].data)[t * a->rows[k].ld + i] = v;
            }
}

static double value(struct rows r, const unsigned char *data, const unsigned char *other, int64_t t, int64_t i)
{
    const unsigned char *at = other + ((unsigned char *)r.data - data);
    return r.type == DT_BF16 ? (double)bf16_to_f32(((const uint16_t *)(const void *)at)[t * r.ld + i])
                             : (double)((const float *)(const void *)at)[t * r.ld + i];
}

static void check_padding(struct rows r, int64_t n)
{
    for (int64_t t = 0; t < T; t++)
        for (int64_t i = n; i < r.ld && i < (n + 31) / 32 * 32; i++)
            if (value(r, r.data, r.data, t, i) != 0)
                fail_msg("row %d, element %d: not zero", (int)t, (int)i);
}

static bool runs_here(enum family f)
{
#if defined(__x86_64__)
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (f == FAMILY_AVX2)
        return avx2;
    if (f == FAMILY_AVX512BF16)
        return avx2 && __builtin_cpu_supports("avx512bf16") && ops_kernels_avx512bf16();
    if (f == FAMILY_AVX512F)
        return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")
            && __builtin_cpu_supports("avx512vl");
#endif
    return f == FAMILY_PLAIN;
}

/* Against the twin. An error of one step of the type is allowed, for the last digit may fall either way. */
static void near_twin(const struct arrays *a, const unsigned char *got_data, const unsigned char *want_data, double tolerance)
{
    for (int k = 0; k < a->count; k++)
        for (int64_t t = 0; t < T; t++)
            for (int64_t i = 0; i < a->n[k]; i++) {
                double want = value(a->rows[k], a->data, want_data, t, i), got = value(a->rows[k], a->data, got_data, t, i);
                double step = a->rows[k].type == DT_BF16 ? 1.0 / 128 : 1e-5;
                if (!(fabs(got - want) <= step * fabs(want) + tolerance))
                    fail_msg("array %d, row %d, element %d: %.9g, not %.9g", k, (int)t, (int)i, got, want);
            }
}

/* Runs the operator everywhere, and its twin. `fused`: it multiplies and adds in one rounding where the processor can, so that plain
 * code may have other bits. */
typedef void (*operation)(const struct compute *c, const void *args);
typedef void (*twin)(const void *args);
static void check(struct arrays *a, operation op, twin plain, const void *args, double tolerance, bool fused)
{
    const size_t bytes = (size_t)ARRAYS * BYTES;
    unsigned char *want = mem_new(bytes, 1), *first = mem_new(bytes, 1);
    bool any = false;
    fill(a);
    plain(args);
    memcpy(want, a->data, bytes);
    for (int f = FAMILY_AUTO + 1; f < FAMILY_COUNT; f++)
        for (int p = 0; p < POOLS && runs_here((enum family)f); p++) {
            struct compute c = {.pool = pools[p], .role = GM_TRAIN, .family = (enum family)f};
            fill(a);
            op(&c, args);
            if (!any || (p == 0 && fused && f == FAMILY_PLAIN)) {
                memcpy(first, a->data, bytes);
                near_twin(a, first, want, tolerance);
                any = true;
            } else if (memcmp(first, a->data, bytes) != 0) {
                fail_msg("family %s, %d threads: other bits", family_name((enum family)f), 1 << p);
            }
        }
    mem_free(want);
    mem_free(first);
}

static void do_residual(const struct compute *c, const void *args) { residual(c, args); }
static void twin_residual(const void *args) { plain_residual(args); }
static void do_residual_backward(const struct compute *c, const void *args) { residual_backward(c, args); }
static void twin_residual_backward(const void *args) { plain_residual_backward(args); }
static void do_heads(const struct compute *c, const void *args) { heads_turn(c, args); }
static void twin_heads(const void *args) { plain_heads_turn(args); }
static void do_heads_backward(const struct compute *c, const void *args) { heads_turn_backward(c, args); }
static void twin_heads_backward(const void *args) { plain_heads_turn_backward(args); }
static void do_gated(const struct compute *c, const void *args) { gated(c, args); }
static void twin_gated(const void *args) { plain_gated(args); }
static void do_gated_backward(const struct compute *c, const void *args) { gated_backward(c, args); }
static void twin_gated_backward(const void *args) { plain_gated_backward(args); }

static const enum dtype TYPES[] = {DT_F32, DT_BF16};
static const int64_t WIDTHS[] = {7, 64, 83}; /* with rows 96 apart */

static struct arrays arrays_new(void)
{
    return (struct arrays){.data = mem_new((size_t)ARRAYS * BYTES, 1)};
}

static void test_residual(void **state)
{
    (void)state;
    for (int type = 0; type < 2; type++)
        for (int width = 0; width < 3; width++)
            for (int form = 0; form < 16; form++) {
                const int64_t n = WIDTHS[width];
                const enum dtype e = TYPES[type];
                struct arrays a = arrays_new();
                struct residual r = {.T = T, .n = n, .eps = 1e-5f};
                r.sum = add_array(&a, e, n, n);
                r.norm = add_array(&a, DT_F32, n, n).data;
                r.normed = add_array(&a, e, n, 96);
                if (form & 3) { /* 0: read only */
                    if (form & 1)
                        r.x = add_array(&a, DT_F32, n, n).data;
                    if (form & 2)
                        r.base = add_array(&a, e, n, n);
                    if ((form & 4) || r.base.data)
                        r.branch = add_array(&a, DT_F32, n, n);
                    if ((form & 4) && r.branch.data)
                        r.rounded = add_array(&a, e, n, n);
                    if ((form & 8) && r.branch.data)
                        r.norm_branch = add_array(&a, DT_F32, n, n).data;
                }
                check(&a, do_residual, twin_residual, &r, 2e-2 * (e == DT_BF16) + 1e-5, false);
                check_padding(r.normed, n);
                mem_free(a.data);
            }
}

static void test_residual_backward(void **state)
{
    (void)state;
    for (int type = 0; type < 2; type++)
        for (int width = 0; width < 3; width++)
            for (int form = 1; form < 8; form++) {
                const int64_t n = WIDTHS[width];
                const enum dtype e = TYPES[type];
                struct arrays a = arrays_new();
                struct residual_backward r = {.T = T, .n = n, .eps = 1e-5f};
                r.dx = add_array(&a, DT_F32, n, n).data;
                if (form & 1) {
                    r.d_normed = add_array(&a, DT_F32, n, n);
                    r.sum = add_array(&a, e, n, n);
                    r.norm = add_array(&a, DT_F32, n, n).data;
                    r.rstd = add_array(&a, DT_F32, 1, 1).data;
                }
                if (form & 6)
                    r.d_branch = add_array(&a, e, n, 96);
                if (form & 4) {
                    r.branch = add_array(&a, e, n, n);
                    r.norm_branch = add_array(&a, DT_F32, n, n).data;
                    r.rstd_branch = add_array(&a, DT_F32, 1, 1).data;
                }
                check(&a, do_residual_backward, twin_residual_backward, &r, 1e-5, false);
                if (r.d_branch.data)
                    check_padding(r.d_branch, n);
                mem_free(a.data);
            }
}

static void test_heads(void **state)
{
    (void)state;
    struct gm_error err = {0};
    int32_t positions[T];
    double frequencies[16];
    for (int t = 0; t < T; t++)
        positions[t] = (t * 7) % 50;
    for (int i = 0; i < 16; i++)
        frequencies[i] = pow(100.0, -i / 16.0);
    for (int form = 0; form < 48; form++) {
        const int half = form & 1 ? 9 : 16, dim = form & 2 ? 2 * half : 2 * half + 5;
        const enum dtype e = TYPES[form >> 2 & 1];
        const bool norms = form >> 3 & 1;
        struct rope_table table;
        assert_true(rope_table_init(&table, 50, dim, half, frequencies, 1, &err));
        struct arrays a = arrays_new();
        struct heads h = {.n_parts = 2, .T = T, .eps = 1e-5f, .positions = positions, .table = &table, .rotate = form < 40};
        for (int p = 0; p < 2; p++) {
            struct head_rows *part = &h.part[p];
            part->heads = 1 + 2 * p;
            int64_t n = part->heads * dim;
            part->norm = norms ? add_array(&a, DT_F32, dim, dim).data : NULL;
            part->x = add_array(&a, e, n, n);
            part->g = add_array(&a, p ? DT_F32 : e, n, n);
            part->to = form & 1 ? add_array(&a, e, n, n + 15) : part->x;
            part->rstd = add_array(&a, DT_F32, part->heads, part->heads).data;
        }
        check(&a, do_heads, twin_heads, &h, 1e-2 * (e == DT_BF16) + 1e-5, false);
        for (int p = 0; p < 2; p++) {
            check_padding(h.part[p].to, h.part[p].heads * dim);
            if (h.part[p].to.data == h.part[p].x.data)
                h.part[p].to = e == h.part[p].g.type ? h.part[p].g : add_array(&a, e, h.part[p].heads * dim, h.part[p].heads * dim);
        }
        check(&a, do_heads_backward, twin_heads_backward, &h, 1e-2 * (e == DT_BF16) + 1e-5, false);
        rope_table_free(&table);
        mem_free(a.data);
    }
}

static void test_gated(void **state)
{
    (void)state;
    for (int form = 0; form < 12; form++) {
        const int64_t n = WIDTHS[form % 3];
        const enum dtype e = TYPES[form / 6];
        struct arrays a = arrays_new();
        struct gated g = {.T = T, .n = n, .act = form / 3 % 2 ? ACT_GELU_TANH : ACT_SILU};
        g.gate = add_array(&a, e, n, 96), g.up = add_array(&a, e, n, 96), g.h = add_array(&a, e, n, 96);
        g.dh = g.h, g.dgate = g.gate, g.dup = g.up;
        check(&a, do_gated, twin_gated, &g, 1e-6, true);
        check_padding(g.h, n);
        check(&a, do_gated_backward, twin_gated_backward, &g, 1e-6, true);
        check_padding(g.dgate, n), check_padding(g.dup, n), check_padding(g.h, n);
        mem_free(a.data);
    }
}

/* The small ones, with their twins here. */
struct small {
    struct rows y, g;
    float *gain, *bias, *dgain, *sums, *dw, *rstd;
    int64_t n;
};
static void do_small(const struct compute *c, const void *args)
{
    const struct small *s = args;
    rows_scale(c, s->y, s->y, 0.5f, T, s->n);
    rows_affine(c, s->y, s->gain, s->bias, T, s->n);
    rows_sum(c, s->sums, s->y, T, s->n);
    rows_affine_backward(c, s->dgain, s->g, s->y, s->bias, s->gain, s->gain, T, s->n);
    norm_weights_backward(c, s->dw, s->g, s->y, s->rstd, T, 1, s->n);
}
static double at(struct rows r, int64_t t, int64_t i) { return value(r, r.data, r.data, t, i); }
static void set(struct rows r, int64_t t, int64_t i, double v)
{
    if (r.type == DT_BF16)
        ((uint16_t *)r.data)[t * r.ld + i] = f32_to_bf16((float)v);
    else
        ((float *)r.data)[t * r.ld + i] = (float)v;
}
static void twin_small(const void *args)
{
    const struct small *s = args;
    for (int64_t i = 0; i < s->n; i++) {
        double sum = s->sums[i], dgain = 0, dw = s->dw[i];
        for (int64_t t = 0; t < T; t++) {
            set(s->y, t, i, at(s->y, t, i) * 0.5);
            set(s->y, t, i, at(s->y, t, i) * (double)s->gain[i] + (double)s->bias[i]);
            sum += at(s->y, t, i);
            dgain += at(s->g, t, i) * (at(s->y, t, i) - (double)s->bias[i]);
            set(s->g, t, i, at(s->g, t, i) * (double)s->gain[i]);
            dw += at(s->g, t, i) * at(s->y, t, i) * (double)s->rstd[t];
        }
        s->sums[i] = (float)sum;
        s->dgain[i] += (float)(dgain / (double)s->gain[i]);
        s->dw[i] = (float)dw;
    }
}

static void test_small(void **state)
{
    (void)state;
    for (int form = 0; form < 6; form++) {
        struct arrays a = arrays_new();
        const enum dtype e = TYPES[form / 3];
        struct small s = {.n = WIDTHS[form % 3]};
        s.y = add_array(&a, e, s.n, 96), s.g = add_array(&a, e, s.n, s.n);
        s.gain = add_array(&a, DT_F32, s.n, s.n).data, s.bias = add_array(&a, DT_F32, s.n, s.n).data;
        s.dgain = add_array(&a, DT_F32, s.n, s.n).data, s.sums = add_array(&a, DT_F32, s.n, s.n).data;
        s.dw = add_array(&a, DT_F32, s.n, s.n).data, s.rstd = add_array(&a, DT_F32, 1, 1).data;
        check(&a, do_small, twin_small, &s, e == DT_BF16 ? 0.3 : 1e-3, false);
        rows_pad(s.y, T, s.n);
        check_padding(s.y, s.n);
        mem_free(a.data);
    }
}

struct dropped {
    struct rows x, y;
    int64_t n;
    struct drop d;
    bool add;
};
/* Added: from the bits that drawing left, as on the way back. */
static void do_drop(const struct compute *c, const void *args)
{
    const struct dropped *a = args;
    struct drop d = a->d;
    struct rows scratch = a->y;
    d.kept = mem_new((size_t)(T * drop_words(a->n)), sizeof *d.kept);
    d.draw = true;
    if (a->add)
        scratch.data = mem_new((size_t)(T * scratch.ld), sizeof(float));
    rows_drop(c, scratch, a->x, T, a->n, &d, false);
    d.draw = false;
    if (a->add) {
        rows_drop(c, a->y, a->x, T, a->n, &d, true);
        mem_free(scratch.data);
    }
    mem_free(d.kept);
}
static void twin_drop(const void *args)
{
    const struct dropped *a = args;
    for (int64_t e = 0; e < T * a->n; e++) {
        const uint64_t number = (uint64_t)e / 4;
        const uint32_t counter[4] = {(uint32_t)number, (uint32_t)(number >> 32) ^ a->d.slice, a->d.stream[0], a->d.stream[1]};
        uint32_t out[4];
        rng_philox(counter, a->d.key, out);
        const int64_t t = e / a->n, i = e % a->n;
        const double v = out[e % 4] >= a->d.least ? at(a->x, t, i) * (double)a->d.scale : 0;
        set(a->y, t, i, a->add ? at(a->y, t, i) + v : v);
    }
}

static void test_drop(void **state)
{
    (void)state;
    for (int form = 0; form < 24; form++) {
        static const int64_t widths[] = {32, 65, 91, 300};
        struct arrays a = arrays_new();
        struct dropped d = {.n = widths[form % 4], .add = form / 4 % 2,
                            .d = {.key = {7, 0x9e3779b9u}, .stream = {3, 0x80000000u}, .slice = (uint32_t)form * 1000, .least = 1u << 31, .scale = 2}};
        d.x = add_array(&a, TYPES[form / 8 % 2], d.n, d.n), d.y = add_array(&a, TYPES[form / 16], d.n, LD_MOST);
        check(&a, do_drop, twin_drop, &d, 1e-6, false);
        if (!d.add)
            check_padding(d.y, d.n);
        mem_free(a.data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_residual), cmocka_unit_test(test_residual_backward),
                                       cmocka_unit_test(test_heads), cmocka_unit_test(test_gated), cmocka_unit_test(test_small), cmocka_unit_test(test_drop)};
    return cmocka_run_group_tests(tests, start_pools, stop_pools);
}
