/* The three products: every family that runs here, and F32 mode, against the plain twins; the same
 * bits for 1, 2 and 4 threads. */
#include "tests/unit/kernel/kernel_test.h"

#include "engine/kernel/matmul.h"

static const enum dtype types[] = {DT_F32,  DT_F16,  DT_BF16,   DT_Q4_0, DT_Q4_1, DT_Q5_0,
                                   DT_Q5_1, DT_Q8_0, DT_IQ4_NL, DT_MLX3, DT_MLX4, DT_MLX8};

struct setting {
    enum compute_mode mode;
    enum family family;
};

static int settings(struct setting out[FAMILY_COUNT + 1])
{
    int n = 0;
    out[n++] = (struct setting){GM_COMPUTE_F32, FAMILY_PLAIN};
    for (int f = FAMILY_AUTO + 1; f < FAMILY_COUNT; f++) {
        if (family_runs_here((enum family)f))
            out[n++] = (struct setting){GM_COMPUTE_BF16, (enum family)f};
    }
    return n;
}

static void check(const char *what, const struct setting *s, const float *got,
                  const float *expected, int64_t n, int64_t depth)
{
    double tolerance = 4e-7 * (double)(depth + 8); /* f32 sums of products of size at most ~1 */
    for (int64_t i = 0; i < n; i++) {
        if (!(fabs((double)got[i] - expected[i]) <= tolerance * (1 + fabs(expected[i]))))
            fail_msg("%s, %s %s: element %d of %d is %.8g, expected %.8g (depth %d)", what,
                     compute_mode_name(s->mode), family_name(s->family), (int)i, (int)n, got[i],
                     expected[i], (int)depth);
    }
}

/* Everything about one product: shapes, strides (row length + gap), storage, accumulation. */
struct shape {
    int64_t T, out, in;
    int gap;
    size_t row_gap;
    bool accumulate;
};

static float *padded(int64_t rows, int64_t ld, uint64_t seed)
{
    return test_floats((size_t)(rows * ld), seed);
}

static void product(struct pool *pool, const struct setting *s, const struct shape *h,
                    enum dtype type, bool nn)
{
    struct compute c;
    struct gm_error err;
    assert_true(compute_init(&c, pool, GM_TRAIN, s->mode, s->family, &err));
    void *owned;
    float *rounded = NULL;
    struct mat w = test_matrix(type, h->out, h->in, h->row_gap, 7, &owned), seen = w;
    int64_t from = nn ? h->out : h->in, to = nn ? h->in : h->out, ldx = from + h->gap,
            ldy = to + h->gap;
    float *x = padded(h->T, ldx, 11), *y = padded(h->T, ldy, 13), *expected = padded(h->T, ldy, 13),
          *x_seen = padded(h->T, ldx, 11);
    if (s->mode == GM_COMPUTE_BF16) {
        seen = test_rounded(&w, &rounded);
        round_floats(x_seen, (size_t)(h->T * ldx));
    }
    (nn ? matmul_nn : matmul_nt)(&c, y, ldy, x, ldx, h->T, &w, h->accumulate);
    (nn ? plain_matmul_nn : plain_matmul_nt)(expected, ldy, x_seen, ldx, h->T, &seen,
                                             h->accumulate);
    char what[100];
    snprintf(what, sizeof what, "%s %s T %d out %d in %d gap %d%s", nn ? "nn" : "nt",
             dtype_name(type), (int)h->T, (int)h->out, (int)h->in, h->gap,
             h->accumulate ? " +=" : "");
    check(what, s, y, expected, h->T * ldy, from); /* the gaps must be untouched, too */
    mem_free(owned), mem_free(rounded), mem_free(x), mem_free(y), mem_free(expected),
        mem_free(x_seen);
    compute_free(&c);
}

