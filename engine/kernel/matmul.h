/* matmul.h - the three products of a transformer, weights in any storage type.
 *
 * The stored matrix W is expanded panel by panel while packing, never to memory as a whole. In BF16
 * mode both operands are rounded to bf16 (nearest even) and summed in f32 in a fixed order; in F32
 * mode blocks of f32 go to OpenBLAS on one thread each. All strides (ldx ...) count elements.
 * `accumulate`: add to what is there. Shapes: T rows of activations.
 *
 *     matmul_nt(c, y, out, x, in, T, &w, false);     y[T,out] = x[T,in] Wᵀ       forward
 *     matmul_nn(c, dx, in, dy, out, T, &w, true);    dx[T,in] += dy[T,out] W     to the input
 *     matmul_tn(c, dw, n, a, lda, m, b, ldb, n, T, s, true);
 *                                                    dw[m,n] += s aᵀ[m,T] b[T,n] to a weight
 *
 * T of 1..4 is not packed: W is read once, row by row (decoding is bound by memory). Thin products
 * (LoRA: rank 4..64 as rows or cols) have ways of their own; give those of one input in one call.
 *
 * In BF16 mode activations may be bf16, in and out (a_type, y_type: DT_F32, which is 0, or DT_BF16). The bits are
 * those of the same values given as f32: a rounded input is not rounded again, an output is summed
 * in f32 and rounded once. F32 mode takes f32 alone.
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
/* Up to 8 gradients of one batch in one go, the way for adapters: sides of up to 64 columns are
 * transposed together, a wide side that several name (x of q, k and v) is packed once.
 *     dA_i += s dz_iᵀ x      {.dw = dA_i, .a = dz_i, .m = rank, .b = x, .n = in, .scale = s ...}
 *     dB_i += s g_iᵀ z_i     {.dw = dB_i, .a = g_i, .m = out, .b = z_i, .n = rank, .scale = s ...}
 * Gradients must not overlap. */
enum { MATMUL_GRADIENTS = 8 };
struct matmul_gradient {
    float *dw; /* [m, n] */
    int64_t lddw;
    const void *a, *b; /* [T, m] and [T, n] */
    enum dtype a_type, b_type;
    int64_t lda, ldb, m, n;
    float scale;
};
void matmul_tn_joined(const struct compute *c, const struct matmul_gradient *gradients, int n,
                      int64_t T, bool accumulate);

/* A bf16 operand is used where it lies, not converted, by the families whose products take pairs of
 * bf16, when its rows lie a multiple of 32 elements, and at least matmul_stride(depth), apart. Who
 * lays rows out so promises:
 *   - matmul_rows(T) rows are readable (what stands in those behind T does not matter);
 *   - in every row, what stands behind `depth` up to the next multiple of 32 is finite: 0, say.
 * A buffer that mem_new or an arena gave, of matmul_rows(T) * matmul_stride(depth) elements, keeps
 * both. Parts of such rows (columns 32 i ... of a wider buffer) do, too. Rows that lie closer are
 * copied first. */
int64_t matmul_stride(int64_t depth); /* elements; never a power of two (cache sets) */
int64_t matmul_rows(int64_t T);

/* Joined products: up to 8 outputs at once, each a sum of up to 8 terms,
 *     y (+)= sum of a_i W_iᵀ (nt)    or    y (+)= sum of a_i W_i (nn).
 * Terms that name the same a share its conversion, and a sum is added while its block of y is in
 * the cache. LoRA wants this, a weight and its factors in one go:
 *     y_q = x Wqᵀ + z_q Bqᵀ, y_k = x Wkᵀ + z_k Bkᵀ        (nt; z_q = s x Aqᵀ was made before)
 *     dx = dy_q Wq + dz_q Aq + dy_k Wk + dz_k Ak          (nn)
 */
enum { MATMUL_OUTPUTS = 8, MATMUL_TERMS = 8 };
struct matmul_term {
    const void *a; /* [T, depth] of a_type */
    int64_t lda;
    const struct mat *w;
    enum dtype a_type; /* DT_F32 or DT_BF16 */
};
struct matmul_output {
    void *y; /* [T, columns] of y_type; must not overlap any a */
    int64_t ldy;
    enum dtype y_type; /* DT_F32 or DT_BF16 */
    bool accumulate;   /* not with a bf16 y: it would be rounded twice */
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
