/* GGUF files that lie: each of them is refused with the file, the place and what to do. */
#include "engine/base/file.h"
#include "engine/format/gguf.h"
#include "gguf_bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static bool opens(const void *bytes, size_t n, struct gm_error *err)
{
    unsigned char *exact = malloc(n ? n : 1);
    struct gguf g;
    if (n)
        memcpy(exact, bytes, n);
    *err = (struct gm_error){0};
    bool ok = gguf_open_bytes(&g, exact, n, "lie.gguf", err);
    if (ok)
        gguf_close(&g);
    free(exact);
    return ok;
}

/* Judges what was put together in s, and empties it. */
static void refuse_as(struct str *s, enum gm_code code, const char *says, int line)
{
    struct gm_error err;
    bool ok = opens(s->data, s->len, &err);
    if (ok || err.code != code || !strstr(err.text, says) || !strstr(err.text, "lie.gguf") ||
        strchr(err.text, 0x1b) || err.text[strlen(err.text) - 1] != ')')
        fail_msg("line %d: %s (code %d), wanted \"%s\"", line, ok ? "accepted" : err.text, err.code,
                 says);
    str_clear(s);
}
#define REFUSED(s, says) refuse_as(&(s), GM_E_INPUT, says, __LINE__)
#define UNSUPPORTED(s, says) refuse_as(&(s), GM_E_UNSUPPORTED, says, __LINE__)

static void test_heads(void **state)
{
    struct str s = {0};
    put_u32(&s, 0x12345678);
    put_zeros(&s, 20);
    REFUSED(s, "does not begin with");
    put_head(&s, 1, 0, 0);
    UNSUPPORTED(s, "version 1");
    put_head(&s, 4, 0, 0);
    UNSUPPORTED(s, "version 4");
    put_head(&s, 0x03000000, 0, 0);
    UNSUPPORTED(s, "big-endian");
    put_head(&s, 3, UINT64_MAX, 0);
    REFUSED(s, "18446744073709551615 tensors");
    put_head(&s, 3, 0, UINT64_MAX);
    REFUSED(s, "18446744073709551615 key-value pairs");
    put_head(&s, 3, 1, 0);
    REFUSED(s, "1 tensors");
    put_head(&s, 3, 0, 1);
    REFUSED(s, "1 key-value pairs");
    put_head(&s, 3, 1ull << 61, 1ull << 61);
    REFUSED(s, "pairs");
    put_head(&s, 3, 0, 70000);
    put_zeros(&s, 70000 * 14);
    REFUSED(s, "70000 key-value pairs");
    str_free(&s);
}

static void test_pairs(void **state)
{
    struct str s = {0};
    put_head(&s, 3, 0, 1);
    put_text(&s, "");
    put_u32(&s, 4);
    put_u32(&s, 1);
    REFUSED(s, "empty");
    put_head(&s, 3, 0, 1);
    put_text_n(&s, "a\0b", 3);
    put_u32(&s, 4);
    put_u32(&s, 1);
    REFUSED(s, "NUL");
    put_head(&s, 3, 0, 1);
    put_text_n(&s, "a\xff", 2);
    put_u32(&s, 4);
    put_u32(&s, 1);
    REFUSED(s, "UTF-8");
    put_head(&s, 3, 0, 2);
    put_kv_u32(&s, "k", 1);
    put_kv_u32(&s, "k", 2);
    REFUSED(s, "\"k\" stands there twice");
    put_head(&s, 3, 0, 1);
    put_u64(&s, UINT64_MAX);
    put_zeros(&s, 20);
    REFUSED(s, "18446744073709551615");
    put_head(&s, 3, 0, 1);
    put_u64(&s, 65536);
    put_zeros(&s, 70000);
    REFUSED(s, "65536");
    put_head(&s, 3, 0, 1);
    put_u64(&s, 100);
    put_zeros(&s, 20);
    REFUSED(s, "cut short");
    put_head(&s, 3, 0, 1);
    put_key(&s, "k", 13);
    put_u64(&s, 0);
    REFUSED(s, "type 13");
    put_head(&s, 3, 0, 1);
    put_key(&s, "k", UINT32_MAX);
    put_u64(&s, 0);
    REFUSED(s, "type 4294967295");
    put_head(&s, 3, 0, 1);
    put_key(&s, "key", 10);
    put_u32(&s, 0);
    REFUSED(s, "cut short");
    put_head(&s, 3, 0, 1);
    put_key(&s, "k", 7);
    str_add_char(&s, 2);
    REFUSED(s, "neither 0 nor 1");
    put_head(&s, 3, 0, 1);
    put_key(&s, "k", 8);
    put_u64(&s, 20 << 20);
    put_zeros(&s, 64);
    REFUSED(s, "at most 16777216");
    put_head(&s, 3, 0, 1);
    put_key(&s, "k", 8);
    put_u64(&s, 65);
    put_zeros(&s, 64);
    REFUSED(s, "needs 65 bytes, the file has 64");
    str_free(&s);
}