static void against_plain(bool nn)
{
    struct gm_error err;
    struct pool *pool = pool_new(2, &err);
    assert_non_null(pool);
    struct setting list[FAMILY_COUNT + 1];
    int n = settings(list);
    static const int64_t rows[] = {1, 2, 3, 4, 7, 9, 33, 130};
    static const struct {
        int64_t out, in;
    } sizes[] = {{1, 32}, {16, 64}, {70, 32}, {129, 96}, {64, 544}, {33, 1088}};
    for (int i = 0; i < n; i++) {
        for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
            for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
                for (size_t z = 0; z < sizeof sizes / sizeof *sizes; z++) {
                    struct shape h = {.T = rows[r],
                                      .out = sizes[z].out,
                                      .in = sizes[z].in,
                                      .gap = (int)(r + z) % 3,
                                      .accumulate = (r + z) % 2};
                    if (types[t] != DT_F32 || z % 2)
                        h.row_gap = z % 3 == 1 ? 3 : 0; /* rows at odd addresses */
                    product(pool, &list[i], &h, types[t], nn);
                }
            }
        }
        static const int64_t odd[] = {1,  5,  17,
                                      31, 47, 515}; /* only element types have such lengths */
        for (size_t z = 0; z < sizeof odd / sizeof *odd; z++) {
            for (int t = 0; t < 3; t++) {
                struct shape h = {
                    .T = z % 2 ? 3 : 40, .out = odd[5 - z] % 100 + 1, .in = odd[z], .gap = 1};
                product(pool, &list[i], &h, types[t], nn);
                h.T = z % 2 ? 34 : 8;
                product(pool, &list[i], &h, types[t], nn);
            }
        }
    }
    pool_free(pool);
}

/* Blocks of 256: the cuts of rows, columns and sums must begin at their borders; MLX: groups of 128, in which a cut may fall. */
static void wide_blocks_against_plain(void **state)
{
    static const enum dtype wide[] = {DT_Q2_K, DT_Q3_K, DT_Q4_K, DT_Q5_K, DT_Q6_K, DT_IQ4_XS, DT_MXFP4,
                                      DT_MLX2, DT_MLX3, DT_MLX4, DT_MLX5, DT_MLX6, DT_MLX8, DT_MLX_FP4};
    enum { WIDE = sizeof wide / sizeof *wide };
    struct gm_error err;
    struct pool *pool = pool_new(2, &err);
    struct setting list[FAMILY_COUNT + 1];
    int n = settings(list);
    for (int i = 0; i < n; i++) {
        for (int t = 0; t < WIDE; t++) {
            for (int T = 2; T <= 40; T += 38) {
                struct shape h = {.T = T, .out = 70, .in = 1280, .accumulate = t % 2};
                product(pool, &list[i], &h, wide[t], false);
                product(pool, &list[i], &h, wide[t], true);
            }
        }
    }
    pool_free(pool);
}

/* A product with rows of the identity gives back the stored values, rounded once in BF16 mode: whatever way a family expands them,
 * the bits are those of the plain expansion. */
static void expand_exactly(struct pool *pool, const struct setting *s, enum dtype type, int64_t in)
{
    enum { OUT = 40, FEW = 3 };
    struct compute c;
    struct gm_error err;
    assert_true(compute_init(&c, pool, GM_TRAIN, s->mode, s->family, &err));
    void *owned;
    float *stored;
    struct mat w = test_matrix(type, OUT, in, 0, 17, &owned);
    test_rounded(&w, &stored);
    float *one = mem_new((size_t)(in * in), sizeof *one), *y = mem_new((size_t)(in * OUT), sizeof *y);
    for (int64_t r = 0; r < OUT && s->mode == GM_COMPUTE_F32; r++)
        mat_row_to_f32(&w, r, stored + r * in);
    for (int64_t i = 0; i < in; i++)
        one[i * in + i] = 1;
    for (int way = 0; way < 3; way++) { /* packed nt, few rows, packed nn */
        int64_t rows = way == 0 ? in : way == 1 ? FEW : OUT, first = way == 1 ? in - 40 : 0;
        if (way == 2)
            matmul_nn(&c, y, in, one, in, rows, &w, false); /* the first OUT columns of the identity's rows */
        else
            matmul_nt(&c, y, OUT, one + first * in, in, rows, &w, false);
        for (int64_t r = 0; r < rows; r++) {
            for (int64_t k = 0; k < (way == 2 ? in : OUT); k++) {
                float got = way == 2 ? y[r * in + k] : y[r * OUT + k],
                      expected = way == 2 ? stored[r * in + k] : stored[k * in + first + r];
                if (!(got == expected))
                    fail_msg("%s %s %s %d wide, way %d: row %d column %d is %.9g, expected %.9g", compute_mode_name(s->mode),
                             family_name(s->family), dtype_name(type), (int)in, way, (int)r, (int)k, (double)got, (double)expected);
            }
        }
    }
    mem_free(owned), mem_free(stored), mem_free(one), mem_free(y);
    compute_free(&c);
}

