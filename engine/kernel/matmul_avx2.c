/* matmul_avx2.c - the family avx2 (with FMA and F16C): f32 panels that hold bf16 values, 6 rows x
 * 16 columns of sums in registers. */
#include "engine/kernel/table.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include <assert.h>
#include <immintrin.h>
#include <string.h>

#define GM_VW 8
#define GM_PAIRS 0
#include "engine/kernel/ops_vec.inc"
#include "engine/kernel/head_rows.inc"

#include "engine/kernel/matmul_avx2_expand.inc"

/* 8 rows x 8 columns, transposed to rows of a panel. */
INLINE void transpose_8(const float *const rows[8], int k, float *panel)
{
    __m256 r[8], s[8];
    for (int i = 0; i < 8; i++) /* rows i and i+4 side by side: the rest stays inside lanes */
        r[i] =
            _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(rows[i % 4] + k + i / 4 * 4)),
                                 _mm_loadu_ps(rows[i % 4 + 4] + k + i / 4 * 4), 1);
    for (int h = 0; h < 8; h += 4) {
        __m256 ab = _mm256_unpacklo_ps(r[h], r[h + 1]), AB = _mm256_unpackhi_ps(r[h], r[h + 1]);
        __m256 cd = _mm256_unpacklo_ps(r[h + 2], r[h + 3]),
               CD = _mm256_unpackhi_ps(r[h + 2], r[h + 3]);
        s[h] = _mm256_shuffle_ps(ab, cd, 0x44), s[h + 1] = _mm256_shuffle_ps(ab, cd, 0xee);
        s[h + 2] = _mm256_shuffle_ps(AB, CD, 0x44), s[h + 3] = _mm256_shuffle_ps(AB, CD, 0xee);
    }
    for (int i = 0; i < 8; i++)
        _mm256_store_ps(panel + (size_t)i * PANEL, s[i]);
}

static void pack_nt(void *panel, const struct mat *w, int64_t n0, int n, int64_t k0, int k)
{
    _Alignas(32) float buffer[8][KC];
    _Alignas(32) static const float nothing[KC];
    int kpad = (k + 31) & ~31;
    for (int j = 0; j < (n + PANEL - 1) / PANEL * PANEL; j += 8) {
        const float *rows[8];
        for (int i = 0; i < 8; i++) {
            rows[i] = nothing;
            if (j + i < n) {
                expand(w, n0 + j + i, k0, k, buffer[i]);
                rows[i] = buffer[i];
            }
        }
        float *to = (float *)panel + (size_t)(j / PANEL) * (size_t)kpad * PANEL + j % PANEL;
        for (int kk = 0; kk < kpad; kk += 8)
            transpose_8(rows, kk, to + (size_t)kk * PANEL);
    }
}

#include "engine/kernel/pack_nn_f32.inc"

static void convert(void *dst, int64_t ld, const float *src, int64_t lds, int64_t rows, int64_t k,
                    int64_t kpad)
{
    for (int64_t r = 0; r < rows; r++) {
        float *to = (float *)dst + r * ld;
        const float *from = src + r * lds;
        int64_t i = 0;
        for (; i + 8 <= k; i += 8)
            _mm256_storeu_ps(to + i, rounded(_mm256_loadu_ps(from + i)));
        for (; i < k; i++)
            to[i] = bf16_to_f32(f32_to_bf16(from[i]));
        for (; i < kpad; i++)
            to[i] = 0;
    }
}

static void round_rows(uint16_t *dst, int64_t ld, const float *src, int64_t lds, int64_t rows,
                       int64_t cols)
{
    for (int64_t r = 0; r < rows; r++) {
        int64_t i = 0;
        for (; i + 8 <= cols; i += 8) {
            __m256i u = _mm256_srli_epi32(
                _mm256_castps_si256(rounded(_mm256_loadu_ps(src + r * lds + i))), 16);
            _mm_storeu_si128((__m128i *)(void *)(dst + r * ld + i),
                             _mm_packus_epi32(_mm256_castsi256_si128(u),
                                              _mm256_extracti128_si256(u, 1)));
        }
        for (; i < cols; i++)
            dst[r * ld + i] = f32_to_bf16(src[r * lds + i]);
    }
}

enum { ROWS = 6 };

