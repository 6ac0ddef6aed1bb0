/* dtype.c - sizes of the storage types, halves, and views of stored matrices.
 *
 * What lies in a block: dtype_blocks.c (GGUF), dtype_mlx.c (MLX). Files are little-endian, and so
 * is every processor this program runs on (asserted below at compile time).
 *
 * Threads: any; no state.
 */
#include "engine/kernel/dtype_private.h"

#include <assert.h>
#include <string.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "stored tensors are read as they lie in the file");

struct type_fact {
    const char *name;
    int block;
    size_t block_bytes;
};
static const struct type_fact facts[DT_COUNT] = {
    [DT_F32] = {"F32", 1, 4},
    [DT_F16] = {"F16", 1, 2},
    [DT_BF16] = {"BF16", 1, 2},
    [DT_Q4_0] = {"Q4_0", 32, 18},
    [DT_Q4_1] = {"Q4_1", 32, 20},
    [DT_Q5_0] = {"Q5_0", 32, 22},
    [DT_Q5_1] = {"Q5_1", 32, 24},
    [DT_Q8_0] = {"Q8_0", 32, 34},
    [DT_Q2_K] = {"Q2_K", 256, 84},
    [DT_Q3_K] = {"Q3_K", 256, 110},
    [DT_Q4_K] = {"Q4_K", 256, 144},
    [DT_Q5_K] = {"Q5_K", 256, 176},
    [DT_Q6_K] = {"Q6_K", 256, 210},
    [DT_IQ4_NL] = {"IQ4_NL", 32, 18},
    [DT_IQ4_XS] = {"IQ4_XS", 256, 136},
    [DT_MXFP4] = {"MXFP4", 32, 17},
    [DT_I8] = {"I8", 1, 1},
    [DT_U8] = {"U8", 1, 1},
    [DT_I16] = {"I16", 1, 2},
    [DT_I32] = {"I32", 1, 4},
    [DT_I64] = {"I64", 1, 8},
    [DT_F64] = {"F64", 1, 8},
    [DT_BOOL] = {"BOOL", 1, 1},
    [DT_U16] = {"U16", 1, 2},
    [DT_U32] = {"U32", 1, 4},
    [DT_U64] = {"U64", 1, 8},
    [DT_MLX2] = {"MLX2", 32, 8},
    [DT_MLX3] = {"MLX3", 32, 12},
    [DT_MLX4] = {"MLX4", 32, 16},
    [DT_MLX5] = {"MLX5", 32, 20},
    [DT_MLX6] = {"MLX6", 32, 24},
    [DT_MLX8] = {"MLX8", 32, 32},
    [DT_MLX_FP4] = {"MLX_FP4", 32, 16},
};

static const struct type_fact *fact(enum dtype t)
{
    assert((unsigned)t < DT_COUNT);
    return &facts[t];
}

const char *dtype_name(enum dtype t)
{
    return fact(t)->name;
}

int dtype_block(enum dtype t)
{
    return fact(t)->block;
}

size_t dtype_block_bytes(enum dtype t)
{
    return fact(t)->block_bytes;
}

bool dtype_row_bytes(enum dtype t, size_t n, size_t *bytes)
{
    const struct type_fact *f = fact(t);
    if (n % (size_t)f->block != 0)
        return false;
    return !__builtin_mul_overflow(n / (size_t)f->block, f->block_bytes, bytes);
}

/* The bits of the half, moved to where a float keeps them, are the value times 2^-112: also for
 * subnormal halves. */
float f16_to_f32(uint16_t h)
{
    union {
        uint32_t u;
        float f;
    } v = {.u = (uint32_t)(h & 0x7fffu) << 13};
    v.f *= 0x1p112f;
    if ((h & 0x7c00u) == 0x7c00u)
        v.u |= 0x7f800000u;
    v.u |= (uint32_t)(h & 0x8000u) << 16;
    return v.f;
}

uint16_t f32_to_f16(float f)
{
    union {
        float f;
        uint32_t u;
    } v = {.f = f};
    uint32_t sign = v.u >> 16 & 0x8000u;
    v.u &= 0x7fffffffu;
    if (v.u > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | (v.u >> 13 & 0x1ffu));
    if (v.u >= 0x477ff000u) /* 65520 and more round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (v.u < 0x38800000u) { /* below 2^-14: adding 0.5 makes the processor round at 2^-24, the last
                                bit of a subnormal half */
        v.f += 0.5f;
        return (uint16_t)(sign | (v.u - 0x3f000000u));
    }
    v.u += 0xfffu + (v.u >> 13 & 1u);
    return (uint16_t)(sign | ((v.u - 0x38000000u) >> 13));
}

