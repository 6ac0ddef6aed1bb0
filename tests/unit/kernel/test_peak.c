/* Limits of the processor: every family that runs here has one, on any number of threads; none has one that does not. */
#include "engine/kernel/peak.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>

#include <cmocka.h>

static void every_family_that_runs(void **state)
{
    (void)state;
    struct gm_error err = {0};
    for (int threads = 1; threads <= 2; threads++) {
        struct pool *pool = pool_new(threads, &err);
        assert_non_null(pool);
        for (int f = FAMILY_AUTO + 1; f < FAMILY_COUNT; f++) {
            double gflops = peak_gflops(pool, (enum family)f, 1e-4);
            assert_true(family_runs_here((enum family)f) ? gflops > 0 : gflops == 0);
        }
        pool_free(pool);
    }
}

static void memory_is_read(void **state)
{
    (void)state;
    struct gm_error err = {0};
    struct pool *pool = pool_new(2, &err);
    assert_non_null(pool);
    assert_true(peak_read(pool, 1, 4 << 20, 1e-4, &err) > 0);
    assert_true(peak_read(pool, 0, 4 << 20, 1e-4, &err) > 0);
    pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_family_that_runs), cmocka_unit_test(memory_is_read)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
