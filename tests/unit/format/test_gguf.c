/* GGUF: the fixtures open, and every getter gives what stands there or says why not. */
#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/format/gguf.h"
#include "gguf_bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void open_fixture(struct gguf *g, const char *name)
{
    struct gm_error err = {0};
    char *path = mem_printf(FIXTURES "/quantised/gguf/%s", name);
    if (!gguf_open(g, path, &err))
        fail_msg("%s", err.text);
    mem_free(path);
}

static void test_fixtures(void **state)
{
    static const struct {
        const char *file, *arch;
        enum dtype embed;
    } files[] = {
        {"llama_f16.gguf", "llama", DT_F16},
        {"smollm2_q8_0.gguf", "llama", DT_Q8_0},
        {"llama_f32_f32.gguf", "llama", DT_F32},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct gguf g;
        struct gm_error err = {0};
        struct gguf_text arch = {0};
        const struct gguf_text *tokens = NULL;
        uint64_t n_tokens = 0, width = 0, vocab = 0;
        char *width_key = mem_printf("%s.embedding_length", files[i].arch);
        open_fixture(&g, files[i].file);
        assert_int_equal(g.version, 3);
        assert_true(gguf_string(&g, "general.architecture", REQUIRED, &arch, &err) &&
                    gguf_text_is(arch, files[i].arch));
        assert_true(
            gguf_array_string(&g, "tokenizer.ggml.tokens", REQUIRED, &tokens, &n_tokens, &err));
        assert_true(gguf_u64(&g, width_key, REQUIRED, 1, 1 << 20, &width, &err));
        const struct tensor_info *t = gguf_find(&g, "token_embd.weight");
        struct mat m;
        assert_non_null(t);
        assert_int_equal(t->type, files[i].embed);
        vocab = (uint64_t)t->shape[0];
        assert_int_equal(vocab, n_tokens); /* rows first: the file's order is turned round */
        assert_int_equal(t->shape[1], width);
        assert_true(tensor_mat_expect(t, (int64_t)n_tokens, (int64_t)width, &m, &err));
        for (int k = 0; k < g.n_tensors; k++) {
            assert_ptr_equal(gguf_find(&g, g.tensors[k].name), &g.tensors[k]);
            assert_int_equal((uintptr_t)g.tensors[k].data % 32, 0);
            assert_true(tensor_check_finite(&g.tensors[k], &err));
        }
        assert_null(gguf_find(&g, "nothing"));
        mem_free(width_key);
        gguf_close(&g);
    }
}

