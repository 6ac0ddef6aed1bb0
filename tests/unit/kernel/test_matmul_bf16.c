/* Activations in bf16: the bits of every product are those of the same values given as f32, and a bf16 output is the f32 output rounded
 * once; for every family, every way to lay rows out, 1, 2 and 4 threads. */
#include "tests/unit/kernel/kernel_test.h"

#include "engine/kernel/matmul.h"

enum layout { CLOSE, PADDED, PART_OF_WIDER, LAYOUTS };
enum { GAP = 3, WIDER = 32 };
static const uint16_t UNTOUCHED = 0x4b4b, NOT_A_NUMBER = 0x7fc0;

/* Rows of bf16 in one of the layouts; `owned` is to be freed. */
struct rows {
    uint16_t *owned, *at;
    int64_t ld;
};

static struct rows rows_of(const float *x, int64_t T, int64_t n, enum layout layout)
{
    int64_t ld = layout == CLOSE ? n + GAP : matmul_stride(n) + (layout == PART_OF_WIDER ? WIDER : 0);
    int64_t rows = layout == CLOSE ? T : matmul_rows(T);
    struct rows r = {.owned = mem_new((size_t)(rows * ld), sizeof(uint16_t)), .ld = ld};
    r.at = r.owned + (layout == PART_OF_WIDER ? WIDER : 0);
    for (int64_t t = 0; t < rows; t++) {
        for (int64_t i = 0; i < (layout == CLOSE ? ld : n); i++)
            r.at[t * ld + i] = t < T && i < n ? f32_to_bf16(x[t * n + i]) : NOT_A_NUMBER;
    }
    return r;
}

static void expect_same(const char *what, const struct compute *c, const float *got, const float *expected, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (memcmp(&got[i], &expected[i], sizeof *got) != 0)
            fail_msg("%s, %s: element %d is %.9g, expected %.9g", what, family_name(c->family), (int)i, (double)got[i], (double)expected[i]);
    }
}

static void expect_rounded(const char *what, const struct compute *c, const struct rows *y, const float *expected, int64_t T, int64_t n)
{
    for (int64_t t = 0; t < T; t++) {
        for (int64_t i = 0; i < y->ld; i++) {
            uint16_t right = i < n ? f32_to_bf16(expected[t * n + i]) : UNTOUCHED;
            if (y->owned[t * y->ld + i] != right)
                fail_msg("%s, %s: row %d column %d of %d is %04x, expected %04x", what, family_name(c->family), (int)t, (int)i, (int)n,
                         y->owned[t * y->ld + i], right);
        }
    }
}

static struct rows output_rows(int64_t T, int64_t n)
{
    struct rows y = {.owned = mem_new((size_t)(T * (n + GAP)), sizeof(uint16_t)), .ld = n + GAP};
    for (int64_t i = 0; i < T * y.ld; i++)
        y.owned[i] = UNTOUCHED;
    y.at = y.owned;
    return y;
}

