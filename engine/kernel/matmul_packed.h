/* matmul_packed.h - private: the packed driver with the operands already at hand, for matmul.c and head.c.
 *
 *     packed_convert(c, a, lda, x, ldx, T, depth);                   activations to the family's layout, once
 *     struct packed_target t = {.c = y, .ldc = ldy, .w = w};
 *     packed_multiply(c, a, lda, T, 0, depth, &t, 1, false);         y = a Wᵀ
 */
#ifndef GM_KERNEL_MATMUL_PACKED_H
#define GM_KERNEL_MATMUL_PACKED_H

#include "engine/kernel/table.h"

enum { PACKED_TARGETS = 8 };

struct packed_target {
    float *c;
    int64_t ldc;
    const struct mat *w;
    bool accumulate; /* add to what is there */
};

/* Row length (elements) of converted activations: `depth` padded, never a power of two apart (cache sets). */
int64_t packed_stride(int64_t depth);
/* The part of a sum that is packed at a time: even parts of at most KC, beginning at block borders of the storage. */
int64_t packed_stretch(int64_t depth, enum dtype type);
/* Bytes of rows x packed_stride(depth), with the rows of padding that `multiply` may read. */
size_t packed_bytes(const struct compute *c, int64_t rows, int64_t depth);
/* To layout; zeros in the padding. Threaded. */
void packed_convert(const struct compute *c, void *a, int64_t lda, const float *x, int64_t ldx, int64_t rows, int64_t depth);
/* The same of scale * xᵀ: x [depth, rows]. */
void packed_convert_transposed(const struct compute *c, void *a, int64_t lda, const float *x, int64_t ldx, int64_t rows,
                               int64_t depth, float scale);
/* c_i (+)= a * B_i with B = Wᵀ, or W when nn. `a` starts at row w_row0 of the summed dimension when nn (a part of a long sum). */
void packed_multiply(const struct compute *c, const void *a, int64_t lda, int64_t rows, int64_t w_row0, int64_t depth,
                     const struct packed_target *targets, int n_targets, bool nn);

#endif
