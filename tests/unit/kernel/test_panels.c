/* Weights that are packed once: products with them give the same bits as those that pack, for any number of rows and threads. */
#include "tests/unit/kernel/kernel_test.h"

#include "engine/kernel/matmul.h"
#include "engine/kernel/panels.h"
#include "tests/unit/kernel/pools.h"

enum { MOST = 150 }; /* rows: more than one block of them */

struct shape {
    int64_t out, in, rank;
    enum dtype type, y_type;
};

/* y = x Wᵀ + u Bᵀ, of T rows. */
static void product(const struct compute *c, const struct shape *s, const struct mat *w, const struct mat *b, const float *x, const float *u,
                    int64_t T, void *y)
{
    struct matmul_output o = {.y = y, .ldy = s->out, .y_type = s->y_type, .n_terms = b ? 2 : 1};
    o.terms[0] = (struct matmul_term){.a = x, .lda = s->in, .w = w};
    o.terms[1] = (struct matmul_term){.a = u, .lda = s->rank, .w = b};
    matmul_nt_joined(c, &o, 1, T);
}

static void compare(enum family family, const struct shape *s)
{
    static const int64_t rows[] = {1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 16, 17, 25, 33, 64, 65, MOST};
    const size_t each = s->y_type == DT_BF16 ? 2 : 4;
    void *owned;
    struct mat w = test_matrix(s->type, s->out, s->in, 0, 3, &owned);
    float *x = test_floats((size_t)(MOST * s->in), 1), *u = test_floats((size_t)(MOST * (s->rank + 1)), 2);
    float *factors = test_floats((size_t)(s->out * (s->rank + 1)), 4);
    struct mat b = mat_f32(factors, s->out, s->rank);
    unsigned char *want = mem_new((size_t)(MOST * s->out), each), *got = mem_new((size_t)(MOST * s->out), each);
    for (int i = 0; i < POOLS; i++) {
        struct compute c;
        struct gm_error err;
        assert_true(compute_init(&c, pools[i], GM_TRAIN, GM_COMPUTE_BF16, family, &err));
        if (panels_help(&c)) {
            struct mat packed = w;
            void *memory = mem_new(panels_bytes(&w), 1);
            struct panels p = panels_pack(&c, &w, memory);
            packed.panels = &p;
            product(&c, s, &w, s->rank ? &b : NULL, x, u, MOST, want);
            for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
                memset(got, 0xff, (size_t)(MOST * s->out) * each);
                product(&c, s, &packed, s->rank ? &b : NULL, x, u, rows[k], got);
                if (memcmp(got, want, (size_t)(rows[k] * s->out) * each) != 0)
                    fail_msg("%s %s, %d x %d rank %d: %d rows on %d threads give other bits", family_name(family), dtype_name(s->type), (int)s->out,
                             (int)s->in, (int)s->rank, (int)rows[k], 1 << i);
                for (size_t at = (size_t)(rows[k] * s->out) * each; at < (size_t)(MOST * s->out) * each; at++)
                    assert_int_equal(got[at], 0xff); /* nothing behind the rows */
            }
            mem_free(memory);
        }
        compute_free(&c);
    }
    mem_free(owned), mem_free(x), mem_free(u), mem_free(factors), mem_free(want), mem_free(got);
}

static void test_same_bits(void **state)
{
    static const struct shape shapes[] = {
        {640, 640, 0, DT_BF16, DT_F32},    {16, 32, 0, DT_BF16, DT_F32},   {100, 1312, 8, DT_BF16, DT_F32}, {37, 70, 4, DT_BF16, DT_F32},
        {257, 2048, 16, DT_BF16, DT_BF16}, {96, 768, 16, DT_Q8_0, DT_F32}, {49, 1536, 0, DT_Q4_1, DT_BF16}, {64, 640, 3, DT_F32, DT_F32},
    };
    for (int f = FAMILY_AUTO + 1; f < FAMILY_COUNT; f++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes && family_runs_here((enum family)f); i++)
            compare((enum family)f, &shapes[i]);
}

/* Products of one input, joined, cut over all their panels together; threads that wait are told what comes next. */
static void test_joined(void **state)
{
    enum { N = 3, IN = 96, ALL = 100 + 16 + 37, ROWS = 5 };
    static const int64_t out[N] = {100, 16, 37};
    float *x = test_floats(ROWS * IN, 1), *want = mem_new(ROWS * ALL, sizeof *want), *got = mem_new(ROWS * ALL, sizeof *got);
    for (int f = FAMILY_AUTO + 1; f < FAMILY_COUNT; f++)
        for (int i = 0; i < POOLS; i++) {
            struct compute c;
            if (!family_runs_here((enum family)f) || !compute_init(&c, pools[i], GM_TASTE, GM_COMPUTE_BF16, (enum family)f, NULL))
                continue;
            struct mat w[N];
            const struct mat *all[N];
            struct panels p[N];
            void *owned[N], *memory[N];
            struct matmul_output plain[N], packed[N];
            float *at = want, *to = got;
            for (int k = 0; k < N && panels_help(&c); k++, at += ROWS * out[k - 1], to += ROWS * out[k - 1]) {
                w[k] = test_matrix(DT_BF16, out[k], IN, 0, k + 3, &owned[k]);
                plain[k] = (struct matmul_output){.y = at, .ldy = out[k], .n_terms = 1, .terms = {{.a = x, .lda = IN, .w = &w[k]}}};
                packed[k] = plain[k];
                packed[k].y = to;
                all[k] = &w[k];
            }
            if (panels_help(&c)) {
                matmul_nt_joined(&c, plain, N, ROWS);
                panels_ahead(&c, all, N, NULL, 0); /* not packed yet: nothing to tell */
                for (int k = 0; k < N; k++) {
                    memory[k] = mem_new(panels_bytes(&w[k]), 1);
                    p[k] = panels_pack(&c, &w[k], memory[k]);
                    w[k].panels = &p[k];
                }
                panels_ahead(&c, all, N, (const struct pool_bytes[]){{x, ROWS * IN * sizeof *x}}, 1);
                matmul_nt_joined(&c, packed, N, ROWS);
                assert_memory_equal(got, want, ROWS * ALL * sizeof *want);
                for (int k = 0; k < N; k++)
                    mem_free(memory[k]), mem_free(owned[k]);
            }
            compute_free(&c);
        }
    mem_free(x), mem_free(want), mem_free(got);
}

/* A view of some rows has no panels: those of the whole would begin elsewhere. */
static void test_views(void **state)
{
    struct panels p = {0};
    float values[64] = {0};
    struct mat m = mat_f32(values, 2, 32);
    m.panels = &p;
    assert_null(mat_rows(&m, 1, 1).panels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_bits), cmocka_unit_test(test_joined), cmocka_unit_test(test_views)};
    return cmocka_run_group_tests(tests, start_pools, stop_pools);
}