static void test_arrays(void **state)
{
    struct str s = {0};
    put_head(&s, 3, 0, 1);
    put_array(&s, "k", 9, 1);
    put_zeros(&s, 32);
    UNSUPPORTED(s, "array of arrays");
    put_head(&s, 3, 0, 1);
    put_array(&s, "k", 99, 1);
    put_zeros(&s, 32);
    REFUSED(s, "type 99");
    put_head(&s, 3, 0, 1);
    put_array(&s, "k", 4, UINT64_MAX);
    put_zeros(&s, 32);
    REFUSED(s, "18446744073709551615 elements");
    put_head(&s, 3, 0, 1);
    put_array(&s, "k", 4, 1ull << 62); /* times 4 wraps to 0 */
    put_zeros(&s, 32);
    REFUSED(s, "elements");
    put_head(&s, 3, 0, 1);
    put_array(&s, "k", 4, 9);
    put_zeros(&s, 32);
    REFUSED(s, "needs 36 bytes");
    put_head(&s, 3, 0, 1);
    put_array(&s, "k", 8, 64 << 20); /* strings of 8 bytes each: more than the file */
    put_zeros(&s, 64);
    REFUSED(s, "cut short");
    put_head(&s, 3, 0, 1);
    put_array(&s, "k", 8, 2);
    put_text(&s, "a");
    put_u64(&s, 1000);
    REFUSED(s, "element 1");
    put_head(&s, 3, 0, 1);
    put_array(&s, "k", 7, 2);
    str_add_n(&s, "\1\xff", 2);
    REFUSED(s, "neither 0 nor 1");
    str_free(&s);
}

static void test_alignment(void **state)
{
    static const uint32_t bad[] = {0, 1, 4, 3, 33, 48, 1u << 21, 1u << 31, UINT32_MAX};
    struct str s = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_head(&s, 3, 0, 1);
        put_kv_u32(&s, "general.alignment", bad[i]);
        REFUSED(s, "power of two");
    }
    put_head(&s, 3, 0, 1);
    put_key(&s, "general.alignment", 10);
    put_u64(&s, 32);
    REFUSED(s, "not u32");
    put_head(&s, 3, 0, 1);
    put_array(&s, "general.alignment", 4, 0);
    REFUSED(s, "not u32");
    put_head(&s, 3, 0, 1);
    put_key(&s, "split.count", 2);
    str_add_n(&s, "\3\0", 2);
    UNSUPPORTED(s, "--merge");
    str_free(&s);
}

/* A file with one tensor and room for `data` bytes. */
static void one(struct str *s, const char *name, uint32_t n_dims, const uint64_t *ne, uint32_t type,
                uint64_t offset, size_t data)
{
    put_head(s, 3, 1, 0);
    put_tensor(s, name, n_dims, ne, type, offset);
    put_pad(s, 32);
    put_zeros(s, data);
}

