/* attention_avx512.c - attention with AVX-512F; compiled with its flags (isa.cmake) and called only where the
 * caller's family has it. */
#include "engine/kernel/attention_kernels.h"

#if defined(__AVX512F__)
#define GM_VW 16
#include "engine/kernel/attention_body.inc"

static const struct attention_kernels table = ATTENTION_KERNELS;
const struct attention_kernels *attention_kernels_avx512(void)
{
    return &table;
}
#else
const struct attention_kernels *attention_kernels_avx512(void)
{
    return NULL;
}
#endif
