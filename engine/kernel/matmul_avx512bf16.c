/* matmul_avx512bf16.c - the family avx512bf16: vdpbf16ps on pairs, 6 rows x 64 columns of f32 sums
 * in registers. */
#include "engine/kernel/matmul_avx512.h"

#if defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && \
    defined(__AVX512VL__)
#include <immintrin.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
enum { ROWS = 6 };

/* 6 rows x `panels` panels. Rows behind the last are the last one again, not stored. */
INLINE void tile(const uint16_t *a, int64_t lda, const uint16_t *b, int kpad, float *c, int64_t ldc,
                 int rows, int cols, const int panels, bool accumulate)
{
    const size_t panel = (size_t)kpad * PANEL;
    const uint16_t *row[ROWS];
    __m512 sum[ROWS][4];
    __mmask16 mask[4];
    for (int p = 0; p < panels; p++)
        mask[p] = cols - PANEL * p >= PANEL ? (__mmask16)0xffff
                                            : (__mmask16)((1u << (cols - PANEL * p)) - 1);
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++) {
        row[r] = a + (r < rows ? r : rows - 1) * lda;
#pragma GCC unroll 4
        for (int p = 0; p < panels; p++)
            sum[r][p] = accumulate && r < rows
                            ? _mm512_maskz_loadu_ps(mask[p], c + r * ldc + PANEL * p)
                            : _mm512_setzero_ps();
    }
    for (int k = 0; k < kpad; k += 2, b += 2 * PANEL) {
        __m512bh value[4];
#pragma GCC unroll 4
        for (int p = 0; p < panels; p++)
            value[p] = (__m512bh)_mm512_load_si512(b + (size_t)p * panel);
#pragma GCC unroll 6
        for (int r = 0; r < ROWS; r++) {
            int pair;
            memcpy(&pair, row[r] + k, sizeof pair);
            __m512bh x = (__m512bh)_mm512_set1_epi32(pair);
#pragma GCC unroll 4
            for (int p = 0; p < panels; p++)
                sum[r][p] = _mm512_dpbf16_ps(sum[r][p], x, value[p]);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++) {
        if (r >= rows)
            break;
#pragma GCC unroll 4
        for (int p = 0; p < panels; p++)
            _mm512_mask_storeu_ps(c + r * ldc + PANEL * p, mask[p], sum[r][p]);
    }
}

static void multiply(const void *a, int64_t lda, const void *panel, int kpad, float *c, int64_t ldc,
                     int rows, int cols, bool accumulate)
{
    for (int j = 0; j < cols; j += 4 * PANEL) {
        const uint16_t *b = (const uint16_t *)panel + (size_t)j * (size_t)kpad;
        int width = cols - j < 4 * PANEL ? cols - j : 4 * PANEL;
        for (int r = 0; r < rows; r += ROWS) {
            const uint16_t *x = (const uint16_t *)a + r * lda;
            float *to = c + r * ldc + j;
            int height = rows - r < ROWS ? rows - r : ROWS;
            switch ((width + PANEL - 1) / PANEL) {
            case 1:
                tile(x, lda, b, kpad, to, ldc, height, width, 1, accumulate);
                break;
            case 2:
                tile(x, lda, b, kpad, to, ldc, height, width, 2, accumulate);
                break;
            case 3:
                tile(x, lda, b, kpad, to, ldc, height, width, 3, accumulate);
                break;
            default:
                tile(x, lda, b, kpad, to, ldc, height, width, 4, accumulate);
                break;
            }
        }
    }
}

static const struct kernel_table table = {
    .vnni = true,
    .pack_cost = 6,
    .block_flops = 40e6,
    .pack_nt = avx512bf16_pack_nt,
    .pack_nn = avx512bf16_pack_nn,
    .convert = avx512bf16_convert,
    .multiply = multiply,
    .small = avx512bf16_small,
    .convert_small = avx512bf16_convert_small,
    .convert_transposed = avx512bf16_convert_transposed,
    .softmax_row = avx512_softmax_row,
    .scale_row = avx512_scale_row,
};

const struct kernel_table *kernel_table_avx512bf16(void)
{
    return &table;
}
#else
const struct kernel_table *kernel_table_avx512bf16(void)
{
    return NULL;
}
#endif
