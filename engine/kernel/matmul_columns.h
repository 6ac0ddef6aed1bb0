/* matmul_columns.h - private: single panels of 16 columns of a product with few rows, with the bits that matmul_nt() of all those rows gives.
 *
 *     struct columns m = columns_begin(c, &w, x, T);              converts T rows; takes scratch 0 and that of the slots
 *     columns_multiply(&m, t, n0, y + n0, slot);                  y[n0 .. n0 + 15] of row t, in a block of the pool
 */
#ifndef GM_KERNEL_MATMUL_COLUMNS_H
#define GM_KERNEL_MATMUL_COLUMNS_H

#include "engine/kernel/matmul_packed.h"

struct columns {
    const struct compute *c;
    const struct mat *w;
    const unsigned char *rows; /* in the layout of the way that matmul_nt() takes */
    size_t row_bytes, element;
    bool small;
};
/* BF16 mode; x [T, w->cols]. */
struct columns columns_begin(const struct compute *c, const struct mat *w, const float *x, int64_t T);
void columns_multiply(const struct columns *m, int64_t row, int64_t n0, float *y, int slot);

#endif
