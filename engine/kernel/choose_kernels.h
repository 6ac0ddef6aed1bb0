/* choose_kernels.h - private to choose*.c: the loops of choose.h for one instruction set. */
#ifndef GM_KERNEL_CHOOSE_KERNELS_H
#define GM_KERNEL_CHOOSE_KERNELS_H

#include "engine/kernel/choose.h"

struct choose_kernels {
    int32_t (*greatest)(const float *l, int n);
    void (*weigh)(float *e, const float *l, int n, float top, float inverse, double *sums);
    int (*above)(struct candidate *out, int cap, const float *e, int n, float floor);
};
extern const struct choose_kernels choose_kernels_base;
/* NULL where the compiler cannot make them. */
const struct choose_kernels *choose_kernels_avx512(void);
const struct choose_kernels *choose_kernels_avx2(void);

#endif
