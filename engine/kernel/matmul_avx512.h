/* matmul_avx512.h - private: packing and row kernels that the three AVX-512 families (avx512f, avx512bf16, amx) share. */
#ifndef GM_KERNEL_MATMUL_AVX512_H
#define GM_KERNEL_MATMUL_AVX512_H

#include "engine/kernel/table.h"

void avx512_pack_nt_vnni(void *panel, const struct mat *w, int64_t n0, int n, int64_t k0, int k);
void avx512_pack_nn_vnni(void *panel, const struct mat *w, int64_t n0, int n, int64_t k0, int k);
void avx512_pack_nt_f32(void *panel, const struct mat *w, int64_t n0, int n, int64_t k0, int k);
void avx512_pack_nn_f32(void *panel, const struct mat *w, int64_t n0, int n, int64_t k0, int k);
void avx512_convert_bf16(void *dst, int64_t ld, const float *src, int64_t lds, int64_t rows, int64_t k, int64_t kpad);
void avx512_convert_f32(void *dst, int64_t ld, const float *src, int64_t lds, int64_t rows, int64_t k, int64_t kpad);
void avx512_convert_small(float *dst, int64_t ld, const float *src, int64_t lds, int rows, int64_t k);
void avx512_small(float *y, int64_t ldy, const float *x, int64_t ldx, int T, const struct mat *w, int64_t n0, int n, bool accumulate);
void avx512_softmax_row(uint16_t *e, float *l, int n, float softcap, float *max, float *sum);
void avx512_scale_row(float *dst, const uint16_t *e, float factor, int n);
/* Values of one stored row from column col, as bf16; zeros up to a multiple of 32. n <= KC, col at a block border (of 256 at most). */
void avx512_expand(const struct mat *w, int64_t row, int64_t col, int n, uint16_t *dst);

#endif
