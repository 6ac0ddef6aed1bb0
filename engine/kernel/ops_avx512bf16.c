/* ops_avx512bf16.c - the inner loops with AVX-512F and the conversion of AVX-512-BF16; compiled with their flags (isa.cmake) and called
 * only where the caller's family has both. */
#include "engine/kernel/ops_kernels.h"

#if defined(__AVX512F__) && defined(__AVX512BF16__)
#define GM_VW 16
#include "engine/kernel/ops_body.inc"

static const struct ops_kernels table = OPS_KERNELS;
const struct ops_kernels *ops_kernels_avx512bf16(void)
{
    return &table;
}
#else
const struct ops_kernels *ops_kernels_avx512bf16(void)
{
    return NULL;
}
#endif
