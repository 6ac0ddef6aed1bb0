/* attention_amx.c - attention with AMX: products of bf16 on tiles, everything else with AVX-512-BF16; compiled with its flags (isa.cmake) and called only where
 * the caller's family is amx. */
#include "engine/kernel/attention_kernels.h"

#if defined(__AMX_BF16__) && defined(__AMX_TILE__) && defined(__AVX512BF16__)
#define GM_VW 16
#define ATTENTION_BF16
#define ATTENTION_TILES
#include "engine/kernel/attention_body.inc"

static const struct attention_kernels table = ATTENTION_KERNELS;
const struct attention_kernels *attention_kernels_amx(void)
{
    return &table;
}
#else
const struct attention_kernels *attention_kernels_amx(void)
{
    return NULL;
}
#endif
