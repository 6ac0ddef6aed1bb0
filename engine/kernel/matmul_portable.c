/* matmul_portable.c - the family `plain` of the packed driver: standard C, f32 panels that hold
 * bf16 values. */
#include "engine/kernel/table.h"

#include <assert.h>
#include <string.h>

#define GM_VW 4
#define GM_PAIRS 0
#include "engine/kernel/ops_vec.inc"
#include "engine/kernel/head_rows.inc"

static inline float rounded(float f)
{
    return bf16_to_f32(f32_to_bf16(f));
}

/* n values of row `row` from column `col` (a block border) on, rounded to bf16. */
static void expand(const struct mat *w, int64_t row, int64_t col, int n, float *dst)
{
    mat_part_to_f32(w, row, col, n, dst);
    for (int i = 0; i < n; i++)
        dst[i] = rounded(dst[i]);
}

static void pack_nt(void *panel, const struct mat *w, int64_t n0, int n, int64_t k0, int k)
{
    float row[KC];
    int kpad = (k + 31) & ~31;
    int columns = (n + PANEL - 1) / PANEL * PANEL;
    for (int j = 0; j < columns; j++) {
        float *dst = (float *)panel + (size_t)(j / PANEL) * (size_t)kpad * PANEL + j % PANEL;
        memset(row, 0, sizeof row);
        if (j < n)
            expand(w, n0 + j, k0, k, row);
        for (int i = 0; i < kpad; i++)
            dst[i * PANEL] = row[i];
    }
}

#include "engine/kernel/pack_nn_f32.inc"

static void convert(void *dst, int64_t ld, const float *src, int64_t lds, int64_t rows, int64_t k,
                    int64_t kpad)
{
    for (int64_t r = 0; r < rows; r++) {
        float *to = (float *)dst + r * ld;
        for (int64_t i = 0; i < k; i++)
            to[i] = rounded(src[r * lds + i]);
        for (int64_t i = k; i < kpad; i++)
            to[i] = 0;
    }
}

static void round_rows(uint16_t *dst, int64_t ld, const float *src, int64_t lds, int64_t rows,
                       int64_t cols)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < cols; i++)
            dst[r * ld + i] = f32_to_bf16(src[r * lds + i]);
}

enum { ROWS = 4 };

/* ROWS rows x one panel: the slice's own sum, then added. Rows behind the last are padding: computed, not stored. */
static void add_slice(float sum[ROWS][PANEL], const struct slice *part, int r0, int panel)
{
    float own[ROWS][PANEL] = {{0}};
    const float *a = (const float *)part->a + r0 * part->lda,
                *b = (const float *)part->panel + (size_t)panel * (size_t)part->kpad * PANEL;
    for (int k = 0; k < part->k; k++) {
        for (int i = 0; i < ROWS; i++) {
            float x = a[i * part->lda + k];
            for (int l = 0; l < PANEL; l++)
                own[i][l] += x * b[k * PANEL + l];
        }
    }
    for (int i = 0; i < ROWS; i++)
        for (int l = 0; l < PANEL; l++)
            sum[i][l] += own[i][l];
}

static void sum_block(const struct block_sum *s)
{
    for (int j = 0; j < s->cols; j += PANEL) {
        const int cols = s->cols - j < PANEL ? s->cols - j : PANEL;
        for (int r = 0; r < s->rows; r += ROWS) {
            const int rows = s->rows - r < ROWS ? s->rows - r : ROWS;
            float sum[ROWS][PANEL] = {{0}};
            for (int i = 0; i < rows && s->from; i++)
                memcpy(sum[i], s->from + (r + i) * s->ld_from + j, (size_t)cols * sizeof(float));
            for (int n = 0; n < s->n_slices; n++)
                add_slice(sum, &s->slices[n], r, j / PANEL);
            for (int i = 0; i < rows; i++) {
                const int64_t at = (r + i) * s->ld_to + j;
                if (s->to_bf16)
                    round_rows((uint16_t *)s->to + at, 0, sum[i], 0, 1, cols);
                else
                    memcpy((float *)s->to + at, sum[i], (size_t)cols * sizeof(float));
            }
        }
    }
}

static void small(float *y, int64_t ldy, const float *x, int64_t ldx, int T, const struct mat *w,
                  int64_t n0, int n, bool accumulate)
{
    enum { LANES = 8, STRETCH = SMALL_STRETCH };
    float row[STRETCH];
    for (int64_t o = n0; o < n0 + n; o++) {
        float sum[SMALL_ROWS][LANES] = {{0}};
        for (int64_t k0 = 0; k0 < w->cols; k0 += STRETCH) {
            int k = w->cols - k0 < STRETCH ? (int)(w->cols - k0) : STRETCH;
            expand(w, o, k0, k, row);
            for (int t = 0; t < T; t++) {
                const float *v = x + t * ldx + k0;
                int i = 0;
                for (; i + LANES <= k; i += LANES) {
                    for (int l = 0; l < LANES; l++)
                        sum[t][l] += v[i + l] * row[i + l];
                }
                for (; i < k; i++)
                    sum[t][i % LANES] += v[i] * row[i];
            }
        }
        for (int t = 0; t < T; t++) {
            float *s = sum[t];
            float total = ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
            y[t * ldy + o] = accumulate ? y[t * ldy + o] + total : total;
        }
    }
}

static void convert_small(float *dst, int64_t ld, const float *src, int64_t lds, int rows,
                          int64_t k)
{
    convert(dst, ld, src, lds, rows, k, k);
}

static const struct kernel_table table = {
    .vnni = false,
    .pack_cost = 4,
    .block_flops = 2e6,
    .strip_flops = 10e6,
    .strip_cols = 4 * PANEL,
    .step_rows = 4,
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

const struct kernel_table *kernel_table_portable(void)
{
    return &table;
}
