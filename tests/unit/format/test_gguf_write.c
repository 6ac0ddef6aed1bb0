/* GGUF written: what the reader gives back is what was told, the layout is the documented one, and
 * mistakes are refused before a file stands. */
#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/format/gguf_write.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/gemmaiku-gguf-XXXXXX";

static char *file_called(const char *name)
{
    return path_join(folder, name);
}

struct ramp {
    int64_t n;
    size_t bytes_told; /* what it really writes */
    bool gives_up;
};

static bool produce_ramp(void *arg, struct writer *w, struct gm_error *err)
{
    const struct ramp *r = arg;
    if (r->gives_up)
        return error_set(err, GM_E_CANCELLED, "cancelled");
    for (size_t i = 0; i < r->bytes_told; i++) {
        unsigned char byte = (unsigned char)(i * 7 + 3);
        writer_write(w, &byte, 1);
    }
    return true;
}

static void tell_pairs(struct gguf_out *g)
{
    static const struct gguf_text texts[] = {{"one", 3}, {"", 0}, {"t\0o", 3}};
    static const float floats[] = {0.5f, -3e38f};
    static const int32_t ints[] = {1, -1, INT32_MIN};
    static const bool bools[] = {true, false};
    gguf_out_text(g, "general.architecture", "llama");
    gguf_out_u32(g, "llama.block_count", 4000000000u);
    gguf_out_u32(g, "block_count", 1); /* the end of another key is another key */
    gguf_out_f32(g, "a.f32", 0.1f);
    gguf_out_bool(g, "a.true", true);
    gguf_out_bool(g, "a.false", false);
    gguf_out_texts(g, "a.texts", texts, 3);
    gguf_out_f32s(g, "a.floats", floats, 2);
    gguf_out_i32s(g, "a.ints", ints, 3);
    gguf_out_bools(g, "a.bools", bools, 2);
    gguf_out_texts(g, "a.none", NULL, 0);
}

static void check_pairs(const struct gguf *g)
{
    struct gm_error err = {0};
    struct gguf_text arch, wrong = {0};
    uint64_t count = 0, n = 0;
    double f = 0;
    bool yes = false, no = true, *bools = NULL;
    const struct gguf_text *texts = NULL;
    float *floats = NULL;
    int32_t *ints = NULL;
    assert_int_equal(g->n_kv, 11);
    assert_string_equal(g->kv[0].key, "general.architecture");
    assert_string_equal(g->kv[10].key, "a.none");
    assert_true(gguf_string(g, "general.architecture", REQUIRED, &arch, &err) &&
                gguf_text_is(arch, "llama"));
    assert_true(gguf_u64(g, "llama.block_count", REQUIRED, 0, UINT32_MAX, &count, &err));
    assert_int_equal(count, 4000000000u);
    assert_true(gguf_f64(g, "a.f32", REQUIRED, 0, 1, &f, &err) && f == (double)0.1f);
    assert_true(gguf_bool(g, "a.true", REQUIRED, &yes, &err) && yes);
    assert_true(gguf_bool(g, "a.false", REQUIRED, &no, &err) && !no);
    assert_true(gguf_array_string(g, "a.texts", REQUIRED, &texts, &n, &err) && n == 3);
    assert_int_equal(texts[2].len, 3);
    assert_memory_equal(texts[2].data, "t\0o", 3);
    assert_true(gguf_array_f32(g, "a.floats", REQUIRED, &floats, &n, &err) && n == 2 &&
                floats[1] == -3e38f);
    assert_true(gguf_array_i32(g, "a.ints", REQUIRED, &ints, &n, &err) && n == 3 &&
                ints[2] == INT32_MIN);
    assert_true(gguf_array_bool(g, "a.bools", REQUIRED, &bools, &n, &err) && n == 2 && bools[0] &&
                !bools[1]);
    assert_true(gguf_array_string(g, "a.none", REQUIRED, &texts, &n, &err) && n == 0);
    assert_false(gguf_string(g, "a.true", REQUIRED, &wrong, &err));
    mem_free(floats);
    mem_free(ints);
    mem_free(bools);
}

