/* matmul_neonbf16.c - the family neonbf16: BFMMLA (Armv8.6, or 8.2 with FEAT_BF16), which multiplies 2 rows by 2 columns, 4 deep.
 *
 * A panel of 16 columns holds, for every 4 of the sum, 16 quads: panel[p][kpad/4][16][4]; two quads side by side are a right operand. Left operands are bf16,
 * row-major: the quads of two rows are zipped on the way. Sums: 6 rows x 16 columns in 24 registers of 2 x 2. The instruction
 * adds two products of pairs to a sum, each step rounded to odd: a little less exact than f32, and the same on all processors.
 */
#include "engine/kernel/table.h"

#if defined(__aarch64__) && defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
#include <assert.h>

#define GM_PAIRS 1
#include "engine/kernel/matmul_neon_rows.inc"

INLINE uint16x8_t bf16_of(float32x4_t low, float32x4_t high)
{
    return vreinterpretq_u16_bf16(vcvtq_high_bf16_f32(vcvtq_low_bf16_f32(low), high));
}

/* n values of a row as bf16, zeros up to the next multiple of 8 at least. */
static void expand_bf16(const struct mat *w, int64_t row, int64_t col, int n, uint16_t *dst)
{
    if (w->type == DT_BF16) {
        memcpy(dst, (const unsigned char *)w->data + (size_t)row * w->row_bytes + (size_t)col * 2, (size_t)n * 2);
        for (; n % 8 != 0; n++)
            dst[n] = 0;
        return;
    }
    float values[KC];
    expand(w, row, col, n, values);
    for (int i = 0; i < n; i += 8)
        vst1q_u16(dst + i, bf16_of(vld1q_f32(values + i), vld1q_f32(values + i + 4)));
}

static void pack_nt(void *panel, const struct mat *w, int64_t n0, int n, int64_t k0, int k)
{
    uint16_t row[KC];
    int kpad = (k + 31) & ~31;
    memset(row, 0, sizeof row); /* behind k */
    for (int j = 0; j < (n + PANEL - 1) / PANEL * PANEL; j++) {
        if (j < n)
            expand_bf16(w, n0 + j, k0, k, row);
        else
            memset(row, 0, sizeof row);
        uint16_t *to = (uint16_t *)panel + (size_t)(j / PANEL) * (size_t)kpad * PANEL + j % PANEL * 4;
        for (int i = 0; i < kpad; i += 4, to += 4 * PANEL)
            vst1_u16(to, vld1_u16(row + i));
    }
}

static void pack_nn(void *panel, const struct mat *w, int64_t n0, int n, int64_t k0, int k)
{
    int kpad = (k + 31) & ~31, columns = (n + PANEL - 1) / PANEL * PANEL;
    uint16_t rows[4][256 + 8] = {{0}};
    assert(n <= 256);
    for (int i = 0; i < kpad; i += 4) {
        for (int r = 0; r < 4; r++) {
            if (i + r < k)
                expand_bf16(w, k0 + i + r, n0, n, rows[r]);
            else
                memset(rows[r], 0, sizeof rows[r]);
        }
        for (int j = 0; j < columns; j += 8) { /* st4: four rows to quads of columns */
            uint16x8x4_t four = {{vld1q_u16(rows[0] + j), vld1q_u16(rows[1] + j), vld1q_u16(rows[2] + j), vld1q_u16(rows[3] + j)}};
            vst4q_u16((uint16_t *)panel + (size_t)(j / PANEL) * (size_t)kpad * PANEL + (size_t)i * PANEL + (size_t)(j % PANEL) * 4, four);
        }
    }
}