static void every_family_expands_alike(void **state)
{
    static const int64_t widths[] = {1280, 1216, 1184}; /* MLX groups of 128, 64, 32; stretches that end inside them */
    struct gm_error err;
    struct pool *pool = pool_new(2, &err);
    struct setting list[FAMILY_COUNT + 1];
    int n = settings(list);
    for (int i = 0; i < n; i++)
        for (int t = 0; t < DT_COUNT; t++)
            for (int k = 0; k < 3; k++)
                if ((dtype_is_weight((enum dtype)t) || dtype_is_mlx((enum dtype)t)) && widths[k] % dtype_block((enum dtype)t) == 0)
                    expand_exactly(pool, &list[i], (enum dtype)t, widths[k]);
    pool_free(pool);
}

/* Few rows: the bits of the same values stored as bf16, rounded once; so the sums have one order, whatever is expanded on the way to them. */
static void few_rows_as_of_bf16(struct pool *pool, const struct setting *s, enum dtype type, int64_t in)
{
    enum { OUT = 43, MOST = 4 };
    struct compute c;
    struct gm_error err;
    assert_true(compute_init(&c, pool, GM_TRAIN, s->mode, s->family, &err));
    void *owned;
    float *stored, *x = test_floats((size_t)(MOST * in), 3), y[MOST * OUT], expected[MOST * OUT];
    struct mat w = test_matrix(type, OUT, in, 0, 23, &owned);
    test_rounded(&w, &stored);
    uint16_t *words = mem_new((size_t)(OUT * in), sizeof *words);
    for (int64_t i = 0; i < OUT * in; i++)
        words[i] = f32_to_bf16(stored[i]);
    const struct mat same = {.data = words, .type = DT_BF16, .rows = OUT, .cols = in, .row_bytes = (size_t)in * sizeof *words};
    for (int64_t T = 1; T <= MOST; T++) {
        matmul_nt(&c, y, OUT, x, in, T, &w, false);
        matmul_nt(&c, expected, OUT, x, in, T, &same, false);
        for (int64_t i = 0; i < T * OUT; i++)
            if (memcmp(&y[i], &expected[i], sizeof *y) != 0)
                fail_msg("%s %s %d wide, %d rows: element %d is %.9g, expected %.9g", family_name(s->family), dtype_name(type), (int)in, (int)T,
                         (int)i, (double)y[i], (double)expected[i]);
    }
    mem_free(owned), mem_free(stored), mem_free(words), mem_free(x);
    compute_free(&c);
}

static void few_rows_have_the_bits_of_bf16(void **state)
{
    static const int64_t widths[] = {1280, 1216, 1184, 100}; /* as above; and elements that fill no block */
    struct gm_error err;
    struct pool *pool = pool_new(2, &err);
    struct setting list[FAMILY_COUNT + 1];
    int n = settings(list);
    for (int i = 0; i < n; i++)
        for (int t = 0; t < DT_COUNT; t++)
            for (int k = 0; k < 4; k++)
                if (list[i].mode == GM_COMPUTE_BF16 && (dtype_is_weight((enum dtype)t) || dtype_is_mlx((enum dtype)t)) &&
                    widths[k] % dtype_block((enum dtype)t) == 0)
                    few_rows_as_of_bf16(pool, &list[i], (enum dtype)t, widths[k]);
    pool_free(pool);
}

static void nt_against_plain(void **state)
{
    against_plain(false);
}
static void nn_against_plain(void **state)
{
    against_plain(true);
}

