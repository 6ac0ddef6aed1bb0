/* Rounding up, and quantiles of short lists. */
#include "base_test.h"

#include "engine/base/number.h"

static void test_whole(void **state)
{
    (void)state;
    assert_int_equal(round_up(0, 32), 0);
    assert_int_equal(round_up(1, 32), 32);
    assert_int_equal(round_up(32, 32), 32);
    assert_int_equal(round_up(INT64_C(1) << 40, 3), (INT64_C(1) << 40) + 2);
    assert_int_equal(min64(INT64_MIN, 7), INT64_MIN);
    assert_int_equal(min64(7, 7), 7);
}

static void test_quantile(void **state)
{
    (void)state;
    double list[] = {5, -1, 3, 2, 4}, two[] = {2, 1}, hundred[100];
    assert_true(quantile(list, 5, 0.5) == 3);
    assert_true(list[0] == -1 && list[4] == 5); /* sorted now */
    assert_true(quantile(list, 5, 0) == -1 && quantile(list, 5, 1) == 5);
    assert_true(quantile(two, 2, 0.5) == 2);
    assert_true(quantile(two, 1, 0.99) == 1);
    assert_true(quantile(NULL, 0, 0.5) == 0);
    for (int i = 0; i < 100; i++)
        hundred[i] = 99 - i;
    assert_true(quantile(hundred, 100, 0.99) == 98);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_whole), cmocka_unit_test(test_quantile)};
    return cmocka_run_group_tests_name("base_number", tests, NULL, NULL);
}