/* Two outputs of two terms each, an adapter beside its weight: all f32, then every mixture of bf16. */
static void joined(struct compute *c, int64_t T, int64_t wide, bool nn)
{
    enum { THIN = 16, OUTPUTS = 2 };
    static const int64_t outs[OUTPUTS] = {96, 165};
    float *x[2] = {test_floats((size_t)(T * wide), 2), test_floats((size_t)(T * THIN), 3)}, *y[OUTPUTS];
    int64_t depth[2] = {wide, THIN};
    round_floats(x[0], (size_t)(T * wide)), round_floats(x[1], (size_t)(T * THIN));
    void *owned[OUTPUTS][2];
    struct mat w[OUTPUTS][2];
    struct matmul_output o[OUTPUTS];
    for (int k = 0; k < OUTPUTS; k++) {
        y[k] = mem_new((size_t)(T * outs[k]), sizeof(float));
        o[k] = (struct matmul_output){.y = y[k], .ldy = outs[k], .n_terms = 2};
        for (int i = 0; i < 2; i++) {
            enum dtype type = i ? DT_F32 : DT_BF16;
            w[k][i] = nn ? test_matrix(type, depth[i], outs[k], 0, 5 + (unsigned)i, &owned[k][i])
                         : test_matrix(type, outs[k], depth[i], 0, 5 + (unsigned)i, &owned[k][i]);
            o[k].terms[i] = (struct matmul_term){.a = x[i], .lda = depth[i], .w = &w[k][i]};
        }
    }
    void (*product)(const struct compute *, const struct matmul_output *, int, int64_t) = nn ? matmul_nn_joined : matmul_nt_joined;
    product(c, o, OUTPUTS, T);
    char what[100];
    for (int layout = 0; layout < LAYOUTS; layout++) {
        for (int mixture = 0; mixture < 4; mixture++) { /* bit 0: y[1] is bf16; bit 1: the thin term stays f32 */
            snprintf(what, sizeof what, "%s T %d depth %d layout %d mixture %d", nn ? "nn" : "nt", (int)T, (int)wide, layout, mixture);
            struct rows a[2] = {rows_of(x[0], T, wide, (enum layout)layout), rows_of(x[1], T, THIN, (enum layout)layout)};
            struct rows rounded = output_rows(T, outs[1]);
            float *again[OUTPUTS];
            struct matmul_output m[OUTPUTS] = {o[0], o[1]};
            for (int k = 0; k < OUTPUTS; k++) {
                m[k].y = again[k] = mem_new((size_t)(T * outs[k]), sizeof(float));
                for (int i = 0; i < (mixture & 2 ? 1 : 2); i++)
                    m[k].terms[i].a = a[i].at, m[k].terms[i].lda = a[i].ld, m[k].terms[i].a_type = DT_BF16;
            }
            if (mixture & 1)
                m[1].y = rounded.at, m[1].ldy = rounded.ld, m[1].y_type = DT_BF16;
            product(c, m, OUTPUTS, T);
            expect_same(what, c, again[0], y[0], T * outs[0]);
            if (mixture & 1)
                expect_rounded(what, c, &rounded, y[1], T, outs[1]);
            else
                expect_same(what, c, again[1], y[1], T * outs[1]);
            for (int k = 0; k < 2; k++)
                mem_free(a[k].owned), mem_free(again[k]);
            mem_free(rounded.owned);
        }
    }
    for (int k = 0; k < OUTPUTS; k++)
        mem_free(y[k]), mem_free(x[k]), mem_free(owned[k][0]), mem_free(owned[k][1]);
}

static void to_weights(struct compute *c, int64_t m, int64_t n, int64_t T)
{
    float *a = test_floats((size_t)(T * m), 3), *b = test_floats((size_t)(T * n), 5), *right = test_floats((size_t)(m * n), 7),
          *got = mem_new((size_t)(m * n), sizeof *got);
    round_floats(a, (size_t)(T * m)), round_floats(b, (size_t)(T * n));
    matmul_tn(c, right, n, a, m, m, b, n, n, T, 0.5f, true);
    for (int layout = 0; layout < LAYOUTS; layout++) {
        struct rows ra = rows_of(a, T, m, (enum layout)layout), rb = rows_of(b, T, n, (enum layout)layout);
        for (int mixture = 1; mixture < 4; mixture++) {
            bool left = mixture & 1, second = mixture & 2;
            float *fresh = test_floats((size_t)(m * n), 7);
            memcpy(got, fresh, (size_t)(m * n) * sizeof *got);
            const struct matmul_gradient gradient = {.dw = got, .lddw = n, .a = left ? (void *)ra.at : a, .a_type = left ? DT_BF16 : DT_F32,
                                                     .lda = left ? ra.ld : m, .m = m, .b = second ? (void *)rb.at : b,
                                                     .b_type = second ? DT_BF16 : DT_F32, .ldb = second ? rb.ld : n, .n = n, .scale = 0.5f};
            matmul_tn_joined(c, &gradient, 1, T, true);
            char what[100];
            snprintf(what, sizeof what, "tn %d x %d T %d layout %d mixture %d", (int)m, (int)n, (int)T, layout, mixture);
            if (m * n >= 4096 && T >= 16) {
                expect_same(what, c, got, right, m * n);
            } else { /* small ones of f32 go another way */
                for (int64_t i = 0; i < m * n; i++)
                    assert_true(fabsf(got[i] - right[i]) <= 1e-5f * (1 + fabsf(right[i])));
            }
            mem_free(fresh);
        }
        mem_free(ra.owned), mem_free(rb.owned);
    }
    mem_free(a), mem_free(b), mem_free(right), mem_free(got);
}