static void tn_against_plain(void **state)
{
    struct gm_error err;
    struct pool *pool = pool_new(2, &err);
    assert_non_null(pool);
    struct setting list[FAMILY_COUNT + 1];
    int n = settings(list);
    static const struct {
        int64_t m, n, T;
    } sizes[] = {{4, 100, 33},  {16, 576, 130}, {300, 8, 7},    {65, 70, 33},
                 {200, 130, 1}, {97, 288, 600}, {300, 100, 31}, {1, 1, 1}};
    for (int i = 0; i < n; i++) {
        for (size_t z = 0; z < sizeof sizes / sizeof *sizes; z++) {
            struct compute c;
            assert_true(compute_init(&c, pool, GM_TRAIN, list[i].mode, list[i].family, &err));
            int64_t M = sizes[z].m, N = sizes[z].n, T = sizes[z].T, lda = M + 3, ldb = N + 1,
                    ldw = N + 2;
            float *a = padded(T, lda, 3), *b = padded(T, ldb, 5), *w = padded(M, ldw, 9),
                  *expected = padded(M, ldw, 9);
            bool accumulate = z % 2;
            matmul_tn(&c, w, ldw, a, lda, M, b, ldb, N, T, 0.5f, accumulate);
            if (list[i].mode == GM_COMPUTE_BF16 && M * N >= 4096 && T >= 16)
                round_floats(a, (size_t)(T * lda)), round_floats(b, (size_t)(T * ldb));
            plain_matmul_tn(expected, ldw, a, lda, M, b, ldb, N, T, 0.5f, accumulate);
            check("tn", &list[i], w, expected, M * ldw, T);
            mem_free(a), mem_free(b), mem_free(w), mem_free(expected);
            compute_free(&c);
        }
    }
    pool_free(pool);
}

static void multi_equals_single(void **state)
{
    struct gm_error err;
    struct pool *pool = pool_new(2, &err);
    struct setting list[FAMILY_COUNT + 1];
    int n = settings(list);
    static const int64_t rows[] = {1, 8, 9, 65};
    for (int i = 0; i < n; i++) {
        for (int r = 0; r < 4; r++) {
            struct compute c;
            assert_true(compute_init(&c, pool, GM_TASTE, list[i].mode, list[i].family, &err));
            int64_t T = rows[r], in = 96, outs[3] = {70, 16, 129};
            void *owned[3];
            struct mat w[3];
            float *y[3], *single[3], *x = padded(T, in, 2);
            for (int k = 0; k < 3; k++) {
                w[k] = test_matrix(k == 1 ? DT_Q8_0 : k ? DT_MLX4 : DT_Q4_1, outs[k], in, 0, 20 + (unsigned)k,
                                   &owned[k]);
                y[k] = padded(T, outs[k], 1), single[k] = padded(T, outs[k], 1);
                matmul_nt(&c, single[k], outs[k], x, in, T, &w[k], false);
            }
            struct matmul_output all[3];
            for (int k = 0; k < 3; k++)
                all[k] = (struct matmul_output){.y = y[k], .ldy = outs[k], .n_terms = 1, .terms = {{.a = x, .lda = in, .w = &w[k]}}};
            matmul_nt_joined(&c, all, 3, T);
            for (int k = 0; k < 3; k++) {
                assert_memory_equal(y[k], single[k], (size_t)(T * outs[k]) * sizeof(float));
                mem_free(y[k]), mem_free(single[k]), mem_free(owned[k]);
            }
            mem_free(x);
            compute_free(&c);
        }
    }
    pool_free(pool);
}

/* Sums of terms, several outputs at once, against the same products one after another. */
static void joined_equals_separate(void **state)
{
    struct gm_error err;
    struct pool *pool = pool_new(2, &err);
    struct setting list[FAMILY_COUNT + 1];
    int n = settings(list);
    static const int64_t rows[] = {1, 3, 70, 300};
    for (int i = 0; i < n; i++) {
        for (int r = 0; r < 8; r++) {
            bool nn = r % 2;
            int64_t T = rows[r / 2], wide = 704, thin = 16, outs[2] = {96, 160};
            struct compute c;
            assert_true(compute_init(&c, pool, GM_TRAIN, list[i].mode, list[i].family, &err));
            float *x = padded(T, wide, 2), *z = padded(T, thin, 3), *y[2], *separate[2];
            void *owned[2][2];
            struct mat w[2][2];
            struct matmul_output o[2];
            for (int k = 0; k < 2; k++) {
                enum dtype type = k ? (r < 4 ? DT_Q4_1 : DT_MLX8) : DT_BF16;
                w[k][0] = nn ? test_matrix(type, wide, outs[k], 0, 5, &owned[k][0])
                             : test_matrix(type, outs[k], wide, 0, 5, &owned[k][0]);
                w[k][1] = nn ? test_matrix(DT_F32, thin, outs[k], 0, 6, &owned[k][1])
                             : test_matrix(DT_F32, outs[k], thin, 0, 6, &owned[k][1]);
                y[k] = padded(T, outs[k], 1), separate[k] = padded(T, outs[k], 1);
                o[k] = (struct matmul_output){.y = y[k],
                                              .ldy = outs[k],
                                              .accumulate = k,
                                              .n_terms = 2,
                                              .terms = {{x, wide, &w[k][0]}, {z, thin, &w[k][1]}}};
                (nn ? matmul_nn : matmul_nt)(&c, separate[k], outs[k], x, wide, T, &w[k][0], k);
                (nn ? matmul_nn : matmul_nt)(&c, separate[k], outs[k], z, thin, T, &w[k][1], true);
            }
            (nn ? matmul_nn_joined : matmul_nt_joined)(&c, o, 2, T);
            for (int k = 0; k < 2; k++) {
                assert_memory_equal(y[k], separate[k], (size_t)(T * outs[k]) * sizeof(float));
                mem_free(y[k]), mem_free(separate[k]), mem_free(owned[k][0]), mem_free(owned[k][1]);
            }
            mem_free(x), mem_free(z);
            compute_free(&c);
        }
    }
    pool_free(pool);
}

