/* kernel_test.h - what the tests of the matrix kernels share: random arrays, stored matrices of
 * every type, the families here. */
#ifndef GM_TESTS_KERNEL_TEST_H
#define GM_TESTS_KERNEL_TEST_H

#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/kernel/compute.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static inline uint32_t test_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static inline float test_uniform(uint64_t *state) /* -1..1 */
{
    return (float)test_random(state) / 1073741824.0f - 1.0f;
}

static inline float *test_floats(size_t n, uint64_t seed)
{
    float *x = mem_new(n + 1, sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = test_uniform(&seed);
    return x;
}

static inline void test_block(enum dtype type, unsigned char *at, uint64_t *seed)
{
    float f = test_uniform(seed);
    uint16_t h = f32_to_f16(f), bf = f32_to_bf16(f), d = f32_to_f16(f / 16),
             m = f32_to_f16(test_uniform(seed));
    switch (type) { /* sane values where they are floats */
    case DT_F32:
        memcpy(at, &f, 4);
        break;
    case DT_F16:
        memcpy(at, &h, 2);
        break;
    case DT_BF16:
        memcpy(at, &bf, 2);
        break;
    case DT_Q4_1:
    case DT_Q5_1:
        memcpy(at, &d, 2), memcpy(at + 2, &m, 2);
        break;
    case DT_Q8_0:
        d = f32_to_f16(f / 128);
        memcpy(at, &d, 2);
        break;
    case DT_Q2_K:
        memcpy(at + 80, &d, 2), memcpy(at + 82, &d, 2);
        break;
    case DT_Q3_K:
        memcpy(at + 108, &d, 2);
        break;
    case DT_Q4_K:
    case DT_Q5_K:
        d = f32_to_f16(f / 1024);
        memcpy(at, &d, 2), memcpy(at + 2, &d, 2);
        break;
    case DT_Q6_K:
        d = f32_to_f16(f / 4096);
        memcpy(at + 208, &d, 2);
        break;
    case DT_IQ4_XS:
        d = f32_to_f16(f / 4096);
        memcpy(at, &d, 2);
        break;
    case DT_MXFP4:
        at[0] = (unsigned char)(121 + test_random(seed) % 6);
        break;
    case DT_MLX2:
    case DT_MLX3:
    case DT_MLX4:
    case DT_MLX5:
    case DT_MLX6:
    case DT_MLX8:
    case DT_MLX_FP4:
        break;
    default:
        memcpy(at, &d, 2);
        break;
    }
}

/* Scales and biases of an MLX matrix behind its codes; the largest group that fits a row. Odd bits: f16 scales; else bf16; 8: f32. */
static inline void test_scales(struct mat *m, unsigned char *at, uint64_t *seed)
{
    m->group = m->cols % 128 == 0 ? 128 : m->cols % 64 == 0 ? 64 : 32;
    m->scale_type = m->type == DT_MLX_FP4                          ? DT_U8
                    : m->type == DT_MLX8                           ? DT_F32
                    : m->type == DT_MLX3 || m->type == DT_MLX5 ? DT_F16
                                                                   : DT_BF16;
    size_t n = (size_t)(m->rows * (m->cols / m->group)), each = dtype_block_bytes(m->scale_type);
    m->scales = at;
    m->biases = m->type == DT_MLX_FP4 ? NULL : at + n * each;
    for (size_t i = 0; i < (m->biases ? 2 : 1) * n; i++, at += each) {
        float f = test_uniform(seed) / (i < n ? (float)(1 << 2 * dtype_block_bytes(m->type) / 8) : 1);
        uint16_t h = m->scale_type == DT_F16 ? f32_to_f16(f) : f32_to_bf16(f);
        if (m->scale_type == DT_U8)
            *at = (unsigned char)(121 + test_random(seed) % 6);
        else if (m->scale_type == DT_F32)
            memcpy(at, &f, 4);
        else
            memcpy(at, &h, 2);
    }
}

/* A stored matrix of random values; `owned` is to be freed. Rows lie `gap` bytes apart; they begin
 * at an odd address for one-byte alignment. */
static inline struct mat test_matrix(enum dtype type, int64_t rows, int64_t cols, size_t gap,
                                     uint64_t seed, void **owned)
{
    size_t row_bytes, block = dtype_block_bytes(type);
    assert_true(dtype_row_bytes(type, (size_t)cols, &row_bytes));
    size_t codes = (size_t)rows * (row_bytes + gap);
    unsigned char *data = mem_new(codes + (size_t)(rows * cols / 32) * 8 + 1, 1);
    for (int64_t r = 0; r < rows; r++) {
        unsigned char *row = data + (size_t)r * (row_bytes + gap);
        for (size_t i = 0; i < row_bytes; i++)
            row[i] = (unsigned char)test_random(&seed);
        for (size_t b = 0; b < row_bytes / block; b++)
            test_block(type, row + b * block, &seed);
    }
    *owned = data;
    struct mat m = {
        .data = data, .type = type, .rows = rows, .cols = cols, .row_bytes = row_bytes + gap};
    if (dtype_is_mlx(type))
        test_scales(&m, data + codes, &seed);
    return m;
}

/* The matrix as rounded bf16 values in f32: what the plain twin gets to see in BF16 mode. */
static inline struct mat test_rounded(const struct mat *m, float **owned)
{
    float *f = mem_new((size_t)(m->rows * m->cols) + 1, sizeof *f);
    for (int64_t r = 0; r < m->rows; r++)
        mat_row_to_f32(m, r, f + r * m->cols);
    for (int64_t i = 0; i < m->rows * m->cols; i++)
        f[i] = bf16_to_f32(f32_to_bf16(f[i]));
    *owned = f;
    return mat_f32(f, m->rows, m->cols);
}

static inline void round_floats(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = bf16_to_f32(f32_to_bf16(x[i]));
}

#endif