bool dtype_is_weight(enum dtype t)
{
    return (unsigned)t <= DT_MXFP4;
}

void dtype_to_f32(enum dtype t, const void *src, float *dst, size_t n)
{
    const unsigned char *b = src;
    if (t == DT_F32) {
        memcpy(dst, src, n * sizeof *dst);
    } else if (t == DT_BF16 ||
               t == DT_F16) { /* through memcpy: a tensor in a file need not be aligned */
        for (size_t i = 0; i < n; i++) {
            uint16_t h;
            memcpy(&h, b + 2 * i, 2);
            dst[i] = t == DT_BF16 ? bf16_to_f32(h) : f16_to_f32(h);
        }
    } else {
        size_t block = (size_t)dtype_block(t), bytes = dtype_block_bytes(t);
        assert(n % block == 0);
        for (size_t i = 0; i < n; i += block, b += bytes)
            dtype_expand_block(t, b, dst + i);
    }
}

struct mat mat_f32(const float *data, int64_t rows, int64_t cols)
{
    return (struct mat){.data = data,
                        .type = DT_F32,
                        .rows = rows,
                        .cols = cols,
                        .row_bytes = (size_t)cols * sizeof *data};
}

bool dtype_is_mlx(enum dtype t)
{
    return t >= DT_MLX2 && t <= DT_MLX_FP4;
}

enum dtype dtype_mlx(int bits)
{
    static const enum dtype types[9] = {[2] = DT_MLX2, [3] = DT_MLX3, [4] = DT_MLX4,
                                        [5] = DT_MLX5, [6] = DT_MLX6, [8] = DT_MLX8};
    return bits >= 2 && bits <= 8 && bits != 7 ? types[bits] : DT_COUNT;
}

/* Bytes of the scales of one row. */
static size_t scale_row_bytes(const struct mat *m)
{
    return dtype_is_mlx(m->type)
               ? (size_t)(m->cols / m->group) * dtype_block_bytes(m->scale_type)
               : 0;
}

size_t mat_bytes(const struct mat *m)
{
    return (size_t)m->rows * (m->row_bytes + scale_row_bytes(m) * (m->biases ? 2 : 1));
}

struct mat mat_rows(const struct mat *m, int64_t first, int64_t rows)
{
    assert(first >= 0 && rows >= 0 && first + rows <= m->rows);
    struct mat part = *m;
    size_t skip = (size_t)first * scale_row_bytes(m);
    part.data = (const unsigned char *)m->data + (size_t)first * m->row_bytes;
    part.rows = rows;
    part.panels = NULL;
    part.scales = m->scales ? (const unsigned char *)m->scales + skip : NULL;
    part.biases = m->biases ? (const unsigned char *)m->biases + skip : NULL;
    return part;
}

void mat_part_to_f32(const struct mat *m, int64_t row, int64_t col, int64_t n, float *dst)
{
    assert(row >= 0 && row < m->rows && col >= 0 && n >= 0 && n <= m->cols - col);
    if (dtype_is_mlx(m->type)) {
        dtype_expand_mlx(m, row, col, n, dst);
        return;
    }
    int64_t block = dtype_block(m->type), whole = n / block * block;
    assert(col % block == 0);
    const unsigned char *src = (const unsigned char *)m->data + (size_t)row * m->row_bytes +
                               (size_t)(col / block) * dtype_block_bytes(m->type);
    dtype_to_f32(m->type, src, dst, (size_t)whole);
    if (whole < n) { /* the rest is a part of a block */
        float rest[256];
        dtype_expand_block(m->type, src + (size_t)(whole / block) * dtype_block_bytes(m->type),
                           rest);
        memcpy(dst + whole, rest, (size_t)(n - whole) * sizeof *dst);
    }
}

void mat_row_to_f32(const struct mat *m, int64_t row, float *dst)
{
    mat_part_to_f32(m, row, 0, m->cols, dst);
}
