/* matmul_few.h - private: few rows with weights that carry panels (panels.h). */
#ifndef GM_KERNEL_MATMUL_FEW_H
#define GM_KERNEL_MATMUL_FEW_H

#include "engine/kernel/matmul_packed.h"

/* Where columns n0.. (a multiple of PANEL) of the stretch that begins at k0 lie packed; NULL: they do not, for this family. */
const void *few_panel(const struct compute *c, const struct mat *w, int64_t n0, int64_t k0);
/* Whether few_multiply is the way for these products (forward ones). */
bool few_applies(const struct compute *c, int64_t rows, const struct packed_target *targets, int n);
/* As packed_multiply(c, rows, targets, n, false), the same bits. */
void few_multiply(const struct compute *c, int64_t rows, const struct packed_target *targets, int n);

#endif
