/* Storage types: the halves, exhaustively; every block type against values computed by gguf-py
 * (fixtures/quantised/gguf). */
#include "tests/unit/fixtures.h"
#include "tests/unit/kernel/kernel_test.h"

#include <stdlib.h>

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

static unsigned char *file_bytes(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    unsigned char *bytes = mem_new(*size + 1, 1);
    assert_int_equal(fread(bytes, 1, *size, f), *size);
    fclose(f);
    return bytes;
}

/* Data of a tensor of a safetensors file whose header is known to be sane. */
static const unsigned char *tensor(unsigned char *file, const char *name, size_t *bytes)
{
    uint64_t header;
    memcpy(&header, file, 8);
    char key[64];
    snprintf(key, sizeof key, "\"%s\"", name);
    const char *at = strstr((const char *)file + 8, key);
    if (!at)
        return NULL;
    at = strstr(at, "data_offsets") + strlen("data_offsets\":[");
    char *end;
    size_t first = strtoul(at, &end, 10), last = strtoul(end + 1, NULL, 10);
    *bytes = last - first;
    return file + 8 + header + first;
}

static void blocks_match_gguf(void **state)
{
    size_t size;
    char path[1024];
    snprintf(path, sizeof path, "%s/quantised/gguf/blocks.safetensors", fixtures_dir());
    unsigned char *file = file_bytes(path, &size);
    int types = 0;
    for (int t = 0; t < DT_COUNT; t++) {
        if (!dtype_is_weight((enum dtype)t) || t == DT_F32)
            continue;
        char name[32];
        size_t n_bytes, n_expected, row;
        snprintf(name, sizeof name, "%s.bytes", dtype_name((enum dtype)t));
        const unsigned char *bytes = tensor(file, name, &n_bytes);
        snprintf(name, sizeof name, "%s.f32", dtype_name((enum dtype)t));
        const unsigned char *expected = tensor(file, name, &n_expected);
        assert_non_null(bytes);
        assert_non_null(expected);
        size_t n = n_expected / sizeof(float);
        assert_true(dtype_row_bytes((enum dtype)t, n, &row));
        assert_int_equal(row, n_bytes);
        float *values = mem_new(n, sizeof *values);
        dtype_to_f32((enum dtype)t, bytes, values, n);
        for (size_t i = 0; i < n; i++) {
            float e;
            memcpy(&e, expected + 4 * i, 4);
            if (memcmp(&values[i], &e, sizeof e) != 0 && !(isnan(values[i]) && isnan(e)))
                fail_msg("%s value %zu: %.9g, expected %.9g", dtype_name((enum dtype)t), i,
                         values[i], e);
        }
        mem_free(values);
        types++;
    }
    assert_int_equal(types, 15);
    mem_free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halves_round_trip),    cmocka_unit_test(halves_round_to_even),
        cmocka_unit_test(brains_round_to_even), cmocka_unit_test(sizes_are_checked),
        cmocka_unit_test(blocks_match_gguf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
