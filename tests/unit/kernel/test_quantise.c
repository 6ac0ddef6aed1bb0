/* Quantisers by the error they leave, and at the edges. Bytes against other programs: tests/unit/format/test_stored.c. */
#include "tests/unit/kernel/kernel_test.h"

#include "engine/kernel/quantise.h"

enum { N = 4096 };

static const enum dtype written[] = {DT_F32,  DT_F16,  DT_BF16, DT_Q8_0, DT_Q4_0, DT_Q4_1,
                                     DT_Q5_0, DT_Q5_1, DT_Q4_K, DT_Q5_K, DT_Q6_K, DT_IQ4_NL};
enum { WRITTEN = sizeof written / sizeof *written };

/* Written and read again. */
static void there_and_back(enum dtype t, const float *x, float *y, size_t n)
{
    size_t bytes;
    assert_true(quantise_can(t));
    assert_true(dtype_row_bytes(t, n, &bytes));
    unsigned char *stored = mem_new(bytes + 1, 1);
    stored[bytes] = 0xa5;
    quantise_row(t, x, stored, n);
    assert_int_equal(stored[bytes], 0xa5);
    dtype_to_f32(t, stored, y, n);
    mem_free(stored);
}

static double squared_error(const float *x, const float *y, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
    return sum;
}

/* The plain way with steps that cost nothing: from least to largest value of each `sub`, or centred on zero. */
static double plain_error(const float *x, size_t n, size_t sub, int bits, bool centred)
{
    double sum = 0;
    int top = (1 << bits) - 1;
    for (size_t s = 0; s < n; s += sub) {
        double low = x[s], high = x[s], size = 0;
        for (size_t i = s; i < s + sub; i++) {
            low = fmin(low, x[i]);
            high = fmax(high, x[i]);
            size = fmax(size, fabs(x[i]));
        }
        double step = centred ? size / (1 << (bits - 1)) : (high - low) / top;
        low = centred ? -size : low;
        for (size_t i = s; i < s + sub; i++) {
            double code = step > 0 ? fmin(rint((x[i] - low) / step), top) : 0;
            sum += (low + step * code - x[i]) * (low + step * code - x[i]);
        }
    }
    return sum;
}

/* Weights as models have them: a bell, some with long tails, some rows off the middle. */
static void fill_weights(float *x, uint64_t seed)
{
    for (int i = 0; i < N; i++) {
        float v = 0;
        for (int k = 0; k < 6; k++)
            v += test_uniform(&seed);
        x[i] = 0.01f * v * (i % 97 == 0 ? 4 : 1) + (i / 1024 == 3 ? 0.01f : 0);
    }
}

/* A K type spends few bits on scales, and wins them back by searching: not worse than the plain way with free scales, over each
 * row, and a good part better over all. */
static void search_pays(void **state)
{
    static const struct {
        enum dtype type;
        size_t sub;
        int bits;
        bool centred;
        double most; /* share of the plain error, over all */
    } cases[] = {{DT_Q4_K, 32, 4, false, 0.88}, {DT_Q5_K, 32, 5, false, 0.92}, {DT_Q6_K, 16, 6, true, 0.92},
                 {DT_IQ4_NL, 32, 4, true, 0.88}};
    float x[N], y[N];
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        double got = 0, plain = 0;
        for (int row = 0; row < 8; row++) {
            fill_weights(x, (uint64_t)row + 1);
            there_and_back(cases[c].type, x, y, N);
            double e = squared_error(x, y, N), p = plain_error(x, N, cases[c].sub, cases[c].bits, cases[c].centred);
            if (!(e <= p))
                fail_msg("%s row %d: error %.4g, the plain way %.4g", dtype_name(cases[c].type), row, e, p);
            got += e;
            plain += p;
        }
        if (!(got <= cases[c].most * plain))
            fail_msg("%s: %.3f of the plain error", dtype_name(cases[c].type), got / plain);
    }
}

