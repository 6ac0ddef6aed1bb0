/* choose.c - see choose.h: picks the widest loops that this processor runs. */
#include "engine/kernel/choose_kernels.h"

#include "engine/kernel/compute.h"

static const struct choose_kernels *kernels(void)
{
    const struct choose_kernels *k = family_runs_here(FAMILY_AVX512F) ? choose_kernels_avx512() : NULL;
    if (!k && family_runs_here(FAMILY_AVX2))
        k = choose_kernels_avx2();
    return k ? k : &choose_kernels_base;
}

int32_t choose_greatest(const float *l, int n)
{
    return kernels()->greatest(l, n);
}

void choose_weigh(float *e, const float *l, int n, float top, float inverse, double *sums)
{
    kernels()->weigh(e, l, n, top, inverse, sums);
}

int choose_above(struct candidate *out, int cap, const float *e, int n, float floor)
{
    return kernels()->above(out, cap, e, n, floor);
}
