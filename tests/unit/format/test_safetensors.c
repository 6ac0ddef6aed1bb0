/* safetensors: the fixtures open, what is written reads back the same, and the bytes depend on the
 * content alone. */
#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/base/str.h"
#include "engine/format/safetensors.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/gm_st_XXXXXX";

static int set_up(void **state)
{
    return mkdtemp(folder) ? 0 : -1;
}
static int tear_down(void **state)
{
    return dir_remove(folder, NULL) ? 0 : -1;
}

static void test_fixtures(void **state)
{
    static const struct {
        const char *file, *tensor;
        int n;
        enum dtype type;
        int64_t rows, cols;
    } files[] = {
        {"llama_f32", "model.embed_tokens.weight", 11, DT_F32, 352, 48},
        {"gemma3_text", "model.embed_tokens.weight", 106, DT_BF16, 400, 64},
        {"smollm2", "model.embed_tokens.weight", 20, DT_BF16, 384, 96},
        {"stories260k", "model.embed_tokens.weight", 47, DT_F16, 512, 64},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct gm_error err = {0};
        struct safetensors s;
        struct mat m;
        char *path = mem_printf(FIXTURES "/models/%s/model.safetensors", files[i].file);
        if (!safetensors_open(&s, path, &err))
            fail_msg("%s", err.text);
        assert_int_equal(s.n_tensors, files[i].n);
        assert_string_equal(safetensors_meta(&s, "format"), "pt");
        assert_null(safetensors_meta(&s, "other"));
        const struct tensor_info *t = safetensors_find(&s, files[i].tensor);
        assert_non_null(t);
        assert_true(tensor_mat_expect(t, files[i].rows, files[i].cols, &m, &err));
        assert_true(m.type == files[i].type && m.rows == files[i].rows && m.cols == files[i].cols);
        assert_false(tensor_mat_expect(t, files[i].rows, files[i].cols + 1, &m, &err));
        assert_false(tensor_mat_expect(t, 0, files[i].cols, &m, &err));
        assert_null(safetensors_find(&s, "no.such.tensor"));
        assert_int_equal(s.n_copies, 0); /* mapped as it lies */
        for (int k = 0; k < s.n_tensors; k++) {
            assert_ptr_equal(safetensors_find(&s, s.tensors[k].name), &s.tensors[k]);
            assert_true(tensor_check_finite(&s.tensors[k], &err));
        }
        safetensors_close(&s);
        mem_free(path);
    }
}

static bool produce_counting(void *arg, struct writer *w, struct gm_error *err)
{
    for (int i = 0; i < *(int *)arg; i++) {
        unsigned char b = (unsigned char)i;
        writer_write(w, &b, 1);
    }
    return true;
}

static bool produce_nothing(void *arg, struct writer *w, struct gm_error *err)
{
    return error_set(err, GM_E_CANCELLED, "stopped");
}

static void read_file(const char *path, struct str *out)
{
    struct gm_error err = {0};
    if (!file_read_all(path, 1 << 20, out, &err))
        fail_msg("%s", err.text);
}

static void test_round_trip(void **state)
{
    struct gm_error err = {0};
    float f[6] = {1, -2, 3.5f, 0, 1e-30f, 6};
    uint16_t h[3] = {1, 2, 3};
    int32_t id[2] = {-1, 7};
    int n_bytes = 5;
    struct tensor_out a[] = {
        {.name = "b.f32", .type = DT_F32, .n_dims = 2, .shape = {2, 3}, .data = f},
        {.name = "a.f32", .type = DT_F32, .n_dims = 0, .data = f},
        {.name = "gr\xc3\xbc\xc3\x9f \"quoted\"",
         .type = DT_BF16,
         .n_dims = 1,
         .shape = {3},
         .data = h},
        {.name = "ids", .type = DT_I32, .n_dims = 1, .shape = {2}, .data = id},
        {.name = "made",
         .type = DT_U8,
         .n_dims = 1,
         .shape = {5},
         .produce = produce_counting,
         .arg = &n_bytes},
        {.name = "none", .type = DT_F16, .n_dims = 2, .shape = {0, 4}},
    };
    const char *meta[] = {"z", "last", "format", "pt"},
               *meta_turned[] = {"format", "pt", "z", "last"};
    char *one = path_join(folder, "one.safetensors"), *two = path_join(folder, "two.safetensors");
    if (!safetensors_write(one, a, 6, meta, 2, &err))
        fail_msg("%s", err.text);
    struct tensor_out b[6]; /* the same in another order */
    for (int i = 0; i < 6; i++)
        b[i] = a[5 - i];
    assert_true(safetensors_write(two, b, 6, meta_turned, 2, &err));
    struct str x = {0}, y = {0};
    read_file(one, &x);
    read_file(two, &y);
    assert_int_equal(x.len, y.len);
    assert_memory_equal(x.data, y.data, x.len);
    uint64_t n;
    memcpy(&n, x.data, 8);
    assert_int_equal(n % 8, 0);
    assert_memory_equal(x.data + 8,
                        "{\"__metadata__\":{\"format\":\"pt\",\"z\":\"last\"},\"a.f32\":{\"dtype\":"
                        "\"F32\",\"shape\":[],\"data_offsets\":[0,4]},",
                        98);

    struct safetensors s;
    if (!safetensors_open(&s, one, &err))
        fail_msg("%s", err.text);
    assert_int_equal(s.n_tensors, 6);
    for (int i = 0; i < 6; i++) {
        const struct tensor_info *t = safetensors_find(&s, a[i].name);
        assert_non_null(t);
        assert_int_equal(t->type, a[i].type);
        assert_int_equal(t->n_dims, a[i].n_dims);
        for (int d = 0; d < t->n_dims; d++)
            assert_int_equal(t->shape[d], a[i].shape[d]);
        if (a[i].data)
            assert_memory_equal(t->data, a[i].data, t->bytes);
    }
    assert_memory_equal(safetensors_find(&s, "made")->data, "\0\1\2\3\4", 5);
    assert_string_equal(s.tensors[0].name,
                        "a.f32"); /* F32 before I32 before BF16 before F16 before U8 */
    assert_string_equal(s.tensors[2].name, "ids");
    assert_string_equal(s.tensors[5].name, "made");
    assert_string_equal(safetensors_meta(&s, "z"), "last");
    safetensors_close(&s);
    str_free(&x);
    str_free(&y);
    mem_free(one);
    mem_free(two);
}

