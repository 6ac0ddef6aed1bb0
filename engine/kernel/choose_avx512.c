/* choose_avx512.c - the loops of choose.h with AVX-512F. */
#include "engine/kernel/choose_kernels.h"

#if defined(__AVX512F__)
#define GM_VW 16
#include "engine/kernel/choose_body.inc"

static const struct choose_kernels table = CHOOSE_KERNELS;
const struct choose_kernels *choose_kernels_avx512(void)
{
    return &table;
}
#else
const struct choose_kernels *choose_kernels_avx512(void)
{
    return NULL;
}
#endif
