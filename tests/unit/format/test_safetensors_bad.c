/* safetensors files that lie: every one is refused, with the file, the place or the tensor, and
 * what to do. */
#include "engine/base/file.h"
#include "engine/format/safetensors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define T(name, type, shape, b, e) \
    "\"" name "\":{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":[" #b "," #e "]}"

static const struct {
    const char *header;
    size_t data; /* bytes after the header */
    enum gm_code code;
    const char *says;
} lies[] = {
    /* JSON that is none */
    {"", 0, GM_E_INPUT, "cut short"},
    {"{", 0, GM_E_INPUT, "cut short"},
    {"[]", 0, GM_E_INPUT, "object"},
    {"{}}", 0, GM_E_INPUT, "end of the text"},
    {"{} x", 0, GM_E_INPUT, "end of the text"},
    {"{\"a\"}", 0, GM_E_INPUT, "':'"},
    {"{\"a\":3}", 0, GM_E_INPUT, "object"},
    {"{\"a\":[]}", 0, GM_E_INPUT, "object"},
    {"{\"\xff\":{}}", 0, GM_E_INPUT, "UTF-8"},
    {"{\"a\\u0000b\":{}}", 0, GM_E_INPUT, "NUL"},
    {"{\"a\\ud800\":{}}", 0, GM_E_INPUT, "surrogate"},
    {"{\"\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0, GM_E_INPUT,
     "without a name"},
    {"{" T("a", "F32", "[1]", 0, 4) ",}", 4, GM_E_INPUT, "string"},
    /* members */
    {"{\"a\":{}}", 0, GM_E_INPUT, "no dtype"},
    {"{\"a\":{\"dtype\":\"F32\"}}", 0, GM_E_INPUT, "no shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, GM_E_INPUT, "no data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
     GM_E_INPUT, "two fields"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, GM_E_INPUT,
     "fewer than two"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, GM_E_INPUT,
     "more than two"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4, GM_E_INPUT,
     "whole number"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4.0]}}", 4, GM_E_INPUT,
     "whole number"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4e0]}}", 4, GM_E_INPUT,
     "whole number"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[00,4]}}", 4, GM_E_INPUT,
     "whole number"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,18446744073709551616]}}", 4,
     GM_E_INPUT, "64 bits"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":\"1\",\"data_offsets\":[0,4]}}", 4, GM_E_INPUT, "array"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, GM_E_INPUT,
     "whole number"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[9223372036854775808],\"data_offsets\":[0,4]}}", 4,
     GM_E_INPUT, "63 bits"},
    {"{\"a\":{\"dtype\":7,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, GM_E_INPUT, "string"},
    /* types */
    {"{" T("a", "F33", "[1]", 0, 4) "}", 4, GM_E_INPUT, "unknown type"},
    {"{" T("a", "f32", "[1]", 0, 4) "}", 4, GM_E_INPUT, "unknown type"},
    {"{" T("a", "F8_E4M3", "[4]", 0, 4) "}", 4, GM_E_UNSUPPORTED, "F8_E4M3"},
    {"{" T("a", "C64", "[1]", 0, 8) "}", 8, GM_E_UNSUPPORTED, "C64"},
    /* shapes against bytes */
    {"{" T("a", "F32", "[2]", 0, 4) "}", 4, GM_E_INPUT, "needs 8 bytes and has 4"},
    {"{" T("a", "F16", "[1]", 0, 4) "}", 4, GM_E_INPUT, "needs 2 bytes and has 4"},
    {"{" T("a", "F32", "[]", 0, 8) "}", 8, GM_E_INPUT, "needs 4 bytes and has 8"},
    {"{" T("a", "F32", "[0]", 0, 4) "}", 4, GM_E_INPUT, "needs 0 bytes and has 4"},
    {"{" T("a", "U8", "[1,1,1,1,1]", 0, 1) "}", 1, GM_E_UNSUPPORTED, "dimensions"},
    {"{" T("a", "F32", "[4294967296,4294967296]", 0, 0) "}", 0, GM_E_INPUT, "63 bits"},
    {"{" T("a", "F64", "[2305843009213693952]", 0, 0) "}", 0, GM_E_INPUT, "63 bits"},
    {"{" T("a", "U8", "[4611686018427387905,4]", 0, 4) "}", 4, GM_E_INPUT, "63 bits"},
    /* places */
    {"{" T("a", "F32", "[1]", 4, 0) "}", 4, GM_E_INPUT, "before it begins"},
    {"{" T("a", "F32", "[1]", 0, 4) "}", 3, GM_E_INPUT, "cut short"},
    {"{" T("a", "F32", "[1]", 0, 4) "}", 0, GM_E_INPUT, "cut short"},
    {"{" T("a", "F32", "[1]", 0, 4) "}", 5, GM_E_INPUT, "the file at 5"},
    {"{}", 1, GM_E_INPUT, "the file at 1"},
    {"{" T("a", "F32", "[1]", 1, 5) "}", 5, GM_E_INPUT, "gap"},
    {"{" T("a", "F32", "[1]", 0, 4) "," T("b", "F32", "[1]", 5, 9) "}", 9, GM_E_INPUT, "gap"},
    {"{" T("a", "F32", "[1]", 0, 4) "," T("b", "F32", "[1]", 0, 4) "}", 4, GM_E_INPUT,
     "overlapping"},
    {"{" T("a", "F32", "[2]", 0, 8) "," T("b", "F32", "[1]", 4, 8) "}", 8, GM_E_INPUT,
     "overlapping"},
    {"{" T("a", "U8", "[1]", 18446744073709551615, 0) "}", 4, GM_E_INPUT, "before it begins"},
    {"{" T("a", "U8", "[4]", 18446744073709551612, 18446744073709551615) "}", 4, GM_E_INPUT,
     "cut short"},
    /* names */
    {"{" T("a", "F32", "[1]", 0, 4) "," T("a", "F32", "[1]", 4, 8) "}", 8, GM_E_INPUT, "twice"},
    {"{" T("a", "F32", "[1]", 0, 4) "," T("\\u0061", "F32", "[1]", 4, 8) "}", 8, GM_E_INPUT,
     "twice"},
    {"{\"__metadata__\":{\"a\":1}}", 0, GM_E_INPUT, "string"},
    {"{\"__metadata__\":\"pt\"}", 0, GM_E_INPUT, "object"},
    {"{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, GM_E_INPUT, "twice"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, GM_E_INPUT, "twice"},
    {"{\"\\u001b[2Jx\":{\"dtype\":\"F99\",\"shape\":[],\"data_offsets\":[0,0]}}", 0, GM_E_INPUT,
     "unknown type"},
};

/* Exactly these bytes, on the heap: the sanitizer sees one byte too far. */
static bool opens(const void *bytes, size_t n, struct gm_error *err)
{
    unsigned char *exact = malloc(n ? n : 1);
    struct safetensors s;
    if (n)
        memcpy(exact, bytes, n);
    *err = (struct gm_error){0};
    bool ok = safetensors_open_bytes(&s, exact, n, "lie.safetensors", err);
    if (ok)
        safetensors_close(&s);
    free(exact);
    return ok;
}

static size_t assemble(unsigned char *out, uint64_t length, const char *header, size_t data)
{
    size_t n = strlen(header);
    memcpy(out, &length, 8);
    memcpy(out + 8, header, n);
    memset(out + 8 + n, 0, data);
    return 8 + n + data;
}

static void expect(size_t i, bool ok, const struct gm_error *err, enum gm_code code,
                   const char *says)
{
    if (ok || err->code != code || !strstr(err->text, says) ||
        !strstr(err->text, "lie.safetensors") || strchr(err->text, 0x1b) ||
        err->text[strlen(err->text) - 1] != ')')
        fail_msg("case %zu: %s (code %d), wanted \"%s\"", i, ok ? "accepted" : err->text, err->code,
                 says);
}

static void test_lies(void **state)
{
    unsigned char file[1024];
    struct gm_error err;
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        size_t n = assemble(file, strlen(lies[i].header), lies[i].header, lies[i].data);
        bool ok = opens(file, n, &err);
        expect(i, ok, &err, lies[i].code, lies[i].says);
    }
}

