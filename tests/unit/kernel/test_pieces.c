/* Many small products in one job: each as the plain twin has it, the same bits on 1, 2 and 4 threads. */
#include "tests/unit/kernel/kernel_test.h"

#include "engine/kernel/matmul.h"
#include "engine/kernel/pieces.h"
#include "tests/unit/kernel/pools.h"

enum { PIECES = 14, FLOATS = 40 * 1500 };

static void compare(enum compute_mode mode, enum family family)
{
    static const int rows[] = {1, 2, 1, 3, 40, 1, 16}, shapes[][2] = {{16, 640}, {300, 16}, {4, 70}, {1500, 8}, {33, 1300}};
    static float first[PIECES][FLOATS], got[PIECES][FLOATS], want[FLOATS];
    struct mat w[PIECES], seen[PIECES];
    float *x[PIECES], *values[PIECES], *rounded[PIECES];
    for (int i = 0; i < PIECES; i++) {
        const int *s = shapes[i % 5];
        values[i] = test_floats((size_t)(s[0] * s[1]), (uint64_t)i);
        w[i] = mat_f32(values[i], s[0], s[1]);
        seen[i] = w[i];
        x[i] = test_floats((size_t)(rows[i % 7] * s[1]), (uint64_t)(100 + i));
        rounded[i] = NULL;
        if (mode == GM_COMPUTE_BF16)
            seen[i] = test_rounded(&w[i], &rounded[i]);
    }
    for (int t = 0; t < POOLS; t++) {
        struct compute c;
        struct piece p[PIECES];
        assert_true(compute_init(&c, pools[t], GM_TRAIN, mode, family, NULL));
        for (int i = 0; i < PIECES; i++) {
            for (int k = 0; k < FLOATS; k++)
                got[i][k] = 0.5f;
            p[i] = (struct piece){.w = &w[i], .a = x[i], .lda = w[i].cols, .y = got[i], .ldy = w[i].rows, .rows = rows[i % 7], .accumulate = i % 2};
        }
        matmul_nt_pieces(&c, p, PIECES);
        if (t == 0)
            memcpy(first, got, sizeof got);
        assert_memory_equal(first, got, sizeof got);
        compute_free(&c);
    }
    for (int i = 0; i < PIECES; i++) {
        const int64_t n = rows[i % 7] * w[i].rows, depth = rows[i % 7] * w[i].cols;
        for (int k = 0; k < FLOATS; k++)
            want[k] = 0.5f;
        if (mode == GM_COMPUTE_BF16)
            round_floats(x[i], (size_t)depth);
        plain_matmul_nt(want, w[i].rows, x[i], w[i].cols, rows[i % 7], &seen[i], i % 2);
        for (int64_t k = 0; k < FLOATS; k++)
            if (!(fabs((double)first[i][k] - (double)want[k]) <= (k < n ? 4e-7 * (double)(w[i].cols + 8) * (1 + fabs((double)want[k])) : 0)))
                fail_msg("%s %s, piece %d: element %d is %g, expected %g", compute_mode_name(mode), family_name(family), i, (int)k, (double)first[i][k],
                         (double)want[k]);
        mem_free(values[i]), mem_free(x[i]), mem_free(rounded[i]);
    }
}

static void test_pieces(void **state)
{
    compare(GM_COMPUTE_F32, FAMILY_PLAIN);
    for (int f = FAMILY_AUTO + 1; f < FAMILY_COUNT; f++)
        if (family_runs_here((enum family)f))
            compare(GM_COMPUTE_BF16, (enum family)f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pieces)};
    return cmocka_run_group_tests(tests, start_pools, stop_pools);
}
