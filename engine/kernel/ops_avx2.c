/* ops_avx2.c - the inner loops with AVX2. Only called where the family of the caller's struct compute has it. */
#include "engine/kernel/ops_kernels.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC target("avx2,fma")
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
