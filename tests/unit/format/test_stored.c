/* What the files of other programs hold, against our expansion and our quantisers: GGUF blocks (gguf-py), MLX directories
 * (mlx_lm.convert). */
#include "tests/unit/fixtures.h"

#include "engine/base/mem.h"
#include "engine/format/safetensors.h"
#include "engine/kernel/quantise.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static bool open_fixture(struct safetensors *s, const char *folder, const char *name, const char *file)
{
    char path[1024];
    struct gm_error err = {0};
    snprintf(path, sizeof path, "%s/%s/%s/%s", fixtures_dir(), folder, name, file);
    if (access(path, R_OK) != 0)
        return false;
    if (!safetensors_open(s, path, &err))
        fail_msg("%s: %s", path, err.text);
    return true;
}

static const struct tensor_info *find(const struct safetensors *s, const char *stem, const char *ending)
{
    char name[256];
    snprintf(name, sizeof name, "%s%s", stem, ending);
    return safetensors_find(s, name);
}

static void check_floats(const char *what, const float *values, const void *expected, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float e;
        memcpy(&e, (const unsigned char *)expected + 4 * i, 4);
        if (memcmp(&values[i], &e, sizeof e) != 0 && !(isnan(values[i]) && isnan(e)))
            fail_msg("%s: value %zu is %.9g, expected %.9g", what, i, (double)values[i], (double)e);
    }
}

static void gguf_blocks_expand(void **state)
{
    struct safetensors s;
    int types = 0;
    assert_true(open_fixture(&s, "quantised", "gguf", "blocks.safetensors"));
    for (int t = 0; t < DT_COUNT; t++) {
        const struct tensor_info *bytes = find(&s, dtype_name((enum dtype)t), ".bytes"),
                                 *expected = find(&s, dtype_name((enum dtype)t), ".f32");
        if (!dtype_is_weight((enum dtype)t) || t == DT_F32)
            continue;
        assert_non_null(bytes);
        assert_non_null(expected);
        size_t n = (size_t)tensor_elements(expected), row;
        assert_true(dtype_row_bytes((enum dtype)t, n, &row));
        assert_int_equal(row, bytes->bytes);
        float *values = mem_new(n, sizeof *values);
        dtype_to_f32((enum dtype)t, bytes->data, values, n);
        check_floats(dtype_name((enum dtype)t), values, expected->data, n);
        mem_free(values);
        types++;
    }
    assert_int_equal(types, 15);
    safetensors_close(&s);
}

static void gguf_blocks_are_written(void **state)
{
    struct safetensors s;
    int types = 0;
    assert_true(open_fixture(&s, "quantised", "gguf", "blocks.safetensors"));
    for (int t = 0; t < DT_COUNT; t++) {
        const struct tensor_info *input = find(&s, dtype_name((enum dtype)t), ".input"),
                                 *expected = find(&s, dtype_name((enum dtype)t), ".quantised");
        if (!input || !expected || !quantise_can((enum dtype)t))
            continue;
        unsigned char *got = mem_new(expected->bytes, 1);
        quantise_row((enum dtype)t, input->data, got, (size_t)tensor_elements(input));
        for (size_t i = 0; i < expected->bytes; i++)
            if (got[i] != ((const unsigned char *)expected->data)[i])
                fail_msg("%s: byte %zu of %zu is %d, expected %d", dtype_name((enum dtype)t), i, expected->bytes, got[i],
                         ((const unsigned char *)expected->data)[i]);
        mem_free(got);
        types++;
    }
    assert_true(types >= 7); /* F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 */
    safetensors_close(&s);
}

/* The matrix of a module in an MLX directory; its width is told from outside. */
static bool mlx_matrix(const struct safetensors *s, const char *module, int64_t cols, struct mat *m)
{
    const struct tensor_info *codes = find(s, module, ".weight"), *scales = find(s, module, ".scales"),
                             *biases = find(s, module, ".biases");
    if (!codes || !scales || codes->shape[1] * 32 % cols != 0 || cols % scales->shape[1] != 0)
        return false;
    int bits = (int)(codes->shape[1] * 32 / cols);
    *m = (struct mat){.data = codes->data, .type = biases ? dtype_mlx(bits) : DT_MLX_FP4, .rows = codes->shape[0], .cols = cols,
                      .row_bytes = (size_t)codes->shape[1] * 4, .scales = scales->data, .biases = biases ? biases->data : NULL,
                      .scale_type = scales->type, .group = (int)(cols / scales->shape[1])};
    assert_true(m->type != DT_COUNT);
    return true;
}

/* For every directory of fixtures/quantised that has `file`. */
static int for_directories(int (*check)(const char *name))
{
    char path[1024];
    int n = 0;
    snprintf(path, sizeof path, "%s/quantised", fixtures_dir());
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] == '.' ? 0 : check(e->d_name);
    closedir(d);
    return n;
}

