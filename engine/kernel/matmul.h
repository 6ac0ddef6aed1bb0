/* matmul.h - the three products of a transformer, weights in any storage type.
 *
 * The stored matrix W is expanded panel by panel while packing, never to memory as a whole. In BF16 mode both operands are rounded to
 * bf16 (nearest even) and summed in f32 in a fixed order; in F32 mode blocks of f32 go to OpenBLAS on one thread each. All strides
 * (ldx ...) count floats. `accumulate`: add to what is there. Shapes: T rows of activations.
 *
 *     matmul_nt(c, y, out, x, in, T, &w, false);   y[T,out]  = x[T,in] Wᵀ           forward
 *     matmul_nn(c, dx, in, dy, out, T, &w, true);  dx[T,in] += dy[T,out] W           backward to the input
 *     matmul_tn(c, dw, n, a, lda, m, b, ldb, n, T, s, true);  dw[m,n] += s aᵀ[m,T] b[T,n]   gradient of a weight
 *
 * T of 1..4 is not packed: W is read once, row by row (decoding is bound by memory). Thin products (LoRA: rank 4..64 as rows or cols) are supported well.
 */
#ifndef GM_KERNEL_MATMUL_H
#define GM_KERNEL_MATMUL_H

#include "engine/kernel/compute.h"

void matmul_nt(const struct compute *c, float *y, int64_t ldy, const float *x, int64_t ldx, int64_t T,
               const struct mat *w, bool accumulate);
void matmul_nn(const struct compute *c, float *dx, int64_t ldx, const float *dy, int64_t ldy, int64_t T,
               const struct mat *w, bool accumulate);
/* Always summed over T in a fixed order; operands stay f32 in both modes unless m*n is large (full fine-tuning), where BF16 mode packs bf16. */
void matmul_tn(const struct compute *c, float *dw, int64_t lddw, const float *a, int64_t lda, int64_t m, const float *b,
               int64_t ldb, int64_t n, int64_t T, float scale, bool accumulate);

/* y[T,out_i] = x Wᵢᵀ for up to 8 matrices with the same input (q|k|v, gate|up, and their LoRA A): x is converted once. */
void matmul_nt_multi(const struct compute *c, int n, float *const *y, const int64_t *ldy, const float *x, int64_t ldx,
                     int64_t T, const struct mat *const *w);

/* dx_i[T,in_i] (+)= dy Wᵢ for up to 8 matrices with the same output (a weight and its LoRA B): dy is converted once. */
void matmul_nn_multi(const struct compute *c, int n, float *const *dx, const int64_t *ldx, const float *dy, int64_t ldy, int64_t T,
                     const struct mat *const *w, const bool *accumulate);

/* The plain twins (double accumulation, one thread): oracles of the tests. */
void plain_matmul_nt(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t T, const struct mat *w, bool accumulate);
void plain_matmul_nn(float *dx, int64_t ldx, const float *dy, int64_t ldy, int64_t T, const struct mat *w, bool accumulate);
void plain_matmul_tn(float *dw, int64_t lddw, const float *a, int64_t lda, int64_t m, const float *b, int64_t ldb,
                     int64_t n, int64_t T, float scale, bool accumulate);

#endif
