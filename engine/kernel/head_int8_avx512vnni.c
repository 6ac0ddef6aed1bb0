/* head_int8_avx512vnni.c - the same by vpdpbusd: unsigned bytes of x times signed bytes of the head. */
#include "engine/kernel/head_int8_kernels.h"

#include "engine/kernel/compute.h"

#if defined(__AVX512VNNI__)
#include <immintrin.h>
#include <math.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
enum { ROWS_MAX = 8 };

INLINE __m512i four_bytes(const uint8_t *x)
{
    int word;
    memcpy(&word, x, sizeof word);
    return _mm512_set1_epi32(word);
}

INLINE void finish(const struct int8_panel *p, const struct int8_row *x, __m512i high, __m512i low)
{
    const __mmask16 m = (__mmask16)((1u << p->cols) - 1);
    const __m512i sum = _mm512_maskz_loadu_epi32(m, p->sum);
    const __m512 scale = _mm512_maskz_loadu_ps(m, p->scale), error = _mm512_maskz_loadu_ps(m, p->error), norm = _mm512_maskz_loadu_ps(m, p->norm);
    const __m512 centred = _mm512_cvtepi32_ps(_mm512_sub_epi32(high, _mm512_slli_epi32(sum, 7)));
    const __m512 whole = _mm512_add_ps(_mm512_mul_ps(_mm512_set1_ps(256), centred), _mm512_cvtepi32_ps(low));
    const __m512 logit = _mm512_mul_ps(whole, _mm512_mul_ps(scale, _mm512_set1_ps(x->step)));
    const __m512 off = _mm512_add_ps(_mm512_mul_ps(error, _mm512_set1_ps(x->reach)), _mm512_mul_ps(norm, _mm512_set1_ps(x->spread)));
    _mm512_mask_storeu_ps(x->logits, m, logit);
    *x->least = _mm512_mask_reduce_max_ps(m, _mm512_sub_ps(logit, off));
    *x->most = _mm512_mask_reduce_max_ps(m, _mm512_add_ps(logit, off));
}

/* One step of four bytes each. */
INLINE void add(__m512i high[ROWS_MAX], __m512i low[ROWS_MAX], const int8_t *q, const uint8_t *x, const int R)
{
    const __m512i weights = _mm512_load_si512(q);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
        high[r] = _mm512_dpbusd_epi32(high[r], four_bytes(x + 8 * r), weights);
        low[r] = _mm512_dpbusd_epi32(low[r], four_bytes(x + 8 * r + 4), weights);
    }
}

/* R of n rows. With few of them sums go in two chains, since each must wait for the one before. */
INLINE void score(const struct int8_panel *p, const uint8_t *x, const struct int8_row *rows, int n, const int R)
{
    const int chains = R <= 2 ? 2 : 1;
    __m512i high[2][ROWS_MAX], low[2][ROWS_MAX];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
        high[0][r] = high[1][r] = low[0][r] = low[1][r] = _mm512_setzero_si512();
    int k = 0;
    for (; k + 4 * chains <= p->kpad; k += 4 * chains)
#pragma GCC unroll 2
        for (int i = 0; i < chains; i++) {
            if (p->next)
                _mm_prefetch((const char *)p->next + (k + 4 * i) * INT8_PANEL, _MM_HINT_T0);
            add(high[i], low[i], p->q + (k + 4 * i) * INT8_PANEL, x + (k / 4 + i) * n * 8, R);
        }
    for (; k < p->kpad; k += 4)
        add(high[0], low[0], p->q + k * INT8_PANEL, x + k / 4 * n * 8, R);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
        finish(p, &rows[r], _mm512_add_epi32(high[0][r], high[1][r]), _mm512_add_epi32(low[0][r], low[1][r]));
}

static void score_rows(const struct int8_panel *panel, const uint8_t *x, const struct int8_row *rows, int n)
{
    struct int8_panel p = *panel;
    for (int r = 0, taken; r < n; r += taken, p.next = NULL) {
        const int left = n - r;
        taken = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
        if (taken == 8)
            score(&p, x + 8 * r, rows + r, n, 8);
        else if (taken == 4)
            score(&p, x + 8 * r, rows + r, n, 4);
        else if (taken == 2)
            score(&p, x + 8 * r, rows + r, n, 2);
        else
            score(&p, x + 8 * r, rows + r, n, 1);
    }
}

int8_score_fn int8_score_avx512vnni(void)
{
    return family_runs_here(FAMILY_AVX512F) && __builtin_cpu_supports("avx512vnni") ? score_rows : NULL;
}
#else
int8_score_fn int8_score_avx512vnni(void)
{
    return NULL;
}
#endif
