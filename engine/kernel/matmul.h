/* matmul.h - the three products of a transformer, weights in any storage type.
 *
 * The stored matrix W is expanded panel by panel while packing, never to memory as a whole. In BF16
 * mode both operands are rounded to bf16 (nearest even) and summed in f32 in a fixed order; in F32
 * mode blocks of f32 go to OpenBLAS on one thread each. All strides (ldx ...) count floats.
 * `accumulate`: add to what is there. Shapes: T rows of activations.
 *
 *     matmul_nt(c, y, out, x, in, T, &w, false);     y[T,out] = x[T,in] Wᵀ       forward
 *     matmul_nn(c, dx, in, dy, out, T, &w, true);    dx[T,in] += dy[T,out] W     to the input
 *     matmul_tn(c, dw, n, a, lda, m, b, ldb, n, T, s, true);
 *                                                    dw[m,n] += s aᵀ[m,T] b[T,n] to a weight
 *
 * T of 1..4 is not packed: W is read once, row by row (decoding is bound by memory). Thin products
 * (LoRA: rank 4..64 as rows or cols) are supported well.
 */
#ifndef GM_KERNEL_MATMUL_H
#define GM_KERNEL_MATMUL_H

#include "engine/kernel/compute.h"

void matmul_nt(const struct compute *c, float *y, int64_t ldy, const float *x, int64_t ldx,
               int64_t T, const struct mat *w, bool accumulate);
void matmul_nn(const struct compute *c, float *dx, int64_t ldx, const float *dy, int64_t ldy,
               int64_t T, const struct mat *w, bool accumulate);
/* Always summed over T in a fixed order; in BF16 mode operands are rounded to bf16 where m*n >=
 * 4096 and T >= 16, else they stay f32. */
void matmul_tn(const struct compute *c, float *dw, int64_t lddw, const float *a, int64_t lda,
               int64_t m, const float *b, int64_t ldb, int64_t n, int64_t T, float scale,
               bool accumulate);

/* y[T,out_i] = x Wᵢᵀ for up to 8 matrices with the same input (q|k|v, gate|up, and their LoRA A): x
 * is converted once. */
void matmul_nt_multi(const struct compute *c, int n, float *const *y, const int64_t *ldy,
                     const float *x, int64_t ldx, int64_t T, const struct mat *const *w);

/* Joined products: up to 8 outputs at once, each a sum of up to 8 terms,
 *     y (+)= sum of a_i W_iᵀ (nt)    or    y (+)= sum of a_i W_i (nn).
 * Terms that name the same a share its conversion, and a sum is added while its block of y is in
 * the cache. LoRA wants this, a weight and its factors in one go:
 *     y_q = x Wqᵀ + z_q Bqᵀ, y_k = x Wkᵀ + z_k Bkᵀ        (nt; z_q = s x Aqᵀ was made before)
 *     dx = dy_q Wq + dz_q Aq + dy_k Wk + dz_k Ak          (nn)
 */
enum { MATMUL_OUTPUTS = 8, MATMUL_TERMS = 8 };
struct matmul_term {
    const float *a; /* [T, depth] */
    int64_t lda;
    const struct mat *w;
};
struct matmul_output {
    float *y; /* must not overlap any a */
    int64_t ldy;
    bool accumulate;
    int n_terms;
    struct matmul_term terms[MATMUL_TERMS];
};
void matmul_nt_joined(const struct compute *c, const struct matmul_output *outputs, int n_outputs,
                      int64_t T);
void matmul_nn_joined(const struct compute *c, const struct matmul_output *outputs, int n_outputs,
                      int64_t T);

/* The plain twins (double accumulation, one thread): oracles of the tests. */
void plain_matmul_nt(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t T,
                     const struct mat *w, bool accumulate);
void plain_matmul_nn(float *dx, int64_t ldx, const float *dy, int64_t ldy, int64_t T,
                     const struct mat *w, bool accumulate);
void plain_matmul_tn(float *dw, int64_t lddw, const float *a, int64_t lda, int64_t m,
                     const float *b, int64_t ldb, int64_t n, int64_t T, float scale,
                     bool accumulate);

#endif