/* A vector, a matrix of every type that the reader reads, and one of three dimensions. */
static void test_round_trip(void **state)
{
    struct gguf_out *g = gguf_out_new();
    struct gm_error err = {0};
    struct ramp ramps[DT_COUNT];
    float vector[5] = {1, 2, 3, 4, 5};
    tell_pairs(g);
    gguf_out_tensor(g, &(struct tensor_out){
                           .name = "v", .type = DT_F32, .n_dims = 1, .shape = {5}, .data = vector});
    int n = 1;
    for (int t = 0; t < DT_COUNT; t++) {
        uint32_t id;
        enum dtype back;
        if (!gguf_type_id((enum dtype)t, &id))
            continue;
        assert_true(gguf_tensor_type(id, &back) && back == (enum dtype)t);
        ramps[t] = (struct ramp){.bytes_told = 3 * 256 / (size_t)dtype_block((enum dtype)t) *
                                               dtype_block_bytes((enum dtype)t)};
        char *name = mem_printf("blk.%d.%s", t, dtype_name((enum dtype)t));
        gguf_out_tensor(g, &(struct tensor_out){.name = name,
                                                .type = (enum dtype)t,
                                                .n_dims = 2,
                                                .shape = {3, 256},
                                                .produce = produce_ramp,
                                                .arg = &ramps[t]});
        mem_free(name); /* names are copied */
        n++;
    }
    assert_int_equal(n, 1 + 21); /* weights, and the plain integers and F64 */
    gguf_out_tensor(g, &(struct tensor_out){.name = "cube",
                                            .type = DT_F32,
                                            .n_dims = 3,
                                            .shape = {1, 5, 1},
                                            .data = vector});
    char *path = file_called("round.gguf"), *again = file_called("again.gguf");
    if (!gguf_write(g, path, &err) || !gguf_write(g, again, &err))
        fail_msg("%s", err.text);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size % 32, 0);

    struct gguf in;
    if (!gguf_open(&in, path, &err))
        fail_msg("%s", err.text);
    assert_int_equal(in.version, 3);
    assert_int_equal(in.n_tensors, n + 1);
    check_pairs(&in);
    const struct tensor_info *v = gguf_find(&in, "v"), *cube = gguf_find(&in, "cube");
    assert_memory_equal(v->data, vector, sizeof vector);
    assert_int_equal(cube->n_dims, 3);
    assert_int_equal(cube->shape[1], 5);
    for (int i = 1; i < n; i++) {
        const struct tensor_info *t = &in.tensors[i];
        assert_int_equal((uintptr_t)t->data % 32, 0);
        assert_int_equal(t->shape[0], 3);
        assert_int_equal(t->shape[1], 256);
        assert_int_equal(t->bytes, ramps[t->type].bytes_told);
        for (size_t k = 0; k < t->bytes; k++)
            assert_int_equal(((const unsigned char *)t->data)[k], (unsigned char)(k * 7 + 3));
    }
    gguf_close(&in);

    struct str a = {0}, b = {0};
    assert_true(file_read_all(path, 1 << 20, &a, &err) && file_read_all(again, 1 << 20, &b, &err));
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    str_free(&a);
    str_free(&b);
    gguf_out_free(g);
    unlink(path);
    unlink(again);
    mem_free(path);
    mem_free(again);
}

static void refuse(struct gguf_out *g, enum gm_code code, const char *says)
{
    struct gm_error err = {0};
    char *path = file_called("refused.gguf");
    assert_false(gguf_write(g, path, &err));
    assert_int_equal(err.code, code);
    if (!strstr(err.text, says))
        fail_msg("\"%s\" does not say \"%s\"", err.text, says);
    char **names;
    size_t n;
    assert_true(dir_list(folder, &names, &n, &err));
    assert_int_equal(n, 0); /* no file, no temporary one */
    mem_free(names);
    mem_free(path);
    gguf_out_free(g);
}

static void test_mistakes(void **state)
{
    static const float x[32];
    struct tensor_out t = {.name = "t", .type = DT_F32, .n_dims = 1, .shape = {32}, .data = x};
    struct gguf_out *g = gguf_out_new();
    gguf_out_u32(g, "a.key", 1);
    gguf_out_u32(g, "a.key.longer", 1);
    gguf_out_bool(g, "a.key", true);
    refuse(g, GM_E_INPUT, "a.key");

    g = gguf_out_new();
    gguf_out_tensor(g, &t);
    gguf_out_tensor(g, &t);
    refuse(g, GM_E_INPUT, "\"t\"");

    g = gguf_out_new();
    t.name = "sixty-four bytes of a name are one more than what llama.cpp keep";
    assert_int_equal(strlen(t.name), 64);
    gguf_out_tensor(g, &t);
    refuse(g, GM_E_INPUT, "no room");

    g = gguf_out_new();
    t.name = "t";
    t.type = DT_MLX4;
    gguf_out_tensor(g, &t);
    refuse(g, GM_E_UNSUPPORTED, "--type");

    g = gguf_out_new();
    t.type = DT_Q8_0;
    t.shape[0] = 33;
    gguf_out_tensor(g, &t);
    refuse(g, GM_E_INPUT, "\"t\"");

    struct ramp ramp = {.bytes_told = 127};
    t = (struct tensor_out){.name = "t", .type = DT_F32, .n_dims = 1, .shape = {32},
                            .produce = produce_ramp, .arg = &ramp};
    g = gguf_out_new();
    gguf_out_tensor(g, &t);
    refuse(g, GM_E_INPUT, "needs 128 bytes and got 127");

    ramp.gives_up = true;
    g = gguf_out_new();
    gguf_out_tensor(g, &t);
    refuse(g, GM_E_CANCELLED, "cancelled");
}

int main(void)
{
    if (!mkdtemp(folder))
        return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip),
                                       cmocka_unit_test(test_mistakes)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(folder);
    return failed;
}
