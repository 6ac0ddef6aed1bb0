/* ops_rows.h - the element-wise work between two products of a layer, each in one pass over the rows, forward and
 * backward; threaded, with a plain twin (plain_*) each.
 *
 *     stream x, f32 ---> residual ---> products ---> heads_turn ---> attention ---> product ---> residual ---> ...
 *                                                                            products ---> gated ---> product
 *
 * What goes from one operator to the next are `struct rows`: f32, or bf16 where products round their operands anyway.
 * Arithmetic is f32; a result is rounded once, when it is stored. The residual stream x and its gradient stay f32.
 * Outputs whose rows lie further apart than they are long get zeros up to the next multiple of 32 elements, as
 * products want their operands (matmul.h).
 *
 * The caller owns all memory. Blocks of rows; bits do not depend on the threads, nor on the
 * instruction set but for what ops_vec.inc says of v_fma and v_bf16.
 *
 *     struct residual r = {.T = T, .n = d, .x = x, .branch = rows_of(o, DT_F32, d), .sum = kept, .eps = 1e-6f,
 *                          .norm = w, .normed = operand};
 *     residual(c, &r);             x += o; kept = x; operand = norm(kept)
 *
 * Formulas: ops.h.
 */
#ifndef GM_KERNEL_OPS_ROWS_H
#define GM_KERNEL_OPS_ROWS_H

#include "engine/kernel/ops.h"

struct rows {
    void *data; /* NULL: none */
    int64_t ld; /* elements between two rows */
    enum dtype type; /* DT_F32 or DT_BF16 */
};
static inline struct rows rows_of(void *data, enum dtype type, int64_t ld)
{
    return (struct rows){.data = data, .ld = ld, .type = type};
}
/* As a const pointer: what is only read. */
static inline struct rows rows_in(const void *data, enum dtype type, int64_t ld)
{
    union { const void *in; void *rows; } u = {.in = data};
    return rows_of(u.rows, type, ld);
}

/* The end of a branch and the beginning of the next one:
 *
 *     b      = branch, rounded to `rounded` where that is given (and stored there)
 *     b      = norm_branch(b) where there is one (Gemma)
 *     x     += b                              the stream; NULL: not wanted
 *     sum    = base + b, or x without a base  rounded; read instead where nothing of these three is given
 *     normed = norm(sum), by the rounded sum
 *
 * `base` is the rounded input of the layer: with it a layer that is computed again from that input gives the same sum. */
struct residual {
    int64_t T, n;
    float eps;
    float *x; /* [T, n], dense */
    struct rows branch, rounded, base, sum, normed;
    const float *norm_branch, *norm; /* [n]; NULL: none */
};
void residual(const struct compute *c, const struct residual *r);

/* The same way back:
 *
 *     dx       += norm'(d_normed) at `sum`
 *     d_branch  = norm_branch'(dx) at `branch`, or dx
 *
 * Either half may be missing (d_normed.data, d_branch.data NULL). rstd, rstd_branch [T] (NULL: not wanted): 1 / root
 * mean square of the rows, for norm_weights_backward. */
struct residual_backward {
    int64_t T, n;
    float eps;
    float *dx; /* [T, n], dense */
    struct rows d_normed, sum, branch, d_branch;
    const float *norm_branch, *norm;
    float *rstd, *rstd_branch;
};
void residual_backward(const struct compute *c, const struct residual_backward *r);

/* dw[i] += sum over rows of dy x rstd, in the order of the rows; a row holds `heads` pieces of n with an rstd each. */
void norm_weights_backward(const struct compute *c, float *dw, struct rows dy, struct rows x, const float *rstd,
                           int64_t T, int heads, int64_t n);

/* q or k, [T, heads * head_dim]: norm of each head (where there is one), then the rotation. Up to two at once; `to` may
 * be `x`. Backward: `g` is the gradient of what was turned, `to` gets that of x, and may be g; x is needed for the
 * norm alone, rstd [T, heads] may be NULL. rotate false: the norm alone. */
struct head_rows {
    struct rows x, g, to;
    int heads;
    const float *norm; /* [head_dim] or NULL */
    float *rstd;
};
struct heads {
    struct head_rows part[2];
    int n_parts;
    int64_t T;
    float eps;
    const int32_t *positions; /* [T], < table->n_positions */
    const struct rope_table *table;
    bool rotate;
};
void heads_turn(const struct compute *c, const struct heads *h);
void heads_turn_backward(const struct compute *c, const struct heads *h);

/* h = act(gate) * up, [T, n]. Backward: from dh, gate and up the three of h (computed again; NULL: not wanted), dgate
 * and dup. Element by element: any output may be any input. */
struct gated {
    int64_t T, n;
    enum activation act;
    struct rows gate, up, h, dh, dgate, dup;
};
void gated(const struct compute *c, const struct gated *g);
void gated_backward(const struct compute *c, const struct gated *g);

/* Inverted dropout: element (t, i) survives, times `scale`, when its number is at least `least`, else it is 0. Its number is
 * that of place t n + i in a Philox stream (rng.h): four of a counter, slice in its second word. Drawing is dearer than all
 * the rest, so it is done once and leaves a bit an element for the way back. y = or, with add, y += . */
struct drop {
    uint32_t key[2], stream[2], slice, least;
    float scale;
    uint64_t *kept; /* [T, drop_words(n)] bit i of a row: element i survives */
    bool draw;      /* kept is written, else read */
};
static inline int64_t drop_words(int64_t n) { return (n + 63) / 64; }
void rows_drop(const struct compute *c, struct rows y, struct rows x, int64_t T, int64_t n, const struct drop *d, bool add);
/* to = s x, [T, n], rounded to the type of `to`; may be x. */
void rows_scale(const struct compute *c, struct rows to, struct rows x, float s, int64_t T, int64_t n);
/* y = y * gain + bias by columns, either may be NULL. */
void rows_affine(const struct compute *c, struct rows y, const float *gain, const float *bias, int64_t T, int64_t n);
/* And back, for a gain that was `gain`: dgain[i] += sum over t of g (y - bias) / by[i] (0 where by is 0), then g *= gain.
 * y is what rows_affine left. With by = gain that is the gradient by the gain. */
void rows_affine_backward(const struct compute *c, float *dgain, struct rows g, struct rows y, const float *bias,
                          const float *gain, const float *by, int64_t T, int64_t n);
/* sums[i] += sum over t of y[t,i], in order of t. */
void rows_sum(const struct compute *c, float *sums, struct rows y, int64_t T, int64_t n);
/* Zeros behind the n-th element of each row, up to a multiple of 32: for outputs that somebody else wrote. */
void rows_pad(struct rows y, int64_t T, int64_t n);

/* The plain twins (double inside, one thread): oracles of the tests. */
void plain_residual(const struct residual *r);
void plain_residual_backward(const struct residual_backward *r);
void plain_heads_turn(const struct heads *h);
void plain_heads_turn_backward(const struct heads *h);
void plain_gated(const struct gated *g);
void plain_gated_backward(const struct gated *g);

#endif
