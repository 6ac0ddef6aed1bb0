/* choose_avx2.c - the loops of choose.h with AVX2. */
#include "engine/kernel/choose_kernels.h"

#if defined(__AVX2__)
#define GM_VW 8
#include "engine/kernel/choose_body.inc"

static const struct choose_kernels table = CHOOSE_KERNELS;
const struct choose_kernels *choose_kernels_avx2(void)
{
    return &table;
}
#else
const struct choose_kernels *choose_kernels_avx2(void)
{
    return NULL;
}
#endif
