/* The loops of sampling: against plain arithmetic, and the same bits from every width of vector that has fused multiply-add. */
#include "tests/unit/kernel/kernel_test.h"

#include "engine/kernel/choose_kernels.h"

static const int lengths[] = {1, 3, 15, 16, 17, 31, 33, 511, 512, 513, 1040, 5000};
enum { MOST = 5000 };

static int widths(const struct choose_kernels *k[3])
{
    int n = 0;
    k[n++] = &choose_kernels_base;
    if (family_runs_here(FAMILY_AVX2) && choose_kernels_avx2())
        k[n++] = choose_kernels_avx2();
    if (family_runs_here(FAMILY_AVX512F) && choose_kernels_avx512())
        k[n++] = choose_kernels_avx512();
    return n;
}

static void test_greatest(void **state)
{
    const struct choose_kernels *k[3];
    const int n_widths = widths(k);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        const int n = lengths[i];
        float *l = test_floats((size_t)n, 11);
        for (int at = 0; at < n; at += n / 5 + 1) {
            float before = l[at];
            l[at] = 2;
            if (at > 0)
                l[0] = NAN;
            if (at + 1 < n)
                l[n - 1] = 2; /* the first one counts */
            for (int w = 0; w < n_widths; w++)
                assert_int_equal(k[w]->greatest(l, n), at);
            l[at] = before;
        }
        for (int j = 0; j < n; j++)
            l[j] = j % 2 ? NAN : -INFINITY;
        for (int w = 0; w < n_widths; w++)
            assert_int_equal(k[w]->greatest(l, n), 0);
        mem_free(l);
    }
}

static void test_weigh(void **state)
{
    const struct choose_kernels *k[3];
    const int n_widths = widths(k);
    static float e[3][MOST];
    static double sums[3][MOST / CHOOSE_CHUNK + 1];
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        const int n = lengths[i];
        float *l = test_floats((size_t)n, 5);
        for (int j = 0; j < n; j++)
            l[j] *= 60;
        l[n / 2] = NAN;
        for (int w = 0; w < n_widths; w++) {
            k[w]->weigh(e[w], l, n, 60, 1.25f, sums[w]);
            if (w > 1) { /* those that fuse multiplication and addition */
                assert_memory_equal(e[w], e[1], (size_t)n * sizeof(float));
                assert_memory_equal(sums[w], sums[1], (size_t)choose_chunks(n) * sizeof(double));
            }
            for (int j = 0; j < n; j++)
                assert_true(fabs((double)e[w][j] - (double)e[0][j]) <= 4e-7 * (double)e[0][j]);
        }
        for (int c = 0; c < choose_chunks(n); c++) {
            double sum = 0;
            for (int j = c * CHOOSE_CHUNK; j < n && j < (c + 1) * CHOOSE_CHUNK; j++) {
                double x = ((double)l[j] - 60) * 1.25, want = x > -80 ? exp(x) : 0;
                assert_true(fabs((double)e[0][j] - want) <= 2e-5 * want + 1e-36); /* the exponent itself is rounded */
                sum += (double)e[0][j];
            }
            assert_true(fabs(sums[0][c] - sum) <= 1e-5 * sum + 1e-30);
        }
        mem_free(l);
    }
}

static void test_above(void **state)
{
    const struct choose_kernels *k[3];
    const int n_widths = widths(k);
    static struct candidate out[MOST];
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        const int n = lengths[i];
        float *e = test_floats((size_t)n, 9);
        for (float floor = -0.5f; floor < 1.1f; floor += 0.25f) {
            int want = 0;
            for (int j = 0; j < n; j++)
                want += e[j] >= floor && e[j] > 0;
            for (int w = 0; w < n_widths; w++) {
                const int cap = w == 0 ? n : want / 2; /* more than there is room for: counted, not written */
                memset(out, 0xff, sizeof out);
                assert_int_equal(k[w]->above(out, cap, e, n, floor), want);
                int at = 0;
                for (int j = 0; j < n && at < cap; j++)
                    if (e[j] >= floor && e[j] > 0) {
                        assert_int_equal(out[at].id, j);
                        assert_true(out[at++].p == e[j]);
                    }
                assert_int_equal(out[at < MOST ? at : 0].id, at < MOST && (at == cap || at == want) ? -1 : out[0].id);
            }
        }
        mem_free(e);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_greatest), cmocka_unit_test(test_weigh), cmocka_unit_test(test_above)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