/* Half a step, and what rounding scale and minimum to halves moves (2^-11 of each). */
static void error_is_half_a_step(void **state)
{
    static const struct {
        enum dtype type;
        double steps;
        bool centred;
    } cases[] = {{DT_Q8_0, 127, true}, {DT_Q4_0, 8, true}, {DT_Q5_0, 16, true}, {DT_Q4_1, 15, false}, {DT_Q5_1, 31, false}};
    float x[N], y[N];
    fill_weights(x, 9);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        there_and_back(cases[c].type, x, y, N);
        for (size_t b = 0; b < N; b += 32) {
            double low = x[b], high = x[b];
            for (size_t i = b; i < b + 32; i++) {
                low = fmin(low, x[i]);
                high = fmax(high, x[i]);
            }
            double size = fmax(fabs(low), fabs(high)), step = (cases[c].centred ? size : high - low) / cases[c].steps;
            bool capped = cases[c].type == DT_Q4_0 || cases[c].type == DT_Q5_0; /* the edge opposite the largest has no code */
            double most = step * (capped ? 1 : 0.5) + 2 * size / 1024;
            for (size_t i = b; i < b + 32; i++)
                assert_true(fabs((double)x[i] - y[i]) <= most);
        }
    }
}

static void zeros_stay_zero_and_all_stays_finite(void **state)
{
    static const float fills[][2] = {{0, 0}, {0.5f, 0.5f}, {-0.5f, -0.5f}, {1e-9f, -1e-9f}, {1e-38f, 1e-40f}, {1e4f, -3e4f}};
    float x[512], y[512];
    for (int t = 0; t < WRITTEN; t++) {
        for (size_t f = 0; f < sizeof fills / sizeof *fills; f++) {
            double size = fmax(fabs((double)fills[f][0]), fabs((double)fills[f][1]));
            for (int i = 0; i < 512; i++)
                x[i] = fills[f][i % 2];
            there_and_back(written[t], x, y, 512);
            for (int i = 0; i < 512; i++) {
                if (!(fabs((double)y[i] - x[i]) <= 0.15 * size + 1e-6 * (size < 1e-5)))
                    fail_msg("%s fill %zu: %g became %g", dtype_name(written[t]), f, (double)x[i], (double)y[i]);
                assert_true(size > 0 || y[i] == 0);
            }
        }
    }
    static const enum dtype searched[] = {DT_Q4_K, DT_Q5_K, DT_Q6_K, DT_IQ4_NL};
    for (int t = 0; t < 4; t++) { /* beyond what a half can scale: the largest there is, never infinity */
        for (int i = 0; i < 512; i++)
            x[i] = i % 3 ? 3e38f : -3e38f;
        there_and_back(searched[t], x, y, 512);
        for (int i = 0; i < 512; i++)
            assert_true(isfinite(y[i]));
    }
}

/* Every width of code and group: the largest value is met (to the rounding of its type), zero is exact, no error beyond a step. */
static void mlx_codes_meet_edge_and_zero(void **state)
{
    static const int widths[] = {2, 3, 4, 5, 6, 8};
    float x[256], y[256];
    uint32_t codes[64], scales[8], biases[8];
    for (int w = 0; w < 6; w++) {
        for (int group = 32; group <= 128; group *= 2) {
            uint64_t seed = (uint64_t)(w * 1000 + group);
            for (int i = 0; i < 256; i++)
                x[i] = i % 5 == 0 ? 0 : test_uniform(&seed);
            quantise_mlx_row(widths[w], group, DT_F32, x, codes, scales, biases, 256);
            struct mat m = {.data = codes, .type = dtype_mlx(widths[w]), .rows = 1, .cols = 256, .row_bytes = (size_t)widths[w] * 32,
                            .scales = scales, .biases = biases, .scale_type = DT_F32, .group = group};
            mat_row_to_f32(&m, 0, y);
            for (int i = 0; i < 256; i++) {
                double step = 2.0 / ((1 << widths[w]) - 1);
                assert_true(fabs((double)y[i] - x[i]) <= step);
                if (x[i] == 0)
                    assert_true(fabsf(y[i]) < 1e-6f);
            }
        }
    }
}

static void others_are_refused(void **state)
{
    int can = 0;
    for (int t = 0; t < DT_COUNT; t++)
        can += quantise_can((enum dtype)t);
    assert_int_equal(can, WRITTEN);
    assert_false(quantise_can(DT_Q2_K));
    assert_false(quantise_can(DT_MLX4)); /* has a function of its own */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(search_pays),
        cmocka_unit_test(error_is_half_a_step),
        cmocka_unit_test(zeros_stay_zero_and_all_stays_finite),
        cmocka_unit_test(mlx_codes_meet_edge_and_zero),
        cmocka_unit_test(others_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
