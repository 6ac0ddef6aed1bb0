/* ops_kernels.h - private to ops*.c: the inner loops of ops.h for one instruction set.
 *
 * ops_body.inc is compiled once per instruction set into such a table; ops.c cuts the work into blocks and calls
 * through it. All tables give the same bits, but for what ops_vec.inc says of v_fma and v_bf16. Ranges are [0, n) of the
 * pointers given; nothing here knows of threads.
 */
#ifndef GM_KERNEL_OPS_KERNELS_H
#define GM_KERNEL_OPS_KERNELS_H

#include "engine/kernel/ops_rows.h"

struct ops_kernels {
    void (*rmsnorm)(float *y, float *rstd, const float *x, const float *w, int64_t rows, int64_t n, float eps);
    void (*rmsnorm_dx)(float *dx, const float *dy, const float *x, const float *rstd, const float *w, int64_t rows, int64_t n,
                       bool accumulate);
    void (*rope)(float *x, const float *cosines, const float *sines, int n_heads, int head_dim, int half,
                 float sign); /* one token */
    void (*glu)(float *h, const float *gate, const float *up, int64_t n, enum activation act);
    void (*add)(float *y, const float *x, int64_t n);
    void (*scale)(float *y, const float *x, float s, int64_t n);
    void (*to_bf16)(uint16_t *dst, const float *src, int64_t n);
    double (*sum_squares)(const float *x, int64_t n);
    void (*adamw)(const struct adam *a, float *w, float *m, float *v, const float *g, float s, int64_t n);
    /* ops_rows.h: rows [row0, row0 + n_rows), or columns [column, column + width) with width <= OPS_DW_COLUMNS */
    void (*residual)(const struct residual *r, int64_t row0, int64_t n_rows);
    void (*residual_backward)(const struct residual_backward *r, int64_t row0, int64_t n_rows);
    void (*heads)(const struct heads *h, int64_t row0, int64_t n_rows);
    void (*heads_backward)(const struct heads *h, int64_t row0, int64_t n_rows);
    void (*gated)(const struct gated *g, int64_t row0, int64_t n_rows);
    void (*gated_backward)(const struct gated *g, int64_t row0, int64_t n_rows);
    void (*rows_scale)(struct rows to, struct rows x, float s, int64_t row0, int64_t n_rows, int64_t n);
    void (*rows_drop)(struct rows y, struct rows x, const struct drop *d, bool add, int64_t row0, int64_t n_rows, int64_t n);
    void (*rows_affine)(struct rows y, const float *gain, const float *bias, int64_t row0, int64_t n_rows, int64_t n);
    void (*rows_affine_backward)(float *dgain, struct rows g, struct rows y, const float *bias, const float *gain, const float *by,
                                 int64_t T, int64_t column, int width);
    void (*rows_sum)(float *sums, struct rows y, int64_t T, int64_t column, int width);
    void (*norm_weights)(float *dw, struct rows dy, struct rows x, const float *rstd, int64_t T, int heads, int64_t n, int64_t column,
                         int width);
    /* The functions of ops_vec.inc, for the tests: which = 0 exp, 1 sigmoid, 2 tanh. */
    void (*function)(float *y, const float *x, int64_t n, int which);
};

enum { OPS_DW_COLUMNS = 64, OPS_HEAD_DIM_MAX = 1024 };

extern const struct ops_kernels ops_kernels_base;
/* NULL where the compiler cannot make them. */
const struct ops_kernels *ops_kernels_avx512(void);
const struct ops_kernels *ops_kernels_avx512bf16(void);
const struct ops_kernels *ops_kernels_avx2(void);
/* The table for a family; base for FAMILY_AUTO and whatever has no table of its own. */
const struct ops_kernels *ops_kernels_of(enum family family);

#endif
