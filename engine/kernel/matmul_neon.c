/* matmul_neon.c - the family neon (every aarch64): f32 panels that hold bf16 values, 6 rows x 16 columns of sums in 24 of the 32 registers. */
#include "engine/kernel/table.h"

#if defined(__aarch64__) && defined(__ARM_NEON)
#include <assert.h>

#define GM_PAIRS 0
#include "engine/kernel/matmul_neon_rows.inc"

/* 4 rows x 4 columns, transposed to rows of a panel. */
INLINE void transpose_4(const float *const rows[4], int k, float *panel)
{
    float32x4_t a = vld1q_f32(rows[0] + k), b = vld1q_f32(rows[1] + k), c = vld1q_f32(rows[2] + k), d = vld1q_f32(rows[3] + k);
    float32x4_t ac0 = vzip1q_f32(a, c), ac1 = vzip2q_f32(a, c), bd0 = vzip1q_f32(b, d), bd1 = vzip2q_f32(b, d);
    vst1q_f32(panel, vzip1q_f32(ac0, bd0));
    vst1q_f32(panel + PANEL, vzip2q_f32(ac0, bd0));
    vst1q_f32(panel + 2 * PANEL, vzip1q_f32(ac1, bd1));
    vst1q_f32(panel + 3 * PANEL, vzip2q_f32(ac1, bd1));
}

static void pack_nt(void *panel, const struct mat *w, int64_t n0, int n, int64_t k0, int k)
{
    float buffer[4][KC];
    static const float nothing[KC];
    int kpad = (k + 31) & ~31;
    memset(buffer, 0, sizeof buffer); /* behind k */
    for (int j = 0; j < (n + PANEL - 1) / PANEL * PANEL; j += 4) {
        const float *rows[4];
        for (int i = 0; i < 4; i++) {
            rows[i] = nothing;
            if (j + i < n) {
                expand(w, n0 + j + i, k0, k, buffer[i]);
                rows[i] = buffer[i];
            }
        }
        float *to = (float *)panel + (size_t)(j / PANEL) * (size_t)kpad * PANEL + j % PANEL;
        for (int kk = 0; kk < kpad; kk += 4)
            transpose_4(rows, kk, to + (size_t)kk * PANEL);
    }
}

#include "engine/kernel/pack_nn_f32.inc"

static void convert(void *dst, int64_t ld, const float *src, int64_t lds, int64_t rows, int64_t k, int64_t kpad)
{
    round_floats(dst, ld, src, lds, rows, k, kpad);
}

enum { QUARTERS = PANEL / 4 };

/* 6 rows x 1 panel. Rows behind the last are the last one again, not stored. */
static void tile(const struct block_sum *s, int r0, int j)
{
    const int rows = s->rows - r0 < ROWS ? s->rows - r0 : ROWS;
    float32x4_t sum[ROWS][QUARTERS];
    float edge[ROWS][PANEL];
    load_edge(edge, s, r0, j, rows);
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
        for (int q = 0; q < QUARTERS; q++)
            sum[r][q] = vld1q_f32(edge[r] + 4 * q);
    for (const struct slice *part = s->slices; part < s->slices + s->n_slices; part++) {
        const float *b = (const float *)part->panel + (size_t)j * (size_t)part->kpad, *row[ROWS];
#pragma GCC unroll 6
        for (int r = 0; r < ROWS; r++)
            row[r] = (const float *)part->a + (r0 + (r < rows ? r : rows - 1)) * part->lda;
        for (int k = 0; k < part->k; k++, b += PANEL) {
            float32x4_t value[QUARTERS];
#pragma GCC unroll 4
            for (int q = 0; q < QUARTERS; q++)
                value[q] = vld1q_f32(b + 4 * q);
#pragma GCC unroll 6
            for (int r = 0; r < ROWS; r++) {
                float32x4_t x = vld1q_dup_f32(row[r] + k);
#pragma GCC unroll 4
                for (int q = 0; q < QUARTERS; q++)
                    sum[r][q] = vfmaq_f32(sum[r][q], x, value[q]);
            }
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
        for (int q = 0; q < QUARTERS; q++)
            vst1q_f32(edge[r] + 4 * q, sum[r][q]);
    store_edge(edge, s, r0, j, rows);
}

static void sum_block(const struct block_sum *s)
{
    for (int j = 0; j < s->cols; j += PANEL)
        for (int r = 0; r < s->rows; r += ROWS)
            tile(s, r, j);
}

static const struct kernel_table table = {
    .vnni = false,
    .pack_cost = 10,
    .block_flops = 10e6, /* small boards have cores of 10 GFLOP/s */
    .strip_flops = 30e6,
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

const struct kernel_table *kernel_table_neon(void)
{
    return &table;
}
#else
const struct kernel_table *kernel_table_neon(void)
{
    return NULL;
}
#endif