/* What an adapter of two modules on one input wants, in one go: against the plain twin, and the same bits for any number of threads. */
static void adapters(struct compute *c)
{
    enum { IN = 200, OUT = 130, N = 5 };
    static float *first[FAMILY_COUNT][3][N];
    static const struct { int64_t T; int rank; } sizes[] = {{70, 16}, {1100, 8}, {33, 40}};
    for (size_t z = 0; z < sizeof sizes / sizeof *sizes; z++) {
        const int64_t T = sizes[z].T, r = sizes[z].rank;
        float *x = test_floats((size_t)(T * IN), 1), *dz[2], *g[2], *u[2];
        round_floats(x, (size_t)(T * IN));
        struct matmul_gradient list[N];
        for (int i = 0; i < 2; i++) {
            dz[i] = test_floats((size_t)(T * r), 2 + (unsigned)i), u[i] = test_floats((size_t)(T * r), 4 + (unsigned)i);
            g[i] = test_floats((size_t)(T * OUT), 6 + (unsigned)i);
            round_floats(dz[i], (size_t)(T * r)), round_floats(u[i], (size_t)(T * r)), round_floats(g[i], (size_t)(T * OUT));
            list[2 * i] = (struct matmul_gradient){.a = dz[i], .lda = r, .m = r, .b = x, .ldb = IN, .n = IN};
            list[2 * i + 1] = (struct matmul_gradient){.a = g[i], .lda = OUT, .m = OUT, .b = u[i], .ldb = r, .n = r};
        }
        list[4] = (struct matmul_gradient){.a = x, .lda = IN, .m = IN, .b = g[0], .ldb = OUT, .n = OUT}; /* both sides wide */
        struct rows x_rows = rows_of(x, T, IN, PADDED), u_rows = rows_of(u[0], T, r, CLOSE);
        list[2].b = x_rows.at, list[2].ldb = x_rows.ld, list[2].b_type = DT_BF16;
        list[1].b = u_rows.at, list[1].ldb = u_rows.ld, list[1].b_type = DT_BF16;
        for (int i = 0; i < N; i++) {
            struct matmul_gradient *m = &list[i];
            m->scale = 0.3f, m->lddw = m->n + 1;
            m->dw = test_floats((size_t)(m->m * m->lddw), 9);
        }
        list[4].scale = 0.5f; /* rounded with its operand */
        matmul_tn_joined(c, list, N, T, true);
        for (int i = 0; i < N; i++) {
            const struct matmul_gradient *m = &list[i];
            const float *a = m->a, *b = i == 2 ? x : i == 1 ? u[0] : m->b;
            const size_t n = (size_t)(m->m * m->lddw);
            float *expected = test_floats(n, 9);
            plain_matmul_tn(expected, m->lddw, a, m->m, m->m, b, m->n, m->n, T, m->scale, true);
            for (size_t k = 0; k < n; k++)
                if (!(fabsf(m->dw[k] - expected[k]) <= 1e-6f * (float)T * (1 + fabsf(expected[k]))))
                    fail_msg("gradient %d, %s, T %d: element %d is %.9g, expected %.9g", i, family_name(c->family), (int)T, (int)k,
                             (double)m->dw[k], (double)expected[k]);
            mem_free(expected);
            float **one = &first[c->family][z][i];
            if (!*one) {
                *one = m->dw;
                continue;
            }
            assert_memory_equal(*one, m->dw, n * sizeof(float));
            mem_free(m->dw);
            if (pool_threads(c->pool) == 4)
                mem_free(*one);
        }
        mem_free(x), mem_free(x_rows.owned), mem_free(u_rows.owned);
        for (int i = 0; i < 2; i++)
            mem_free(dz[i]), mem_free(g[i]), mem_free(u[i]);
    }
}