static void test_write_refusals(void **state)
{
    struct gm_error err = {0};
    float f[4] = {0};
    int wrong = 3;
    char *path = path_join(folder, "bad.safetensors");
    struct tensor_out twice[] = {
        {.name = "x", .type = DT_F32, .n_dims = 1, .shape = {4}, .data = f},
        {.name = "x", .type = DT_F32, .n_dims = 1, .shape = {2}, .data = f}};
    struct tensor_out bad[] = {
        {.name = "x", .type = DT_Q8_0, .n_dims = 1, .shape = {32}, .data = f},
        {.name = "", .type = DT_F32, .n_dims = 1, .shape = {4}, .data = f},
        {.name = "__metadata__", .type = DT_F32, .n_dims = 1, .shape = {4}, .data = f},
        {.name = "\xff", .type = DT_F32, .n_dims = 1, .shape = {4}, .data = f},
        {.name = "x", .type = DT_F32, .n_dims = 2, .shape = {INT64_MAX, 4}, .data = f},
        {.name = "x", .type = DT_F32, .n_dims = 1, .shape = {-1}, .data = f},
        {.name = "x",
         .type = DT_U8,
         .n_dims = 1,
         .shape = {4},
         .produce = produce_counting,
         .arg = &wrong},
        {.name = "x", .type = DT_U8, .n_dims = 1, .shape = {4}, .produce = produce_nothing},
    };
    assert_false(safetensors_write(path, twice, 2, NULL, 0, &err));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err = (struct gm_error){0};
        if (safetensors_write(path, &bad[i], 1, NULL, 0, &err) || err.code == GM_OK ||
            !strstr(err.text, path))
            fail_msg("case %zu: %s", i, err.text);
    }
    assert_false(file_exists(path)); /* nothing half written */
    char **names;
    size_t n;
    assert_true(dir_list(folder, &names, &n, &err));
    for (size_t i = 0; i < n; i++) {
        assert_null(strstr(names[i], "bad"));
        mem_free(names[i]);
    }
    mem_free(names);
    mem_free(path);
}

static void test_empty(void **state)
{
    struct gm_error err = {0};
    struct safetensors s;
    char *path = path_join(folder, "empty.safetensors");
    assert_true(safetensors_write(path, NULL, 0, NULL, 0, &err));
    assert_true(safetensors_open(&s, path, &err));
    assert_int_equal(s.n_tensors, 0);
    assert_null(safetensors_find(&s, "x"));
    safetensors_close(&s);
    mem_free(path);
}

/* A header that nobody padded: f32 at an odd address. */
/* A header of 640 bytes: the file begins as a Python pickle does, and is none. */
static void test_looks_like_a_pickle(void **state)
{
    struct gm_error err = {0};
    const float x = 1;
    char note[700];
    char *path = path_join(folder, "pickle.safetensors");
    bool met = false;
    for (int n = 400; n < 640 && !met; n += 8) {
        struct str bytes = {0};
        struct safetensors s;
        memset(note, 'a', (size_t)n);
        note[n] = 0;
        const char *meta[] = {"note", note};
        struct tensor_out t = {.name = "t", .type = DT_F32, .n_dims = 1, .shape = {1}, .data = &x};
        assert_true(safetensors_write(path, &t, 1, meta, 1, &err));
        read_file(path, &bytes);
        met = memcmp(bytes.data, "\x80\x02", 2) == 0;
        if (!safetensors_open(&s, path, &err))
            fail_msg("%s", err.text);
        safetensors_close(&s);
        str_free(&bytes);
    }
    assert_true(met);
    mem_free(path);
}