/* 6 rows x 1 panel. Rows behind the last are the last one again, not stored. */
static void tile(const struct block_sum *s, int r0, int j)
{
    const int rows = s->rows - r0 < ROWS ? s->rows - r0 : ROWS, cols = s->cols - j < PANEL ? s->cols - j : PANEL;
    __m256 low[ROWS], high[ROWS];
    float edge[ROWS][PANEL] = {{0}};
    for (int r = 0; r < rows && s->from; r++)
        memcpy(edge[r], s->from + (r0 + r) * s->ld_from + j, (size_t)cols * sizeof(float));
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++) {
        low[r] = _mm256_loadu_ps(edge[r]);
        high[r] = _mm256_loadu_ps(edge[r] + 8);
    }
    for (const struct slice *part = s->slices; part < s->slices + s->n_slices; part++) {
        const float *b = (const float *)part->panel + (size_t)j * (size_t)part->kpad, *row[ROWS];
#pragma GCC unroll 6
        for (int r = 0; r < ROWS; r++)
            row[r] = (const float *)part->a + (r0 + (r < rows ? r : rows - 1)) * part->lda;
        for (int k = 0; k < part->k; k++, b += PANEL) {
            __m256 b0 = _mm256_load_ps(b), b1 = _mm256_load_ps(b + 8);
#pragma GCC unroll 6
            for (int r = 0; r < ROWS; r++) {
                __m256 x = _mm256_broadcast_ss(row[r] + k);
                low[r] = _mm256_fmadd_ps(x, b0, low[r]);
                high[r] = _mm256_fmadd_ps(x, b1, high[r]);
            }
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++) {
        _mm256_storeu_ps(edge[r], low[r]);
        _mm256_storeu_ps(edge[r] + 8, high[r]);
    }
    for (int r = 0; r < rows; r++) {
        const int64_t at = (r0 + r) * s->ld_to + j;
        if (s->to_bf16)
            round_rows((uint16_t *)s->to + at, 0, edge[r], 0, 1, cols);
        else
            memcpy((float *)s->to + at, edge[r], (size_t)cols * sizeof(float));
    }
}

static void sum_block(const struct block_sum *s)
{
    for (int j = 0; j < s->cols; j += PANEL)
        for (int r = 0; r < s->rows; r += ROWS)
            tile(s, r, j);
}

static void convert_small(float *dst, int64_t ld, const float *src, int64_t lds, int rows,
                          int64_t k)
{
    convert(dst, ld, src, lds, rows, k, ld);
}

enum { SMALL_W = 2 };

INLINE float lane_sum(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}

/* Two rows of w with T <= 4 rows of x. */
INLINE void small_rows(float *y, int64_t ldy, const float *x, int64_t ldx, const int T,
                       const struct mat *w, int64_t first, int n, bool accumulate)
{
    _Alignas(32) float values[SMALL_W][SMALL_STRETCH];
    __m256 sum[SMALL_W][SMALL_ROWS];
    for (int r = 0; r < SMALL_W; r++) {
        for (int t = 0; t < T; t++)
            sum[r][t] = _mm256_setzero_ps();
    }
    for (int64_t k0 = 0; k0 < w->cols; k0 += SMALL_STRETCH) {
        int k = w->cols - k0 < SMALL_STRETCH ? (int)(w->cols - k0) : SMALL_STRETCH;
        for (int r = 0; r < SMALL_W; r++)
            expand(w, first + (r < n ? r : n - 1), k0, k, values[r]);
        for (int i = 0; i < k; i += 8) {
#pragma GCC unroll 2
            for (int r = 0; r < SMALL_W; r++) {
                __m256 v = _mm256_load_ps(values[r] + i);
#pragma GCC unroll 4
                for (int t = 0; t < T; t++)
                    sum[r][t] =
                        _mm256_fmadd_ps(v, _mm256_loadu_ps(x + t * ldx + k0 + i), sum[r][t]);
            }
        }
    }
    for (int r = 0; r < n; r++) {
        for (int t = 0; t < T; t++) {
            float *to = y + t * ldy + first + r, total = lane_sum(sum[r][t]);
            *to = accumulate ? *to + total : total;
        }
    }
}

static void small(float *y, int64_t ldy, const float *x, int64_t ldx, int T, const struct mat *w,
                  int64_t n0, int n, bool accumulate)
{
    for (int i = 0; i < n; i += SMALL_W) {
        int have = n - i < SMALL_W ? n - i : SMALL_W;
        switch (T) {
        case 1:
            small_rows(y, ldy, x, ldx, 1, w, n0 + i, have, accumulate);
            break;
        case 2:
            small_rows(y, ldy, x, ldx, 2, w, n0 + i, have, accumulate);
            break;
        case 3:
            small_rows(y, ldy, x, ldx, 3, w, n0 + i, have, accumulate);
            break;
        default:
            small_rows(y, ldy, x, ldx, 4, w, n0 + i, have, accumulate);
            break;
        }
    }
}

static const struct kernel_table table = {
    .vnni = false,
    .pack_cost = 10,
    .block_flops = 25e6,
    .strip_flops = 100e6,
    .strip_cols = 4 * PANEL,
    .step_rows = 6,
    .pack_nt = pack_nt,
    .pack_nn = pack_nn,
    .convert = convert,
    .round_rows = round_rows,
    .sum_block = sum_block,
    .small = small,
    .convert_small = convert_small,
    .softmax_tile = softmax_tile,
    .softmax_gradient = softmax_gradient,
};

const struct kernel_table *kernel_table_avx2(void)
{
    return &table;
}
#else
const struct kernel_table *kernel_table_avx2(void)
{
    return NULL;
}
#endif