static void test_tensors(void **state)
{
    struct str s = {0};
    const uint64_t small[8] = {32, 2, 1, 1, 1}, odd[2] = {33, 2},
                   huge[4] = {1ull << 32, 1ull << 32, 1, 1}, negative[1] = {1ull << 63},
                   wide[2] = {1ull << 62, 1}, k[2] = {128, 2},
                   wraps[4] = {(1ull << 62) + 1, 4, 1, 1};
    one(&s, "t", 5, small, 0, 0, 512);
    REFUSED(s, "5 dimensions");
    one(&s, "t", 2, odd, 8, 0, 512);
    REFUSED(s, "no multiple of the 32");
    one(&s, "t", 2, k, 12, 0, 512);
    REFUSED(s, "no multiple of the 256");
    one(&s, "t", 4, huge, 0, 0, 512);
    REFUSED(s, "63 bits");
    one(&s, "t", 4, wraps, 0, 0, 512);
    REFUSED(s, "63 bits");
    one(&s, "t", 1, negative, 0, 0, 512);
    REFUSED(s, "63 bits");
    one(&s, "t", 2, wide, 28, 0, 512);
    REFUSED(s, "63 bits");
    one(&s, "t", 2, small, 16, 0, 512);
    UNSUPPORTED(s, "IQ2_XXS");
    one(&s, "t", 2, small, 4, 0, 512);
    UNSUPPORTED(s, "Q4_2");
    one(&s, "t", 2, small, 999, 0, 512);
    UNSUPPORTED(s, "type 999");
    one(&s, "t", 2, small, 0, 32, 512);
    REFUSED(s, "gap");
    one(&s, "t", 2, small, 0, 1, 512);
    REFUSED(s, "alignment");
    one(&s, "t", 2, small, 0, UINT64_MAX - 31, 512);
    REFUSED(s, "gap");
    one(&s, "t", 2, small, 0, 0, 255);
    REFUSED(s, "cut short");
    one(&s, "t", 2, small, 0, 0, 0);
    REFUSED(s, "cut short");
    one(&s, "", 2, small, 0, 0, 512);
    REFUSED(s, "empty");
    one(&s, "0123456789012345678901234567890123456789012345678901234567890123", 2, small, 0, 0,
        512); /* 64 letters */
    REFUSED(s, "at most 63");
    one(&s, "\x1b[2J", 2, small, 999, 0, 512);
    UNSUPPORTED(s, "type 999");
    put_head(&s, 3, 2, 0);
    put_tensor(&s, "t", 2, small, 0, 0);
    put_tensor(&s, "t", 2, small, 0, 256);
    put_pad(&s, 32);
    put_zeros(&s, 512);
    REFUSED(s, "\"t\" stands there twice");
    put_head(&s, 3, 2, 0);
    put_tensor(&s, "t", 2, small, 0, 0);
    put_tensor(&s, "u", 2, small, 0, 128);
    put_pad(&s, 32);
    put_zeros(&s, 512);
    REFUSED(s, "overlapping");
    put_head(&s, 3, 1, 0);
    put_text_n(&s, "a\0b", 3);
    put_zeros(&s, 64);
    REFUSED(s, "NUL");
    /* sizes whose sum wraps: each fits alone */
    const uint64_t most[1] = {(1ull << 63) - 32};
    put_head(&s, 3, 3, 0);
    put_tensor(&s, "a", 1, most, 24, 0);
    put_tensor(&s, "b", 1, most, 24, (1ull << 63) - 32);
    put_tensor(&s, "c", 1, small, 24, 0);
    put_pad(&s, 32);
    put_zeros(&s, 512);
    REFUSED(s, "");
    str_free(&s);
}

/* A copy that broke off anywhere before the end of the last tensor. */
static void test_cuts(void **state)
{
    struct str s = {0};
    struct gm_error err;
    put_good(&s);
    assert_true(opens(s.data, s.len, &err));
    for (size_t n = 0; n < s.len - 12; n++) {
        if (opens(s.data, n, &err) || err.code != GM_E_INPUT || !strstr(err.text, "lie.gguf"))
            fail_msg("cut at %zu: %s", n, err.text);
    }
    str_free(&s);
}

static void test_look_alikes(void **state)
{
    struct str s = {0};
    REFUSED(s, "empty");
    str_add(&s, "version https://git-lfs.github.com/spec/v1\n");
    REFUSED(s, "git lfs pull");
    str_add(&s, "<!DOCTYPE html>\n<html>");
    REFUSED(s, "web page");
    str_add_n(&s, "\x10\0\0\0\0\0\0\0{\"a\":{}}", 17);
    REFUSED(s, "safetensors");
    str_add(&s, "{\"architectures\": []}");
    REFUSED(s, "JSON");
    str_add(&s, "ggml");
    REFUSED(s, "GGUF");
    str_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heads),       cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_arrays),      cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_tensors),     cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_look_alikes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