static void same_bits(enum dtype type)
{
    enum { T = 150, OUT = 200, IN = 768 };
    struct gm_error err;
    struct setting list[FAMILY_COUNT + 1];
    int n = settings(list);
    void *owned;
    struct mat w = test_matrix(type, OUT, IN, 0, 5, &owned);
    float *x = padded(T, IN, 1), *dy = padded(T, OUT, 2);
    const size_t sizes[4] = {T * OUT, T * IN, OUT * IN, 3 * OUT};
    for (int i = 0; i < n; i++) {
        float *first[4] = {0};
        for (int threads = 1; threads <= 4; threads *= 2) {
            struct pool *pool = pool_new(threads, &err);
            struct compute c;
            assert_true(compute_init(&c, pool, GM_TRAIN, list[i].mode, list[i].family, &err));
            float *got[4];
            for (int k = 0; k < 4; k++)
                got[k] = mem_new(sizes[k], sizeof(float));
            matmul_nt(&c, got[0], OUT, x, IN, T, &w, false);
            matmul_nn(&c, got[1], IN, dy, OUT, T, &w, false);
            matmul_tn(&c, got[2], IN, dy, OUT, OUT, x, IN, IN, T, 1.0f, false);
            matmul_nt(&c, got[3], OUT, x, IN, 3, &w, false);
            for (int k = 0; k < 4; k++) {
                if (threads == 1) {
                    first[k] = got[k];
                } else {
                    assert_memory_equal(got[k], first[k], sizes[k] * sizeof(float));
                    mem_free(got[k]);
                }
            }
            compute_free(&c);
            pool_free(pool);
        }
        for (int k = 0; k < 4; k++)
            mem_free(first[k]);
    }
    mem_free(owned), mem_free(x), mem_free(dy);
}

static void same_bits_for_any_thread_count(void **state)
{
    same_bits(DT_Q4_1);
    same_bits(DT_Q4_K);
    same_bits(DT_MLX4);
}

static void no_rows_is_no_work(void **state)
{
    struct gm_error err;
    struct pool *pool = pool_new(1, &err);
    struct compute c;
    assert_true(compute_init(&c, pool, GM_TRAIN, GM_COMPUTE_BF16, FAMILY_AUTO, &err));
    float y[64 * 2] = {1}, x[64] = {0}, ws[64 * 64] = {0};
    struct mat w = mat_f32(ws, 64, 64);
    matmul_nt(&c, y, 64, x, 64, 0, &w, false);
    matmul_nn(&c, y, 64, x, 64, 0, &w, false);
    assert_true(y[0] == 1);
    matmul_tn(&c, y, 64, x, 64, 2, x, 64, 64, 0, 1.0f, true);
    assert_true(y[0] == 1);
    matmul_tn(&c, y, 64, x, 64, 2, x, 64, 64, 0, 1.0f, false);
    assert_true(y[0] == 0);
    compute_free(&c);
    pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_family_expands_alike),
        cmocka_unit_test(few_rows_have_the_bits_of_bf16),
        cmocka_unit_test(wide_blocks_against_plain),
        cmocka_unit_test(nt_against_plain),
        cmocka_unit_test(nn_against_plain),
        cmocka_unit_test(tn_against_plain),
        cmocka_unit_test(multi_equals_single),
        cmocka_unit_test(no_rows_is_no_work),
        cmocka_unit_test(joined_equals_separate),
        cmocka_unit_test(same_bits_for_any_thread_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
