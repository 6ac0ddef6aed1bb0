/* ops_avx2.c - the inner loops with AVX2; compiled with its flags (isa.cmake) and called only where the caller's
 * family has it. */
#include "engine/kernel/ops_kernels.h"

#if defined(__AVX2__) && defined(__FMA__)
#define GM_VW 8
#include "engine/kernel/ops_body.inc"

static const struct ops_kernels table = OPS_KERNELS;
const struct ops_kernels *ops_kernels_avx2(void)
{
    return &table;
}
#else
const struct ops_kernels *ops_kernels_avx2(void)
{
    return NULL;
}
#endif
