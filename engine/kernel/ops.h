/* ops.h - the element-wise kernels of a decoder layer, forward and backward, f32, threaded, each with a plain twin (plain_*).
 *
 * T rows (tokens). Arrays are row-major and dense unless a stride is given. "+=" functions accumulate into their output.
 * Formulas: RMSNorm, Zhang & Sennrich 2019; RoPE rotate-half, Su et al. 2021; GLU, Shazeer 2020; AdamW, Loshchilov & Hutter 2019.
 */
#ifndef GM_KERNEL_OPS_H
#define GM_KERNEL_OPS_H

#include "engine/kernel/compute.h"

enum activation { ACT_SILU, ACT_GELU_TANH };

/* y_i = x_i r w_i with r = 1/sqrt(mean(x²)+eps), over rows of n; w already holds the +1 of Gemma. `rows` may be T*heads (ldx = distance of
 * two rows, so q/k norms work in place on a [T, heads*D] array with rows = T*heads, n = D). rstd (may be NULL) [rows]. y may be x. */
void rmsnorm(const struct compute *c, float *y, float *rstd, const float *x, const float *w, int64_t rows, int64_t n, float eps);
/* dx (+)= dy/dx; dw (may be NULL) += sum over rows. x is the input of the forward pass. dx may be dy when not accumulating. */
void rmsnorm_backward(const struct compute *c, float *dx, float *dw, const float *dy, const float *x, const float *rstd,
                      const float *w, int64_t rows, int64_t n, bool accumulate);

/* Rotary table: cos and sin [n_positions, half] f32, of angle = position * frequencies[i] computed in double, times `scale`.
 * A head is `head_dim` wide; its first 2*half numbers turn in pairs (i, i + half), the rest stays. */
struct rope_table {
    float *cos, *sin;
    int64_t n_positions;
    int half, head_dim;
};
bool rope_table_init(struct rope_table *t, int64_t n_positions, int head_dim, int half, const double *frequencies, double scale,
                     struct gm_error *err);
void rope_table_free(struct rope_table *t);
/* Rotates x [T, n_heads, head_dim] in place (row stride ldx floats) by positions[t]; inverse = backward (the transpose). Positions must be
 * < n_positions. */
void rope(const struct compute *c, float *x, int64_t ldx, const int32_t *positions, int64_t T, int n_heads,
          const struct rope_table *t, bool inverse);

/* h = act(gate) * up, [T, n] */
void glu(const struct compute *c, float *h, const float *gate, const float *up, int64_t count, enum activation act);

void add_inplace(const struct compute *c, float *y, const float *x, int64_t count);             /* y += x */
void scale_inplace(const struct compute *c, float *y, float s, int64_t count);
void to_bf16(const struct compute *c, uint16_t *dst, const float *src, int64_t count);
/* x[t,:] = scale * E[ids[t],:]; E in any storage type, [V, d]. */
void embed_rows(const struct compute *c, float *x, const struct mat *embed, const int32_t *ids, int64_t T, float scale);
/* dE[ids[t],:] += scale * dx[t,:], in token order (full fine-tuning). */
void embed_backward(float *d_embed, const float *dx, const int32_t *ids, int64_t T, int64_t d, float scale);

double sum_squares(const struct compute *c, const float *x, int64_t count); /* fixed order, double */

struct adam {
    float lr, beta1, beta2, eps, weight_decay;
    float bias1, bias2; /* 1 - beta^t, or 1 when bias correction is off */
};
/* m = b1 m + (1-b1) g s; v = b2 v + (1-b2)(g s)²; w -= lr*wd*w; w -= lr (m/bias1) / (sqrt(v/bias2) + eps).  s = gradient scale (clipping). */
void adamw_update(const struct compute *c, const struct adam *a, float *w, float *m, float *v, const float *g, float s, int64_t count);

/* The plain twins (double inside, one thread): oracles of the tests. */
void plain_rmsnorm(float *y, float *rstd, const float *x, const float *w, int64_t rows, int64_t n, float eps);
void plain_rmsnorm_backward(float *dx, float *dw, const float *dy, const float *x, const float *rstd, const float *w, int64_t rows,
                            int64_t n, bool accumulate);
void plain_rope(float *x, int64_t ldx, const int32_t *positions, int64_t T, int n_heads, const struct rope_table *t, bool inverse);
void plain_glu(float *h, const float *gate, const float *up, int64_t count, enum activation act);
void plain_embed_rows(float *x, const struct mat *embed, const int32_t *ids, int64_t T, float scale);
double plain_sum_squares(const float *x, int64_t count);
void plain_adamw_update(const struct adam *a, float *w, float *m, float *v, const float *g, float s, int64_t count);

#endif
