/* matmul_avx512bf16_few.c - few rows times panels that lie packed in memory: a stream of weights, each read once.
 *
 * Every sum is one chain of vdpbf16ps over the pairs in order, as in the tile of many rows: the same bits for any number of rows.
 * One panel at a time, from one stream: what will be wanted is asked for AHEAD bytes before, which is what lets arithmetic and memory
 * overlap; the processor's own prefetching alone gives half of that with 16 rows. A single row has too few sums to hide their latency: it takes four
 * panels side by side, and is so fast that it needs no asking.
 */
#include "engine/kernel/matmul_avx512.h"

#if defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#include <immintrin.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum { ROWS_MAX = 16, PANELS_MAX = 4, AHEAD = 8192 };

/* Where a tile asks: from `near` on while it works at k < turn, then from `far` on; NULL: it does not. */
struct ask {
    const char *near, *far;
    int turn;
};

/* R rows x P panels, k from..to-1, added to what is in `sum`. */
INLINE void stretch(__m512 sum[ROWS_MAX][PANELS_MAX], const uint16_t *a, int64_t lda, const uint16_t *b, size_t panel, int from, int to,
                    const int R, const int P, const char *ask)
{
    for (int k = from; k < to; k += 2) {
        __m512bh value[PANELS_MAX];
#pragma GCC unroll 4
        for (int p = 0; p < P; p++)
            value[p] = (__m512bh)_mm512_load_si512(b + (size_t)p * panel + (size_t)k * PANEL);
        if (ask)
            _mm_prefetch(ask + (size_t)(k - from) * PANEL * sizeof *b, _MM_HINT_T0);
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
}

INLINE void tile(const uint16_t *a, int64_t lda, const uint16_t *b, int kpad, float *c, int64_t ldc, const int R, const int P, int cols,
                 bool accumulate, const struct ask *ask)
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
    int k = 0;
    if (ask && ask->near) {
        stretch(sum, a, lda, b, panel, 0, ask->turn, R, P, ask->near);
        k = ask->turn;
    }
    if (ask && ask->far)
        stretch(sum, a, lda, b, panel, k, kpad, R, P, ask->far);
    else
        stretch(sum, a, lda, b, panel, k, kpad, R, P, NULL);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int p = 0; p < P; p++)
            _mm512_mask_storeu_ps(c + r * ldc + PANEL * p, mask[p], sum[r][p]);
}

#define TILE_ARGS                                                                                                                       \
    const uint16_t *a, int64_t lda, const uint16_t *b, int kpad, float *c, int64_t ldc, int cols, bool accumulate, const struct ask *ask
typedef void (*tile_fn)(TILE_ARGS);
#define TILE(R)                                                             \
    static void tile_##R(TILE_ARGS)                                         \
    {                                                                       \
        tile(a, lda, b, kpad, c, ldc, R, 1, cols, accumulate, ask);         \
    }
TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6) TILE(7) TILE(8) TILE(9) TILE(10) TILE(11) TILE(12) TILE(13) TILE(14) TILE(15) TILE(16)
static const tile_fn tiles[ROWS_MAX + 1] = {NULL,   tile_1, tile_2,  tile_3,  tile_4,  tile_5,  tile_6,  tile_7, tile_8,
                                            tile_9, tile_10, tile_11, tile_12, tile_13, tile_14, tile_15, tile_16};

/* One row: four panels as long as there are so many, then one. */
static void one_row(const uint16_t *a, const uint16_t *b, int kpad, float *c, int cols, bool accumulate)
{
    const size_t panel = (size_t)kpad * PANEL;
    int j = 0;
    for (; cols - j > 3 * PANEL; j += 4 * PANEL)
        tile(a, 0, b + (size_t)(j / PANEL) * panel, kpad, c + j, 0, 1, 4, cols - j, accumulate, NULL);
    for (; cols - j > PANEL; j += 2 * PANEL)
        tile(a, 0, b + (size_t)(j / PANEL) * panel, kpad, c + j, 0, 1, 2, cols - j, accumulate, NULL);
    if (cols > j)
        tile_1(a, 0, b + (size_t)(j / PANEL) * panel, kpad, c + j, 0, cols - j, accumulate, NULL);
}

void avx512bf16_few(const void *a, int64_t lda, const void *panel, int kpad, float *c, int64_t ldc, int rows, int cols, bool accumulate,
                    const void *next)
{
    if (rows == 1) {
        one_row(a, panel, kpad, c, cols, accumulate);
        return;
    }
    const int groups = (rows + ROWS_MAX - 1) / ROWS_MAX, most = (rows + groups - 1) / groups;
    const size_t line = (size_t)kpad * PANEL * sizeof(uint16_t);
    const int ahead = line < AHEAD ? (int)line : AHEAD;
    const struct ask none = {0};
    for (int j = 0; j < cols; j += PANEL) {
        const char *b = (const char *)panel + (size_t)(j / PANEL) * line;
        struct ask ask = {.near = b + ahead, .turn = kpad - ahead / (int)(PANEL * sizeof(uint16_t))};
        ask.far = cols - j > PANEL ? b + line : next;
        for (int r = 0; r < rows; r += most) {
            const int n = rows - r < most ? rows - r : most;
            tiles[n]((const uint16_t *)a + r * lda, lda, (const uint16_t *)(const void *)b, kpad, c + r * ldc + j, ldc, cols - j, accumulate,
                     r == 0 ? &ask : &none);
        }
    }
}
#endif
