/* matmul_plain.c - the plain twins of the three products: one thread, sums in double, every stored
 * type. Oracles of the tests. */
#include "engine/kernel/matmul.h"

#include "engine/base/mem.h"

void plain_matmul_nt(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t T,
                     const struct mat *w, bool accumulate)
{
    float *row = mem_new((size_t)w->cols + 1, sizeof *row);
    for (int64_t o = 0; o < w->rows; o++) {
        mat_row_to_f32(w, o, row);
        for (int64_t t = 0; t < T; t++) {
            double sum = accumulate ? y[t * ldy + o] : 0.0;
            for (int64_t i = 0; i < w->cols; i++)
                sum += (double)x[t * ldx + i] * row[i];
            y[t * ldy + o] = (float)sum;
        }
    }
    mem_free(row);
}

void plain_matmul_nn(float *dx, int64_t ldx, const float *dy, int64_t ldy, int64_t T,
                     const struct mat *w, bool accumulate)
{
    float *row = mem_new((size_t)w->cols + 1, sizeof *row);
    double *sum = mem_new((size_t)(T * w->cols) + 1, sizeof *sum);
    for (int64_t o = 0; o < w->rows; o++) {
        mat_row_to_f32(w, o, row);
        for (int64_t t = 0; t < T; t++) {
            for (int64_t i = 0; i < w->cols; i++)
                sum[t * w->cols + i] += (double)dy[t * ldy + o] * row[i];
        }
    }
    for (int64_t t = 0; t < T; t++) {
        for (int64_t i = 0; i < w->cols; i++)
            dx[t * ldx + i] = (float)(sum[t * w->cols + i] + (accumulate ? dx[t * ldx + i] : 0.0));
    }
    mem_free(sum);
    mem_free(row);
}

void plain_matmul_tn(float *dw, int64_t lddw, const float *a, int64_t lda, int64_t m,
                     const float *b, int64_t ldb, int64_t n, int64_t T, float scale,
                     bool accumulate)
{
    for (int64_t i = 0; i < m; i++) {
        for (int64_t j = 0; j < n; j++) {
            double sum = 0.0;
            for (int64_t t = 0; t < T; t++)
                sum += (double)a[t * lda + i] * b[t * ldb + j];
            dw[i * lddw + j] = (float)(scale * sum + (accumulate ? dw[i * lddw + j] : 0.0));
        }
    }
}
