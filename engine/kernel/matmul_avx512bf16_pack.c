/* matmul_avx512bf16_pack.c - packing and products with few rows for the families avx512bf16 and
 * amx: panels of bf16 pairs. */
#include "engine/kernel/matmul_avx512.h"

#if defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && \
    defined(__AVX512VL__)
#define GM_VNNI 1
#define GM_NAME(function) avx512bf16_##function
#include "engine/kernel/matmul_avx512_body.inc"
#endif