static void test_unaligned(void **state)
{
    static const char header[] = "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                                 "\"f\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[1,9]}}";
    unsigned char file[8 + sizeof header + 8];
    float f[2] = {1.5f, -2};
    memset(file, 0, sizeof file);
    file[0] = sizeof header - 1;
    memcpy(file + 8, header, sizeof header - 1);
    memcpy(file + 8 + sizeof header, f, 8);
    struct gm_error err = {0};
    struct safetensors s;
    if (!safetensors_open_bytes(&s, file, 8 + sizeof header - 1 + 9, "odd", &err))
        fail_msg("%s", err.text);
    const struct tensor_info *t = safetensors_find(&s, "f");
    assert_int_equal((uintptr_t)t->data % 4, 0);
    assert_memory_equal(t->data, f, 8);
    safetensors_close(&s);
}

static void test_finite(void **state)
{
    enum { N = 10007 };
    struct gm_error err = {0};
    float *f = mem_new(N, sizeof *f);
    uint16_t *h = mem_new(N, sizeof *h);
    double *d = mem_new(N, sizeof *d);
    static const int places[] = {0, 1, 4095, 4096, N - 2, N - 1};
    struct tensor_info tf = {
        .name = "f", .type = DT_F32, .n_dims = 1, .shape = {N}, .data = f, .bytes = N * sizeof *f};
    struct tensor_info th = {
        .name = "h", .type = DT_F16, .n_dims = 1, .shape = {N}, .data = h, .bytes = N * sizeof *h};
    struct tensor_info tb = th, td = {.name = "d",
                                      .type = DT_F64,
                                      .n_dims = 1,
                                      .shape = {N},
                                      .data = d,
                                      .bytes = N * sizeof *d};
    tb.type = DT_BF16;
    for (int i = 0; i < N; i++) {
        f[i] = i % 2 ? -3.4e38f : 3.4e38f; /* the largest: one bit short of infinity */
        h[i] = i % 2 ? 0xfbff : 0x7bff;    /* as f16: 65504; as bf16: finite, too */
        d[i] = i % 2 ? -1.7e308 : 1.7e308;
    }
    assert_true(tensor_check_finite(&tf, &err) && tensor_check_finite(&th, &err) &&
                tensor_check_finite(&tb, &err) && tensor_check_finite(&td, &err));
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char place[40];
        int k = places[i];
        snprintf(place, sizeof place, "element %d ", k);
        float keep = f[k];
        uint16_t keep_h = h[k];
        double keep_d = d[k];
        f[k] = i % 2 ? (float)NAN : -INFINITY;
        d[k] = i % 2 ? -(double)NAN : (double)INFINITY;
        h[k] = i % 2 ? 0x7c01 : 0xfc00;
        assert_true(!tensor_check_finite(&tf, &err) && strstr(err.text, place));
        assert_true(!tensor_check_finite(&td, &err) && strstr(err.text, place));
        assert_true(!tensor_check_finite(&th, &err) && strstr(err.text, place));
        h[k] = i % 2 ? 0x7f80 : 0xffc0;
        assert_true(!tensor_check_finite(&tb, &err) && strstr(err.text, place));
        f[k] = keep;
        h[k] = keep_h;
        d[k] = keep_d;
    }
    mem_free(f);
    mem_free(h);
    mem_free(d);
}

/* Scales at the place where each block type keeps them. */
static void test_finite_blocks(void **state)
{
    static const struct {
        enum dtype type;
        int at[2];
    } types[] = {
        {DT_Q4_0, {0, -1}}, {DT_Q4_1, {0, 2}},    {DT_Q5_0, {0, -1}},   {DT_Q5_1, {0, 2}},
        {DT_Q8_0, {0, -1}}, {DT_Q2_K, {80, 82}},  {DT_Q3_K, {108, -1}}, {DT_Q4_K, {0, 2}},
        {DT_Q5_K, {0, 2}},  {DT_Q6_K, {208, -1}}, {DT_IQ4_NL, {0, -1}}, {DT_IQ4_XS, {0, -1}},
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct gm_error err = {0};
        size_t block = dtype_block_bytes(types[i].type);
        unsigned char bytes[3 * 256];
        memset(bytes, 0x3b, sizeof bytes); /* quants may be anything; 0x3b3b is a fine f16 */
        struct tensor_info t = {.name = "q",
                                .type = types[i].type,
                                .n_dims = 1,
                                .shape = {3 * dtype_block(types[i].type)},
                                .data = bytes,
                                .bytes = 3 * block};
        assert_true(tensor_check_finite(&t, &err));
        for (int k = 0; k < 2 && types[i].at[k] >= 0; k++) {
            unsigned char *scale = bytes + 2 * block + types[i].at[k];
            scale[1] = 0x7e;
            char place[60];
            snprintf(place, sizeof place, "element %d ", 2 * dtype_block(types[i].type));
            if (tensor_check_finite(&t, &err) || !strstr(err.text, place))
                fail_msg("%s: %s", dtype_name(types[i].type), err.text);
            scale[1] = 0x3b;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixtures),       cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_write_refusals), cmocka_unit_test(test_empty),
        cmocka_unit_test(test_unaligned), cmocka_unit_test(test_looks_like_a_pickle),
             cmocka_unit_test(test_finite),
        cmocka_unit_test(test_finite_blocks),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
