/* matmul_avx512bf16_few.c - few rows times panels that lie packed in memory: a stream of weights, each read once.
 *
 * Every sum is one chain of vdpbf16ps over the pairs in order, as in the tile of many rows: the same bits for any number of rows.
 * One panel at a time, from one stream: what will be wanted is asked for AHEAD bytes before, which is what lets arithmetic and memory
 * overlap; the processor's own prefetching alone gives half of that with 16 rows. A single row is bound by memory alone: its loop has nothing in it but
 * the stream, which it asks for straight on, over the ends of panels and pieces, since its lane goes on there (lanes.h).
 */
#include "engine/kernel/matmul_avx512.h"

#if defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#include <immintrin.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum { ROWS_MAX = 16, AHEAD = 8192, AHEAD_ONE = 6144 };

/* Where a tile asks: from `near` on while it works at k < turn, then from `far` on; NULL: it does not. */
struct ask {
    const char *near, *far;
    int turn;
};

/* R rows of one panel, k from..to-1, added to what is in `sum`. */
INLINE void stretch(__m512 *sum, const uint16_t *a, int64_t lda, const uint16_t *b, int from, int to, const int R, const char *ask)
{
    for (int k = from; k < to; k += 2) {
        const __m512bh value = (__m512bh)_mm512_load_si512(b + (size_t)k * PANEL);
        if (ask)
            _mm_prefetch(ask + (size_t)(k - from) * PANEL * sizeof *b, _MM_HINT_T0);
#pragma GCC unroll 16
        for (int r = 0; r < R; r++) {
            int pair;
            memcpy(&pair, a + r * lda + k, sizeof pair);
            sum[r] = _mm512_dpbf16_ps(sum[r], (__m512bh)_mm512_set1_epi32(pair), value);
        }
    }
}

INLINE __mmask16 mask_of(int cols)
{
    return cols >= PANEL ? (__mmask16)0xffff : (__mmask16)((1u << cols) - 1);
}

INLINE void tile(const uint16_t *a, int64_t lda, const uint16_t *b, int kpad, float *c, int64_t ldc, const int R, int cols, bool accumulate,
                 const struct ask *ask)
{
    const __mmask16 mask = mask_of(cols);
    __m512 sum[ROWS_MAX];
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
        sum[r] = accumulate ? _mm512_maskz_loadu_ps(mask, c + r * ldc) : _mm512_setzero_ps();
    int k = 0;
    if (ask->near) {
        stretch(sum, a, lda, b, 0, ask->turn, R, ask->near);
        k = ask->turn;
    }
    if (ask->far)
        stretch(sum, a, lda, b, k, kpad, R, ask->far);
    else
        stretch(sum, a, lda, b, k, kpad, R, NULL);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
        _mm512_mask_storeu_ps(c + r * ldc, mask, sum[r]);
}

#define TILE_ARGS                                                                                                                       \
    const uint16_t *a, int64_t lda, const uint16_t *b, int kpad, float *c, int64_t ldc, int cols, bool accumulate, const struct ask *ask
typedef void (*tile_fn)(TILE_ARGS);
#define TILE(R)                                                             \
    static void tile_##R(TILE_ARGS)                                         \
    {                                                                       \
        tile(a, lda, b, kpad, c, ldc, R, cols, accumulate, ask);            \
    }
TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6) TILE(7) TILE(8) TILE(9) TILE(10) TILE(11) TILE(12) TILE(13) TILE(14) TILE(15) TILE(16)
static const tile_fn tiles[ROWS_MAX + 1] = {NULL,   tile_1, tile_2,  tile_3,  tile_4,  tile_5,  tile_6,  tile_7, tile_8,
                                            tile_9, tile_10, tile_11, tile_12, tile_13, tile_14, tile_15, tile_16};

static void one_row(const uint16_t *a, const uint16_t *b, int kpad, float *c, int cols, bool accumulate)
{
    for (int j = 0; j < cols; j += PANEL, b += (size_t)kpad * PANEL) {
        const __mmask16 mask = mask_of(cols - j);
        __m512 sum = accumulate ? _mm512_maskz_loadu_ps(mask, c + j) : _mm512_setzero_ps();
        stretch(&sum, a, 0, b, 0, kpad, 1, (const char *)b + AHEAD_ONE);
        _mm512_mask_storeu_ps(c + j, mask, sum);
    }
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