static int expand_directory(const char *name)
{
    struct safetensors model, expected;
    int n = 0;
    if (!open_fixture(&model, "quantised", name, "model.safetensors"))
        return 0;
    assert_true(open_fixture(&expected, "quantised", name, "expected.safetensors"));
    for (int i = 0; i < expected.n_tensors; i++) {
        const struct tensor_info *t = &expected.tensors[i];
        static const char prefix[] = "dequantised.";
        char module[256];
        struct mat m;
        if (strncmp(t->name, prefix, strlen(prefix)) != 0)
            continue;
        snprintf(module, sizeof module, "%s", t->name + strlen(prefix));
        char *end = strstr(module, ".weight");
        assert_non_null(end);
        *end = 0;
        assert_true(mlx_matrix(&model, module, t->shape[1], &m));
        float *row = mem_new((size_t)m.cols, sizeof *row);
        for (int64_t r = 0; r < t->shape[0]; r++) {
            char what[400];
            const float *want = (const float *)t->data + r * m.cols;
            snprintf(what, sizeof what, "%s %s row %d", name, module, (int)r);
            mat_row_to_f32(&m, r, row);
            check_floats(what, row, want, (size_t)m.cols);
            for (int64_t col = 0; col < m.cols; col += 32) { /* from the middle of a group as well, and not to its end */
                int64_t count = m.cols - col < 41 ? m.cols - col : 41;
                mat_part_to_f32(&m, r, col, count, row);
                check_floats(what, row, want + col, (size_t)count);
            }
        }
        mem_free(row);
        n++;
    }
    safetensors_close(&model);
    safetensors_close(&expected);
    return n;
}

static void mlx_matrices_expand(void **state)
{
    assert_true(for_directories(expand_directory) >= 8);
}

/* NAME_4bit_g64 was made of models/NAME. */
static int quantise_directory(const char *name)
{
    struct safetensors model, base;
    char base_name[256];
    int n = 0;
    snprintf(base_name, sizeof base_name, "%s", name);
    char *end = strstr(base_name, "_4bit_");
    end = end ? end : strstr(base_name, "_8bit_");
    end = end ? end : strstr(base_name, "_mixed_");
    if (!end || !open_fixture(&model, "quantised", name, "model.safetensors"))
        return 0;
    *end = 0;
    if (!open_fixture(&base, "models", base_name, "model.safetensors")) {
        safetensors_close(&model);
        return 0;
    }
    for (int i = 0; i < base.n_tensors; i++) {
        const struct tensor_info *t = &base.tensors[i];
        char module[256];
        struct mat m, stored;
        struct gm_error err;
        snprintf(module, sizeof module, "%s", t->name);
        end = strstr(module, ".weight");
        if (!end || t->n_dims != 2)
            continue;
        *end = 0;
        if (!mlx_matrix(&model, module, t->shape[1], &m) || m.rows != t->shape[0])
            continue;
        int bits = (int)(m.row_bytes * 8 / (size_t)m.cols), told = name[strlen(base_name) + 1];
        if (told != 'm' && bits != told - '0') /* made of another model of this name (README of the fixtures) */
            continue;
        assert_true(tensor_mat(t, &stored, &err));
        size_t groups = (size_t)(m.cols / m.group), each = dtype_block_bytes(m.scale_type);
        float *row = mem_new((size_t)m.cols, sizeof *row);
        uint32_t *codes = mem_new(m.row_bytes, 1);
        unsigned char *scales = mem_new(groups, 2 * each), *biases = scales + groups * each;
        for (int64_t r = 0; r < m.rows; r++) {
            mat_row_to_f32(&stored, r, row);
            quantise_mlx_row(bits, m.group, m.scale_type, row, codes, scales, biases,
                             (size_t)m.cols);
            struct mat want = mat_rows(&m, r, 1);
            if (memcmp(scales, want.scales, groups * each) != 0 || memcmp(biases, want.biases, groups * each) != 0 ||
                memcmp(codes, want.data, m.row_bytes) != 0)
                fail_msg("%s %s row %d: other codes, scales or biases", name, module, (int)r);
        }
        mem_free(row), mem_free(codes), mem_free(scales);
        n++;
    }
    safetensors_close(&model);
    safetensors_close(&base);
    return n;
}

static void mlx_matrices_are_written(void **state)
{
    assert_true(for_directories(quantise_directory) >= 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gguf_blocks_expand),
        cmocka_unit_test(gguf_blocks_are_written),
        cmocka_unit_test(mlx_matrices_expand),
        cmocka_unit_test(mlx_matrices_are_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
