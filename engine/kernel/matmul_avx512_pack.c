/* matmul_avx512_pack.c - packing and products with few rows for the family avx512f: f32 panels. */
#include "engine/kernel/matmul_avx512.h"

#if defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define GM_VNNI 0
#define GM_NAME(function) avx512_##function
#include "engine/kernel/matmul_avx512_body.inc"
#endif
