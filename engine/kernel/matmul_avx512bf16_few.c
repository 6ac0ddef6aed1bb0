/* matmul_avx512bf16_few.c - few rows times panels that lie packed in memory: a stream of weights, each read once.
 *
 * Every sum is one chain of vdpbf16ps over the pairs in order, as in the tile of many rows: the same bits for any number of rows.
 * One to four rows need four panels side by side to hide the latency of a sum; more rows take fewer panels, in the end one, which stays in
 * the first cache while the rows go over it. The panel behind it is asked for meanwhile, so that arithmetic and memory overlap.
 */
#include "engine/kernel/matmul_avx512.h"

#if defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#include <immintrin.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum { ROWS_MAX = 16, PANELS_MAX = 4 };

/* R rows x P panels. ahead: how far behind each cache line of the panels another one is asked for; 0: none. */
INLINE void tile(const uint16_t *a, int64_t lda, const uint16_t *b, int kpad, float *c, int64_t ldc, const int R, const int P, int cols,
                 bool accumulate, size_t ahead)
{
    const size_t panel = (size_t)kpad * PANEL;
    __m512 sum[ROWS_MAX][PANELS_MAX];
    __mmask16 mask[PANELS_MAX];
    for (int p = 0; p < P; p++)
        mask[p] = cols - PANEL * p >= PANEL ? (__mmask16)0xffff : (__mmask16)((1u << (cols - PANEL * p)) - 1);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int p = 0; p < P; p++)
            sum[r][p] = accumulate ? _mm512_maskz_loadu_ps(mask[p], c + r * ldc + PANEL * p) : _mm512_setzero_ps();
    for (int k = 0; k < kpad; k += 2, b += 2 * PANEL) {
        __m512bh value[PANELS_MAX];
#pragma GCC unroll 4
        for (int p = 0; p < P; p++) {
            const uint16_t *at = b + (size_t)p * panel;
            value[p] = (__m512bh)_mm512_load_si512(at);
            if (ahead)
                _mm_prefetch((const char *)at + ahead, _MM_HINT_T0);
        }
#pragma GCC unroll 16
        for (int r = 0; r < R; r++) {
            int pair;
            memcpy(&pair, a + r * lda + k, sizeof pair);
            const __m512bh x = (__m512bh)_mm512_set1_epi32(pair);
#pragma GCC unroll 4
            for (int p = 0; p < P; p++)
                sum[r][p] = _mm512_dpbf16_ps(sum[r][p], x, value[p]);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int p = 0; p < P; p++)
            _mm512_mask_storeu_ps(c + r * ldc + PANEL * p, mask[p], sum[r][p]);
}

#define TILE_ARGS const uint16_t *a, int64_t lda, const uint16_t *b, int kpad, float *c, int64_t ldc, int cols, bool accumulate, size_t ahead
typedef void (*tile_fn)(TILE_ARGS);
#define TILE(R, P)                                                          \
    static void tile_##R##_##P(TILE_ARGS)                                   \
    {                                                                       \
        tile(a, lda, b, kpad, c, ldc, R, P, cols, accumulate, ahead);       \
    }
TILE(1, 4) TILE(2, 4) TILE(3, 4) TILE(4, 4) TILE(5, 4) TILE(6, 4)
TILE(7, 2) TILE(8, 2) TILE(9, 2) TILE(10, 2) TILE(11, 2) TILE(12, 2)
TILE(1, 1) TILE(2, 1) TILE(3, 1) TILE(4, 1) TILE(5, 1) TILE(6, 1) TILE(7, 1) TILE(8, 1) TILE(9, 1) TILE(10, 1) TILE(11, 1) TILE(12, 1)
TILE(13, 1) TILE(14, 1) TILE(15, 1) TILE(16, 1)

static const tile_fn narrow[ROWS_MAX + 1] = {NULL,      tile_1_1,  tile_2_1,  tile_3_1,  tile_4_1,  tile_5_1,  tile_6_1,  tile_7_1, tile_8_1,
                                             tile_9_1,  tile_10_1, tile_11_1, tile_12_1, tile_13_1, tile_14_1, tile_15_1, tile_16_1};
static const struct {
    tile_fn fn;
    int panels;
} wide[ROWS_MAX + 1] = {{NULL, 1},      {tile_1_4, 4},  {tile_2_4, 4},  {tile_3_4, 4},  {tile_4_4, 4},  {tile_5_4, 4},
                        {tile_6_4, 4},  {tile_7_2, 2},  {tile_8_2, 2},  {tile_9_2, 2},  {tile_10_2, 2}, {tile_11_2, 2},
                        {tile_12_2, 2}, {tile_13_1, 1}, {tile_14_1, 1}, {tile_15_1, 1}, {tile_16_1, 1}};

void avx512bf16_few(const void *a, int64_t lda, const void *panel, int kpad, float *c, int64_t ldc, int rows, int cols, bool accumulate)
{
    const int groups = (rows + ROWS_MAX - 1) / ROWS_MAX, most = (rows + groups - 1) / groups, step = groups == 1 ? wide[most].panels : 1;
    const size_t line = (size_t)kpad * PANEL;
    for (int j = 0; j < cols;) {
        const int left = (cols - j + PANEL - 1) / PANEL, width = left >= step ? step : 1;
        const uint16_t *b = (const uint16_t *)panel + (size_t)(j / PANEL) * line;
        size_t ahead = left > width && most > 4 ? (size_t)width * line * sizeof *b : 0;
        for (int r = 0; r < rows; r += most, ahead = 0) {
            const int n = rows - r < most ? rows - r : most;
            (width == step && step > 1 ? wide[n].fn : narrow[n])((const uint16_t *)a + r * lda, lda, b, kpad, c + r * ldc + j, ldc, cols - j,
                                                                accumulate, ahead);
        }
        j += width * PANEL;
    }
}
#endif
