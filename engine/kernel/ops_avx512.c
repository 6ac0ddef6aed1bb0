/* ops_avx512.c - the inner loops with AVX-512F. Only called where the family of the caller's struct compute has it. */
#include "engine/kernel/ops_kernels.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC target("avx512f,fma")
#define GM_VW 16
#include "engine/kernel/ops_body.inc"

static const struct ops_kernels table = OPS_KERNELS;
const struct ops_kernels *ops_kernels_avx512(void)
{
    return &table;
}
#else
const struct ops_kernels *ops_kernels_avx512(void)
{
    return NULL;
}
#endif