static void with_every_family(void (*check)(struct compute *c))
{
    struct gm_error err;
    for (int f = FAMILY_AUTO + 1; f < FAMILY_COUNT; f++) {
        for (int threads = 1; threads <= 4 && family_runs_here((enum family)f); threads *= 2) {
            struct pool *pool = pool_new(threads, &err);
            struct compute c;
            assert_true(compute_init(&c, pool, GM_TRAIN, GM_COMPUTE_BF16, (enum family)f, &err));
            check(&c);
            compute_free(&c);
            pool_free(pool);
        }
    }
}

static void check_joined(struct compute *c)
{
    static const int64_t rows[] = {1, 4, 5, 33, 130};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        for (int nn = 0; nn < 2; nn++) {
            joined(c, rows[r], 96, nn);
            joined(c, rows[r], 1312, nn);
            joined(c, rows[r], 47, nn);
        }
    }
}
static void check_to_weights(struct compute *c)
{
    static const int64_t sizes[][3] = {{16, 576, 130}, {300, 16, 70}, {4, 100, 33}, {200, 130, 1}, {97, 288, 600}, {48, 640, 512}};
    for (size_t z = 0; z < sizeof sizes / sizeof *sizes; z++)
        to_weights(c, sizes[z][0], sizes[z][1], sizes[z][2]);
}

static void joined_products(void **state)
{
    with_every_family(check_joined);
}
static void gradients(void **state)
{
    with_every_family(check_to_weights);
}

static void gradients_of_adapters(void **state)
{
    with_every_family(adapters);
}

/* Products of few columns in all: outputs of one input side by side, the same bits as one by one, rounded or not. */
static void thin(struct compute *c)
{
    enum { IN = 1300, N = 4 };
    static const int64_t ranks[N] = {16, 5, 32, 16};
    for (int64_t T = 5; T < 200; T += 92) {
        float *x = test_floats((size_t)(T * IN), 1), *single[N], *joined[N];
        void *owned[N];
        struct mat w[N];
        struct rows rounded = output_rows(T, ranks[1]);
        struct matmul_output o[N];
        for (int i = 0; i < N; i++) {
            w[i] = test_matrix(i == 2 ? DT_BF16 : DT_F32, ranks[i], IN, 0, 20 + (unsigned)i, &owned[i]);
            single[i] = test_floats((size_t)(T * ranks[i]), 3), joined[i] = test_floats((size_t)(T * ranks[i]), 3);
            o[i] = (struct matmul_output){.y = joined[i], .ldy = ranks[i], .accumulate = i == 3, .n_terms = 1,
                                          .terms = {{.a = x, .lda = IN, .w = &w[i]}}};
            matmul_nt(c, single[i], ranks[i], x, IN, T, &w[i], i == 3);
        }
        matmul_nt_joined(c, o, N, T);
        for (int i = 0; i < N; i++)
            expect_same("thin", c, joined[i], single[i], T * ranks[i]);
        o[1].y = rounded.at, o[1].ldy = rounded.ld, o[1].y_type = DT_BF16, o[3].accumulate = false;
        matmul_nt_joined(c, o, N, T);
        expect_rounded("thin", c, &rounded, single[1], T, ranks[1]);
        for (int i = 0; i < N; i++)
            mem_free(single[i]), mem_free(joined[i]), mem_free(owned[i]);
        mem_free(x), mem_free(rounded.owned);
    }
}
static void thin_products(void **state)
{
    with_every_family(thin);
}

static void strides_fit(void **state)
{
    for (int64_t depth = 1; depth < 5000; depth++) {
        int64_t ld = matmul_stride(depth);
        assert_true(ld >= depth && ld % 32 == 0 && ld / 32 % 2 == 1 && ld < depth + 96);
    }
    assert_int_equal(matmul_rows(1), 32);
    assert_int_equal(matmul_rows(64), 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strides_fit),
        cmocka_unit_test(joined_products),
        cmocka_unit_test(gradients),
        cmocka_unit_test(gradients_of_adapters),
        cmocka_unit_test(thin_products),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
