/* matmul_avx512_rows.c - the row functions of the head with AVX-512. */
#include "engine/kernel/matmul_avx512.h"

#if defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define GM_VW 16
#include "engine/kernel/ops_vec.inc"
#include "engine/kernel/head_rows.inc"

void avx512_softmax_row(uint16_t *e, float *l, int n, float softcap, float *max, float *sum)
{
    softmax_row(e, l, n, softcap, max, sum);
}

void avx512_scale_row(float *dst, const uint16_t *e, float factor, int n)
{
    scale_row(dst, e, factor, n);
}
#endif
