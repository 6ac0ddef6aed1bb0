/* Choosing a family and a mode. */
#include "tests/unit/kernel/kernel_test.h"

static void names_parse(void **state)
{
    for (int f = 0; f < FAMILY_COUNT; f++) {
        enum family got;
        assert_true(family_parse(family_name((enum family)f), &got));
        assert_int_equal(got, f);
    }
    for (int m = GM_COMPUTE_AUTO; m <= GM_COMPUTE_F32; m++) {
        enum compute_mode got;
        assert_true(compute_mode_parse(compute_mode_name((enum compute_mode)m), &got));
        assert_int_equal(got, m);
    }
    enum family f;
    enum compute_mode m;
    assert_false(family_parse("avx1024", &f));
    assert_false(compute_mode_parse("", &m));
}

static void auto_resolves(void **state)
{
    struct gm_error err = {0};
    struct pool *pool = pool_new(1, &err);
    struct compute c, again;
    assert_true(compute_init(&c, pool, GM_TRAIN, GM_COMPUTE_AUTO, FAMILY_AUTO, &err));
    assert_true(compute_init(&again, pool, GM_TASTE, GM_COMPUTE_AUTO, FAMILY_AUTO, &err));
    assert_true(c.family != FAMILY_AUTO && c.mode != GM_COMPUTE_AUTO);
    assert_int_equal(c.family, again.family);
    assert_int_equal(c.mode, c.family == FAMILY_PLAIN ? GM_COMPUTE_F32 : GM_COMPUTE_BF16);
    compute_free(&again);
    compute_free(&c);
    assert_true(compute_init(&c, pool, GM_TRAIN, GM_COMPUTE_AUTO, FAMILY_PLAIN, &err));
    assert_int_equal(c.mode, GM_COMPUTE_F32);
    compute_free(&c);
    for (int f = FAMILY_AUTO + 1; f < FAMILY_COUNT; f++) {
        bool there = family_runs_here((enum family)f);
        assert_int_equal(compute_init(&c, pool, GM_TRAIN, GM_COMPUTE_BF16, (enum family)f, &err),
                         there);
        if (there)
            compute_free(&c);
        else
            assert_non_null(strstr(err.text, family_name((enum family)f)));
    }
    pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names_parse),
                                       cmocka_unit_test(auto_resolves)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
