/* attention_avx2.c - attention with AVX2; compiled with its flags (isa.cmake) and called only where the caller's
 * family has it. */
#include "engine/kernel/attention_kernels.h"

#if defined(__AVX2__) && defined(__FMA__)
#define GM_VW 8
#include "engine/kernel/attention_body.inc"

static const struct attention_kernels table = ATTENTION_KERNELS;
const struct attention_kernels *attention_kernels_avx2(void)
{
    return &table;
}
#else
const struct attention_kernels *attention_kernels_avx2(void)
{
    return NULL;
}
#endif
