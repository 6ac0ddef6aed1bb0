/* ops_plain.c - the plain twins of ops.h: one thread, sums and functions in double, one rounding at the end. Oracles
 * of the tests. */
#include "engine/kernel/ops_rows.h"

#include <math.h>

void plain_rmsnorm(float *y, float *rstd, const float *x, const float *w, int64_t rows, int64_t n, float eps)
{
    for (int64_t row = 0; row < rows; row++) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++)
            sum += (double)x[row * n + i] * x[row * n + i];
        double r = 1.0 / sqrt(sum / (double)n + eps);
        if (rstd)
            rstd[row] = (float)r;
        for (int64_t i = 0; i < n; i++)
            y[row * n + i] = (float)(x[row * n + i] * r * w[i]);
    }
}

void plain_rmsnorm_backward(float *dx, float *dw, const float *dy, const float *x, const float *rstd, const float *w,
                            int64_t rows, int64_t n, bool accumulate)
{
    for (int64_t i = 0; dw && i < n; i++) {
        double sum = dw[i];
        for (int64_t row = 0; row < rows; row++)
            sum += (double)dy[row * n + i] * x[row * n + i] * rstd[row];
        dw[i] = (float)sum;
    }
    for (int64_t row = 0; row < rows; row++) {
        double r = rstd[row], sum = 0;
        for (int64_t i = 0; i < n; i++)
            sum += (double)dy[row * n + i] * w[i] * x[row * n + i];
        for (int64_t i = 0; i < n; i++) {
            double d = r * w[i] * dy[row * n + i] - r * r * r / (double)n * x[row * n + i] * sum;
            dx[row * n + i] = (float)(accumulate ? dx[row * n + i] + d : d);
        }
    }
}

void plain_rope(float *x, int64_t ldx, const int32_t *positions, int64_t T, int n_heads, const struct rope_table *t, bool inverse)
{
    for (int64_t token = 0; token < T; token++)
        for (int head = 0; head < n_heads; head++)
            for (int i = 0; i < t->half; i++) {
                float *a = x + token * ldx + (int64_t)head * t->head_dim + i, *b = a + t->half;
                double c = t->cos[(int64_t)positions[token] * t->half + i], s = t->sin[(int64_t)positions[token] * t->half + i];
                double u = *a, v = *b;
                if (inverse)
                    s = -s;
                *a = (float)(u * c - v * s);
                *b = (float)(v * c + u * s);
            }
}

void plain_glu(float *h, const float *gate, const float *up, int64_t count, enum activation act)
{
    const struct gated g = {.T = 1, .n = count, .act = act, .gate = rows_in(gate, DT_F32, count), .up = rows_in(up, DT_F32, count),
                            .h = rows_of(h, DT_F32, count)};
    plain_gated(&g);
}

void plain_embed_rows(float *x, const struct mat *embed, const int32_t *ids, int64_t T, float scale)
{
    for (int64_t t = 0; t < T; t++) {
        mat_row_to_f32(embed, ids[t], x + t * embed->cols);
        for (int64_t i = 0; i < embed->cols; i++)
            x[t * embed->cols + i] *= scale;
    }
}

double plain_sum_squares(const float *x, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += (double)x[i] * x[i];
    return sum;
}

void plain_adamw_update(const struct adam *a, float *w, float *m, float *v, const float *g, float s, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        double grad = (double)g[i] * s, b1 = a->beta1, b2 = a->beta2;
        double m1 = b1 * m[i] + (1 - b1) * grad, v1 = b2 * v[i] + (1 - b2) * grad * grad;
        double weight = w[i] - (double)a->lr * a->weight_decay * w[i];
        w[i] = (float)(weight - a->lr * (m1 / a->bias1) / (sqrt(v1 / a->bias2) + a->eps));
        m[i] = (float)m1;
        v[i] = (float)v1;
    }
}
