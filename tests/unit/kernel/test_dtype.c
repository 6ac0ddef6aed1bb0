/* Storage types: the halves, exhaustively, and sizes. Their contents: tests/unit/format/test_stored.c. */
#include "tests/unit/kernel/kernel_test.h"

static void halves_round_trip(void **state)
{
    for (unsigned h = 0; h < 0x10000; h++) {
        float f = f16_to_f32((uint16_t)h);
        double expected = (h & 0x7c00) == 0 ? ldexp(h & 0x3ff, -24)
                                            : ldexp((h & 0x3ff) | 0x400, (int)(h >> 10 & 31) - 25);
        if ((h & 0x7c00) != 0x7c00)
            assert_true((h & 0x8000 ? -expected : expected) == (double)f);
        if (isnan(f))
            assert_true(isnan(f16_to_f32(f32_to_f16(f))));
        else
            assert_int_equal(f32_to_f16(f), h);
    }
}

static void halves_round_to_even(void **state)
{
    uint64_t seed = 1;
    for (int i = 0; i < 200000; i++) {
        uint16_t h = (uint16_t)(test_random(&seed) & 0x7fff);
        if ((h & 0x7c00) == 0x7c00 || h == 0x7bff)
            continue;
        float low = f16_to_f32(h), high = f16_to_f32((uint16_t)(h + 1)),
              middle = (float)(((double)low + high) / 2);
        assert_int_equal(f32_to_f16(middle), h & 1 ? h + 1 : h);
        assert_int_equal(f32_to_f16(nextafterf(middle, 0)), h);
        assert_int_equal(f32_to_f16(-nextafterf(middle, INFINITY)), (h + 1) | 0x8000);
    }
    assert_int_equal(f32_to_f16(65519.9f), 0x7bff);
    assert_int_equal(f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(f32_to_f16(-INFINITY), 0xfc00);
}

static void brains_round_to_even(void **state)
{
    assert_int_equal(f32_to_bf16(1.0f + 1.0f / 256), 0x3f80); /* a tie goes to the even neighbour */
    assert_int_equal(f32_to_bf16(1.0f + 3.0f / 256), 0x3f82);
    assert_int_equal(f32_to_bf16(1.0f + 1.01f / 256), 0x3f81);
    assert_int_equal(f32_to_bf16(3.4e38f), 0x7f80);
    assert_true(isnan(bf16_to_f32(f32_to_bf16(NAN))));
    for (unsigned h = 0; h < 0x10000; h++) {
        if (!isnan(bf16_to_f32((uint16_t)h)))
            assert_int_equal(f32_to_bf16(bf16_to_f32((uint16_t)h)), h);
    }
}

static void sizes_are_checked(void **state)
{
    size_t bytes;
    assert_true(dtype_row_bytes(DT_Q4_1, 576, &bytes));
    assert_int_equal(bytes, 576 / 32 * 20);
    assert_false(dtype_row_bytes(DT_Q4_1, 33, &bytes));
    assert_false(dtype_row_bytes(DT_Q4_K, 576, &bytes));
    assert_true(dtype_row_bytes(DT_Q6_K, 512, &bytes));
    assert_int_equal(bytes, 420);
    assert_false(dtype_row_bytes(DT_F32, SIZE_MAX / 2, &bytes));
    assert_true(dtype_row_bytes(DT_F32, 0, &bytes));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halves_round_trip),    cmocka_unit_test(halves_round_to_even),
        cmocka_unit_test(brains_round_to_even), cmocka_unit_test(sizes_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
