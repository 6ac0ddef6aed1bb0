/* pieces.h - many small products in one job of the pool: rows of a batch that belong to different adapters.
 *
 *     struct piece p[] = {{.w = &a1, .a = x1, .lda = d, .y = u1, .ldy = r, .rows = 1}, {.w = &a2, …}};
 *     matmul_nt_pieces(c, p, 2);                  y = a wᵀ, each
 */
#ifndef GM_KERNEL_PIECES_H
#define GM_KERNEL_PIECES_H

#include "engine/kernel/compute.h"

struct piece {
    const struct mat *w;
    const float *a; /* [rows, w->cols] */
    int64_t lda;
    float *y; /* [rows, w->rows]; no piece may write where another one reads or writes */
    int64_t ldy, rows;
    bool accumulate;
};
void matmul_nt_pieces(const struct compute *c, const struct piece *pieces, int n);

#endif
