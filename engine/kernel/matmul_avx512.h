/* matmul_avx512.h - private: what the three AVX-512 families (avx512f, avx512bf16, amx) share. See
 * struct kernel_table. */
#ifndef GM_KERNEL_MATMUL_AVX512_H
#define GM_KERNEL_MATMUL_AVX512_H

#include "engine/kernel/table.h"

/* avx512_*: f32 panels. avx512bf16_*: panels of bf16 pairs. */
#define AVX512_PARTS(set)                                                                       \
    void set##_pack_nt(void *panel, const struct mat *w, int64_t n0, int n, int64_t k0, int k); \
    void set##_pack_nn(void *panel, const struct mat *w, int64_t n0, int n, int64_t k0, int k); \
    void set##_convert(void *dst, int64_t ld, const float *src, int64_t lds, int64_t rows,      \
                       int64_t k, int64_t kpad);                                                \
    void set##_round_rows(uint16_t *dst, int64_t ld, const float *src, int64_t lds,             \
                          int64_t rows, int64_t cols);                                          \
    void set##_convert_small(float *dst, int64_t ld, const float *src, int64_t lds, int rows,   \
                             int64_t k);                                                        \
    void set##_small(float *y, int64_t ldy, const float *x, int64_t ldx, int T,                 \
                     const struct mat *w, int64_t n0, int n, bool accumulate);                  \
    int64_t set##_softmax_tile(struct softmax_row *state, void *e, int64_t lde, const float *l, \
                               int64_t row, int64_t rows, int n, float softcap);                \
    void set##_softmax_gradient(float *l, float softcap, float shift, float weight)
AVX512_PARTS(avx512);
AVX512_PARTS(avx512bf16);
void avx512bf16_few(const void *a, int64_t lda, const void *panel, int kpad, float *c, int64_t ldc, int rows, int cols, bool accumulate,
                    const void *next);
void avx512bf16_transpose_bf16(void *dst, int64_t ld, const uint16_t *src, int64_t lds, int64_t rows,
                               int64_t k);
void avx512bf16_convert_transposed(void *dst, int64_t ld, const float *src, int64_t lds,
                                   int64_t rows, int64_t k, float scale);

#endif
