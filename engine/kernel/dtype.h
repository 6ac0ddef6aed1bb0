/* dtype.h - storage types of tensors, as safetensors and GGUF know them, and a view of a stored matrix.
 *
 * A `struct mat` never owns memory: it points into a mapped file or an arena. Row-major [rows, cols] = [out, in] as torch.nn.Linear.
 */
#ifndef GM_KERNEL_DTYPE_H
#define GM_KERNEL_DTYPE_H

#include "engine/base/error.h"

#include <stdint.h>

enum dtype { /* weights first */
    DT_F32, DT_F16, DT_BF16,
    DT_Q4_0, DT_Q4_1, DT_Q5_0, DT_Q5_1, DT_Q8_0,
    DT_Q2_K, DT_Q3_K, DT_Q4_K, DT_Q5_K, DT_Q6_K, DT_IQ4_NL, DT_IQ4_XS, DT_MXFP4,
    DT_I8, DT_U8, DT_I16, DT_I32, DT_I64, DT_F64, DT_BOOL, DT_U16, DT_U32, DT_U64,
    /* MLX: codes alone, scales and biases lie elsewhere (struct mat); files call the codes U32. */
    DT_MLX2, DT_MLX3, DT_MLX4, DT_MLX5, DT_MLX6, DT_MLX8, DT_MLX_FP4,
    DT_COUNT
};

const char *dtype_name(enum dtype t);        /* "F32", "BF16", "Q4_1" */
int dtype_block(enum dtype t);               /* elements of one block: 1, 32 or 256 */
size_t dtype_block_bytes(enum dtype t);      /* bytes of one block */
bool dtype_is_weight(enum dtype t);          /* dtype_to_f32 can expand it */
/* Bytes of a row of n elements; false when n is no multiple of the block or the product wraps. */
bool dtype_row_bytes(enum dtype t, size_t n, size_t *bytes);

/* Expands n elements starting at a block border; exact (each stored value is one f32). */
void dtype_to_f32(enum dtype t, const void *src, float *dst, size_t n);
float f16_to_f32(uint16_t h);
uint16_t f32_to_f16(float f);                /* round to nearest even, overflow to infinity */
static inline float bf16_to_f32(uint16_t h)
{
    union { uint32_t u; float f; } v = {.u = (uint32_t)h << 16};
    return v.f;
}
static inline uint16_t f32_to_bf16(float f)  /* round to nearest even; NaN stays a quiet NaN */
{
    union { float f; uint32_t u; } v = {.f = f};
    if ((v.u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)((v.u >> 16) | 0x40u);
    return (uint16_t)((v.u + 0x7fffu + ((v.u >> 16) & 1u)) >> 16);
}

struct panels;
struct mat {
    const void *data;
    enum dtype type;
    int64_t rows, cols;
    size_t row_bytes; /* distance of two rows */
    /* DT_MLX*: w[o,k] = scales[o, k/group] code + biases[o, k/group]; rows of cols/group values, dense. DT_MLX_FP4: scales are
     * E8M0 bytes of 32 E2M1 codes each, no biases. */
    const void *scales, *biases;
    enum dtype scale_type; /* F32, F16 or BF16; U8 with DT_MLX_FP4 */
    int group;             /* 32, 64 or 128 */
    const struct panels *panels; /* the same numbers packed, for products with few rows (panels.h); NULL: none */
};
struct mat mat_f32(const float *data, int64_t rows, int64_t cols);
bool dtype_is_mlx(enum dtype t);
enum dtype dtype_mlx(int bits);  /* affine codes of 2, 3, 4, 5, 6 or 8 bits; DT_COUNT for others */
size_t mat_bytes(const struct mat *m); /* as stored, scales and biases included */
struct mat mat_rows(const struct mat *m, int64_t first, int64_t rows); /* a view of some rows */
void mat_row_to_f32(const struct mat *m, int64_t row, float *dst); /* cols floats */
/* Values col .. col+n-1 of a row; col is a multiple of the type's block (32 for MLX), any n that ends inside the row. What every kernel
 * that has no faster way for a type calls. */
void mat_part_to_f32(const struct mat *m, int64_t row, int64_t col, int64_t n, float *dst);

#endif
