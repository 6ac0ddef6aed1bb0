/* matmul_avx512bf16_rows.c - the row functions of the head for the families avx512bf16 and amx:
 * left operands are bf16. */
#include "engine/kernel/matmul_avx512.h"

#if defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && \
    defined(__AVX512VL__)
#define GM_VW 16
#define GM_PAIRS 1
#define GM_NAME(function) avx512bf16_##function
#include "engine/kernel/matmul_avx512_rows.inc"
#endif
