/* matmul_avx512_rows.c - the row functions of the head for the family avx512f: left operands are
 * floats. */
#include "engine/kernel/matmul_avx512.h"

#if defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define GM_VW 16
#define GM_PAIRS 0
#define GM_NAME(function) avx512_##function
#include "engine/kernel/matmul_avx512_rows.inc"
#endif