static void convert(void *dst, int64_t ld, const float *src, int64_t lds, int64_t rows, int64_t k, int64_t kpad)
{
    for (int64_t r = 0; r < rows; r++) {
        uint16_t *to = (uint16_t *)dst + r * ld;
        const float *from = src + r * lds;
        int64_t i = 0;
        for (; i + 8 <= k; i += 8)
            vst1q_u16(to + i, bf16_of(vld1q_f32(from + i), vld1q_f32(from + i + 4)));
        for (; i < k; i++)
            to[i] = f32_to_bf16(from[i]);
        for (; i < kpad; i++)
            to[i] = 0;
    }
}

enum { PAIRS = ROWS / 2, QUADS = PANEL / 2 };

/* 6 rows x 1 panel. Rows behind the last are the last one again, not stored. */
static void tile(const struct block_sum *s, int r0, int j)
{
    const int rows = s->rows - r0 < ROWS ? s->rows - r0 : ROWS;
    float32x4_t sum[PAIRS][QUADS];
    float edge[ROWS][PANEL];
    load_edge(edge, s, r0, j, rows);
#pragma GCC unroll 3
    for (int p = 0; p < PAIRS; p++)
#pragma GCC unroll 8
        for (int q = 0; q < QUADS; q++)
            sum[p][q] = vcombine_f32(vld1_f32(edge[2 * p] + 2 * q), vld1_f32(edge[2 * p + 1] + 2 * q));
    for (const struct slice *part = s->slices; part < s->slices + s->n_slices; part++) {
        const uint16_t *b = (const uint16_t *)part->panel + (size_t)j * (size_t)part->kpad, *row[ROWS];
#pragma GCC unroll 6
        for (int r = 0; r < ROWS; r++)
            row[r] = (const uint16_t *)part->a + (r0 + (r < rows ? r : rows - 1)) * part->lda;
        for (int k = 0; k < part->k; k += 8, b += 8 * PANEL) {
            uint64x2_t upper[PAIRS], lower[PAIRS];
#pragma GCC unroll 3
            for (int p = 0; p < PAIRS; p++) {
                upper[p] = vreinterpretq_u64_u16(vld1q_u16(row[2 * p] + k));
                lower[p] = vreinterpretq_u64_u16(vld1q_u16(row[2 * p + 1] + k));
            }
#pragma GCC unroll 2
            for (int half = 0; half < 2; half++) {
                bfloat16x8_t left[PAIRS];
#pragma GCC unroll 3
                for (int p = 0; p < PAIRS; p++)
                    left[p] = vreinterpretq_bf16_u64(half ? vzip2q_u64(upper[p], lower[p]) : vzip1q_u64(upper[p], lower[p]));
#pragma GCC unroll 8
                for (int q = 0; q < QUADS; q++) {
                    bfloat16x8_t right = vreinterpretq_bf16_u16(vld1q_u16(b + half * 4 * PANEL + q * 8));
#pragma GCC unroll 3
                    for (int p = 0; p < PAIRS; p++)
                        sum[p][q] = vbfmmlaq_f32(sum[p][q], left[p], right);
                }
            }
        }
    }
#pragma GCC unroll 3
    for (int p = 0; p < PAIRS; p++)
#pragma GCC unroll 8
        for (int q = 0; q < QUADS; q++) {
            vst1_f32(edge[2 * p] + 2 * q, vget_low_f32(sum[p][q]));
            vst1_f32(edge[2 * p + 1] + 2 * q, vget_high_f32(sum[p][q]));
        }
    store_edge(edge, s, r0, j, rows);
}

static void sum_block(const struct block_sum *s)
{
    for (int j = 0; j < s->cols; j += PANEL)
        for (int r = 0; r < s->rows; r += ROWS)
            tile(s, r, j);
}

static const struct kernel_table table = {
    .vnni = true,
    .pack_cost = 10,
    .block_flops = 25e6,
    .strip_flops = 100e6,
    .strip_cols = 4 * PANEL,
    .step_rows = ROWS,
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

const struct kernel_table *kernel_table_neonbf16(void)
{
    return &table;
}
#else
const struct kernel_table *kernel_table_neonbf16(void)
{
    return NULL;
}
#endif
