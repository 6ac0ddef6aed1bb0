/* ops_avx512.c - the inner loops with AVX-512F; compiled with its flags (isa.cmake) and called only where the
 * caller's family has it. */
#include "engine/kernel/ops_kernels.h"

#if defined(__AVX512F__)
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
