/* The share of the last second: bins, their borders, and what grows old. */
#include "base_test.h"

#include "engine/base/share.h"

#include <math.h>

static void near_to(double got, double expected, double tolerance)
{
    if (!(fabs(got - expected) <= tolerance))
        fail_msg("got %.6f, expected %.6f", got, expected);
}

static void test_none_and_all(void **state)
{
    struct share s = {0};
    near_to(share_of_last_second(&s, 1000), 0, 0);
    share_add(&s, 1000, 1000);
    share_add(&s, 1000, 999);
    near_to(share_of_last_second(&s, 1000), 0, 0);
    share_add(&s, 1000, 1003.017);
    near_to(share_of_last_second(&s, 1003.017), 1, 1e-9);
    share_add(&s, 2000, 2500); /* longer than the ring */
    near_to(share_of_last_second(&s, 2500), 1, 1e-9);
}

static void test_parts(void **state)
{
    for (double at = 100; at < 102; at += 0.0137) { /* wherever in a bin it begins */
        struct share s = {0};
        share_add(&s, at - 0.7, at - 0.6);
        share_add(&s, at - 0.3, at - 0.1);
        near_to(share_of_last_second(&s, at), 0.3,
                0.3 / 0.95 - 0.3 + 1e-9); /* the view is 0.95 to 1 s long */
    }
    for (int percent = 10; percent < 100; percent += 10) { /* a steady load */
        struct share s = {0};
        for (int tick = 0; tick < 300; tick++)
            share_add(&s, 50 + tick * 0.01, 50 + tick * 0.01 + percent * 1e-4);
        near_to(share_of_last_second(&s, 53), percent * 0.01, 0.02);
    }
}

static void test_grows_old(void **state)
{
    struct share s = {0};
    share_add(&s, 10, 11);
    double last = 1.0;
    for (double later = 0; later < 1; later += 0.01) {
        double part = share_of_last_second(&s, 11 + later);
        near_to(part, 1 - later, 0.06);
        assert_true(part <= last + 0.06 && part >= 0 && part <= 1);
        last = part;
    }
    near_to(share_of_last_second(&s, 12.001), 0, 0);
    near_to(share_of_last_second(&s, 500), 0, 0);
    share_add(&s, 500, 500.1); /* the slots of old bins are used again */
    near_to(share_of_last_second(&s, 500.1), 0.1, 0.01);
}

/* Times on and beside borders that 0.05 does not hit exactly: it ends, and no time is lost or
 * counted twice. */
static void test_borders(void **state)
{
    for (int base = 0; base < 3; base++) {
        double origin = base == 0   ? 0
                        : base == 1 ? 12345.0
                                    : 3e7; /* a machine that has run for a year */
        for (int k = 0; k < 400; k++) {
            struct share s = {0};
            double from = origin + k * 0.05, to = from + 0.5;
            share_add(&s, from, nextafter(from, INFINITY));
            share_add(&s, nextafter(from, INFINITY), to);
            double sum = 0;
            for (int i = 0; i < SHARE_BINS; i++) {
                sum += s.seconds[i];
                assert_true(s.seconds[i] >= 0 && s.seconds[i] <= 0.05 + 1e-6);
            }
            near_to(sum, to - from, 1e-7);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none_and_all),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_grows_old),
        cmocka_unit_test(test_borders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