static void test_getters(void **state)
{
    struct str s = {0};
    struct gguf g;
    struct gm_error err = {0};
    put_good(&s);
    if (!gguf_open_bytes(&g, s.data, s.len, "good.gguf", &err))
        fail_msg("%s", err.text);
    struct gguf_text t = {0};
    uint64_t u = 3;
    int64_t i = 4;
    double d = 5;
    bool b = false;
    assert_true(gguf_u64(&g, "llama.block_count", REQUIRED, 1, 100, &u, &err) && u == 7);
    assert_true(gguf_u64(&g, "a.u8", REQUIRED, 0, 255, &u, &err) && u == 200);
    assert_true(gguf_u64(&g, "a.u64", REQUIRED, 0, UINT64_MAX, &u, &err) && u == UINT64_MAX);
    assert_false(gguf_i64(&g, "a.u64", REQUIRED, INT64_MIN, INT64_MAX, &i, &err));
    assert_true(gguf_i64(&g, "a.i8", REQUIRED, -10, 10, &i, &err) && i == -5);
    assert_false(gguf_u64(&g, "a.i8", REQUIRED, 0, UINT64_MAX, &u, &err));
    assert_non_null(strstr(err.text, "\"a.i8\" is -5"));
    assert_false(gguf_u64(&g, "a.u8", REQUIRED, 0, 199, &u, &err));
    assert_true(gguf_f64(&g, "a.f32", REQUIRED, 0, 1, &d, &err) && d == 0.5);
    assert_true(gguf_f64(&g, "a.f64", REQUIRED, -3, 1, &d, &err) && d == -2.25);
    assert_true(gguf_f64(&g, "a.u8", REQUIRED, 0, 255, &d, &err) && d == 200);
    assert_false(gguf_f64(&g, "a.f64", REQUIRED, 0, 1, &d, &err));
    assert_false(gguf_f64(&g, "a.bool", REQUIRED, 0, 1, &d, &err));
    assert_true(gguf_bool(&g, "a.bool", REQUIRED, &b, &err) && b);
    assert_false(gguf_bool(&g, "a.u8", REQUIRED, &b, &err));
    assert_false(gguf_u64(&g, "a.f32", REQUIRED, 0, 9, &u, &err));
    assert_non_null(strstr(err.text, "\"a.f32\" is of type f32, not an integer"));
    assert_false(gguf_string(&g, "a.u8", REQUIRED, &t, &err));
    assert_false(gguf_string(&g, "a.texts", REQUIRED, &t, &err));
    assert_non_null(strstr(err.text, "array of string"));
    assert_false(gguf_u64(&g, "a.ints", REQUIRED, 0, 9, &u, &err));
    assert_true(gguf_u64(&g, "absent", OPTIONAL, 0, 9, &u, &err) && u == UINT64_MAX);
    assert_false(gguf_u64(&g, "absent", REQUIRED, 0, 9, &u, &err));
    assert_non_null(strstr(err.text, "good.gguf: key \"absent\" is missing"));
    assert_true(gguf_has(&g, "a.none") && !gguf_has(&g, "absent"));

    const struct gguf_text *texts = NULL;
    float *f = NULL;
    int32_t *n32 = NULL;
    bool *flags = NULL;
    uint64_t n = 0;
    assert_true(gguf_array_string(&g, "a.texts", REQUIRED, &texts, &n, &err) && n == 3);
    assert_true(gguf_text_is(texts[0], "one") && texts[1].len == 0 && texts[2].len == 3);
    assert_true(gguf_array_string(&g, "a.none", REQUIRED, &texts, &n, &err) && n == 0);
    assert_true(gguf_array_f32(&g, "a.floats", REQUIRED, &f, &n, &err) && n == 2 && f[1] == 0.5f);
    assert_true(gguf_array_i32(&g, "a.ints", REQUIRED, &n32, &n, &err) && n == 2 && n32[1] == -1);
    assert_true(gguf_array_bool(&g, "a.bools", REQUIRED, &flags, &n, &err) && n == 2 && flags[0] &&
                !flags[1]);
    mem_free(f);
    f = NULL;
    assert_false(gguf_array_f32(&g, "a.ints", REQUIRED, &f, &n, &err));
    assert_false(gguf_array_f32(&g, "a.f32", REQUIRED, &f, &n, &err));
    assert_false(gguf_array_string(&g, "a.floats", OPTIONAL, &texts, &n, &err));
    assert_true(gguf_array_f32(&g, "absent", OPTIONAL, &f, &n, &err) && !f);
    mem_free(n32);
    mem_free(flags);

    const struct tensor_info *w = gguf_find(&g, "w"), *v = gguf_find(&g, "v");
    assert_true(w && w->type == DT_Q8_0 && w->n_dims == 2 && w->shape[0] == 3 &&
                w->shape[1] == 32 && w->bytes == 102);
    assert_true(v && v->type == DT_F32 && v->n_dims == 1 && v->shape[0] == 5 && v->bytes == 20);
    gguf_close(&g);
    str_free(&s);
}

/* Version 2 has the same layout; the padding after the last tensor may be missing. */
static void test_allowed(void **state)
{
    struct str s = {0};
    struct gguf g;
    struct gm_error err = {0};
    put_good(&s);
    s.data[4] = 2;
    assert_true(gguf_open_bytes(&g, s.data, s.len, "v2", &err) && g.version == 2);
    gguf_close(&g);
    assert_true(gguf_open_bytes(&g, s.data, s.len - 12, "unpadded", &err));
    gguf_close(&g);
    assert_false(gguf_open_bytes(&g, s.data, s.len - 13, "short", &err));
    str_clear(&s);
    put_head(&s, 3, 0, 0);
    assert_true(gguf_open_bytes(&g, s.data, s.len, "nothing in it", &err) && g.n_tensors == 0 &&
                g.n_kv == 0);
    assert_false(gguf_has(&g, "x"));
    gguf_close(&g);
    str_free(&s);
}

static void test_types(void **state)
{
    enum dtype t;
    for (uint32_t id = 0; id <= 40; id++)
        assert_non_null(gguf_tensor_type_name(id));
    assert_null(gguf_tensor_type_name(41));
    assert_null(gguf_tensor_type_name(UINT32_MAX));
    assert_false(gguf_tensor_type(UINT32_MAX, &t));
    assert_true(gguf_tensor_type(14, &t) && t == DT_Q6_K);
    assert_false(gguf_tensor_type(16, &t));
    for (uint32_t id = 0; id <= 40; id++)
        if (gguf_tensor_type(id, &t))
            assert_string_equal(gguf_tensor_type_name(id), dtype_name(t));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixtures),
        cmocka_unit_test(test_getters),
        cmocka_unit_test(test_allowed),
        cmocka_unit_test(test_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