static void test_lengths(void **state)
{
    static const char good[] = "{" T("a", "F32", "[1]", 0, 4) "}";
    unsigned char file[256];
    struct gm_error err;
    size_t n = assemble(file, strlen(good), good, 4);
    assert_true(opens(file, n, &err));
    for (size_t cut = 0; cut < n; cut++) { /* a copy that broke off anywhere */
        bool ok = opens(file, cut, &err);
        expect(cut, ok, &err, GM_E_INPUT, cut == 0 ? "empty" : "");
    }
    static const uint64_t lengths[] = {
        0,         1, 5, 1000, 100000000, 100000001, UINT64_MAX, UINT64_MAX - 7, UINT64_MAX / 2,
        1ull << 32};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        assemble(file, lengths[i], good, 4);
        bool ok = opens(file, n, &err);
        expect(i, ok, &err, GM_E_INPUT, "");
    }
}

static void test_look_alikes(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *says;
    } files[] = {
        {"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", 60, "git lfs pull"},
        {"<!DOCTYPE html><html>", 21, "web page"},
        {"<html><head></head>", 19, "web page"},
        {"\x1f\x8b\x08\0\0\0\0\0\0\0", 10, "gzip"},
        {"PK\x03\x04\0\0\0\0\0\0", 10, "pickle"},
        {"\x80\x02}q\0.\0\0\0\0", 10, "pickle"},
        {"GGUF\3\0\0\0\0\0\0\0", 12, "GGUF"},
        {"{\"weight_map\": {}}", 18, "JSON"},
    };
    struct gm_error err;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        bool ok = opens(files[i].bytes, files[i].n, &err);
        expect(i, ok, &err, GM_E_INPUT, files[i].says);
    }
}

/* What looks odd and is allowed. */
static void test_allowed(void **state)
{
    static const struct {
        const char *header;
        size_t data;
    } good[] = {
        {"{}", 0},
        {"{}      ", 0},
        {" {} ", 0},
        {"{\"__metadata__\":{}}", 0},
        {"{" T("z", "F32", "[0]", 0, 0) "}", 0},
        {"{" T("b", "F32", "[1]", 4, 8) "," T("a", "F32", "[1]", 0, 4) "}", 8},
        {"{" T("a", "F32", "[1]", 0, 4) "," T("e", "F32", "[0,7]", 4, 4) "," T(
             "f", "U8", "[0]", 4, 4) "," T("b", "U8", "[1]", 4, 5) "}",
         5},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4],\"extra\":{\"deep\":[1,{"
         "\"x\":null}]}}}",
         4},
    };
    unsigned char file[1024];
    struct gm_error err;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        size_t n = assemble(file, strlen(good[i].header), good[i].header, good[i].data);
        if (!opens(file, n, &err))
            fail_msg("case %zu: %s", i, err.text);
    }
}

static void test_no_file(void **state)
{
    struct gm_error err = {0};
    struct safetensors s;
    assert_false(safetensors_open(&s, "/no/such/file.safetensors", &err));
    assert_int_equal(err.code, GM_E_IO);
    assert_false(safetensors_open(&s, "/tmp", &err));
    assert_false(safetensors_open(&s, "/dev/zero", &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lies),        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_look_alikes), cmocka_unit_test(test_allowed),
        cmocka_unit_test(test_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
