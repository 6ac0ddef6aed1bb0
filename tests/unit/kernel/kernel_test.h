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

/* A stored matrix of random values; `owned` is to be freed. Rows lie `gap` bytes apart; they begin
 * at an odd address for one-byte alignment. */
static inline struct mat test_matrix(enum dtype type, int64_t rows, int64_t cols, size_t gap,
                                     uint64_t seed, void **owned)
{
    size_t row_bytes, block = dtype_block_bytes(type);
    assert_true(dtype_row_bytes(type, (size_t)cols, &row_bytes));
    unsigned char *data = mem_new((size_t)rows * (row_bytes + gap) + 1, 1);
    for (int64_t r = 0; r < rows; r++) {
        unsigned char *row = data + (size_t)r * (row_bytes + gap);
        for (size_t i = 0; i < row_bytes; i++)
            row[i] = (unsigned char)test_random(&seed);
        for (size_t b = 0; b < row_bytes / block; b++) { /* sane values where they are floats */
            unsigned char *at = row + b * block;
            float f = test_uniform(&seed);
            uint16_t h = f32_to_f16(f), bf = f32_to_bf16(f), d = f32_to_f16(f / 16),
                     m = f32_to_f16(test_uniform(&seed));
            switch (type) {
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
            case DT_Q4_K:
            case DT_Q5_K:
                d = f32_to_f16(f / 1024);
                memcpy(at, &d, 2), memcpy(at + 2, &d, 2);
                break;
            case DT_Q6_K:
                d = f32_to_f16(f / 4096);
                memcpy(at + 208, &d, 2);
                break;
            default:
                memcpy(at, &d, 2);
                break;
            }
        }
    }
    *owned = data;
    return (struct mat){
        .data = data, .type = type, .rows = rows, .cols = cols, .row_bytes = row_bytes + gap};
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
