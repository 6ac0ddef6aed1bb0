/* attention_avx512bf16.c - attention with AVX-512-BF16: products of bf16 summed in f32; compiled with its flags (isa.cmake) and called only where the
 * caller's family has it. */
#include "engine/kernel/attention_kernels.h"

#if defined(__AVX512BF16__)
#define GM_VW 16
#define ATTENTION_BF16
#include "engine/kernel/attention_body.inc"

static const struct attention_kernels table = ATTENTION_KERNELS;
const struct attention_kernels *attention_kernels_avx512bf16(void)
{
    return &table;
}
#else
const struct attention_kernels *attention_kernels_avx512bf16(void)
{
    return NULL;
}
#endif
