/* matmul_avx512_rows.c - products with few rows (decoding), and the row functions of the head, with AVX-512. */
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

enum { ROWS_AT_ONCE = 4 };

/* ROWS_AT_ONCE rows of w with T rows of x. Sums run over even, then odd elements of each 32: the same order for any T and cut. */
VEC void small_rows(float *y, int64_t ldy, const float *x, int64_t ldx, const int T, const struct mat *w, const int64_t rows[ROWS_AT_ONCE],
                    int n, bool accumulate)
{
    _Alignas(64) uint16_t values[ROWS_AT_ONCE][KC];
    __m512 sum[ROWS_AT_ONCE][SMALL_ROWS];
    for (int r = 0; r < ROWS_AT_ONCE; r++) {
        for (int t = 0; t < T; t++)
            sum[r][t] = _mm512_setzero_ps();
    }
    for (int64_t k0 = 0; k0 < w->cols; k0 += KC) {
        int k = w->cols - k0 < KC ? (int)(w->cols - k0) : KC;
        for (int r = 0; r < ROWS_AT_ONCE; r++)
            avx512_expand(w, rows[r], k0, k, values[r]);
        for (int i = 0; i < k; i += 32) {
            const float *at = x + k0 + i;
#pragma GCC unroll 4
            for (int r = 0; r < ROWS_AT_ONCE; r++) {
                __m512i pairs = _mm512_load_si512(values[r] + i);
                __m512 even = _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
                __m512 odd = _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32((int)0xffff0000)));
#pragma GCC unroll 8
                for (int t = 0; t < T; t++) {
                    sum[r][t] = _mm512_fmadd_ps(even, _mm512_loadu_ps(at + t * ldx), sum[r][t]);
                    sum[r][t] = _mm512_fmadd_ps(odd, _mm512_loadu_ps(at + t * ldx + 16), sum[r][t]);
                }
            }
        }
    }
    for (int r = 0; r < n; r++) {
        for (int t = 0; t < T; t++) {
            float *to = y + t * ldy + rows[r], total = _mm512_reduce_add_ps(sum[r][t]);
            *to = accumulate ? *to + total : total;
        }
    }
}

void avx512_small(float *y, int64_t ldy, const float *x, int64_t ldx, int T, const struct mat *w, int64_t n0, int n, bool accumulate)
{
    for (int i = 0; i < n; i += ROWS_AT_ONCE) {
        int64_t rows[ROWS_AT_ONCE];
        int have = n - i < ROWS_AT_ONCE ? n - i : ROWS_AT_ONCE;
        for (int r = 0; r < ROWS_AT_ONCE; r++) /* behind the end: the last row again, not stored */
            rows[r] = n0 + i + (r < have ? r : have - 1);
        int done = 0; /* rows of x: at most 4 at once, or the sums leave the registers; w is in the first cache the second time */
        while (done < T) {
            int now = T - done < 4 ? T - done : 4;
            float *to = y + done * ldy;
            const float *from = x + done * ldx;
            switch (now) {
            case 1: small_rows(to, ldy, from, ldx, 1, w, rows, have, accumulate); break;
            case 2: small_rows(to, ldy, from, ldx, 2, w, rows, have, accumulate); break;
            case 3: small_rows(to, ldy, from, ldx, 3, w, rows, have, accumulate); break;
            default: small_rows(to, ldy, from, ldx, 4, w, rows, have, accumulate); break;
            }
            done += now;
        }
    }
}
#endif
