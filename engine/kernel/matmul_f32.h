/* matmul_f32.h - private: the products of matmul.h in F32 mode, blocks of f32 handed to OpenBLAS on
 * one thread each. */
#ifndef GM_KERNEL_MATMUL_F32_H
#define GM_KERNEL_MATMUL_F32_H

#include "engine/kernel/compute.h"

void f32_setup(void); /* keeps OpenBLAS from starting threads of its own */
void f32_nt(const struct compute *c, float *y, int64_t ldy, const float *x, int64_t ldx, int64_t T,
            const struct mat *w, bool accumulate);
void f32_nn(const struct compute *c, float *dx, int64_t ldx, const float *dy, int64_t ldy,
            int64_t T, const struct mat *w, bool accumulate);
void f32_tn(const struct compute *c, float *dw, int64_t lddw, const float *a, int64_t lda,
            int64_t m, const float *b, int64_t ldb, int64_t n, int64_t T, float scale,
            bool accumulate);

#endif
