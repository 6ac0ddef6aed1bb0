/* matmul_avx512.c - the family avx512f: bf16 values widened to f32 in the panels. */
#include "engine/kernel/matmul_avx512.h"

#if defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)

#define GM_VNNI 0
#include "engine/kernel/matmul_avx512_round.inc"
enum { STEP = 1 };
#define ELEMENT float
#define VECTOR __m512

INLINE __m512 load(const float *b)
{
    return _mm512_load_ps(b);
}

INLINE __m512 broadcast(const float *a)
{
    return _mm512_set1_ps(*a);
}

INLINE __m512 multiply_add(__m512 x, __m512 value, __m512 sum)
{
    return _mm512_fmadd_ps(x, value, sum);
}

#include "engine/kernel/matmul_avx512_tile.inc"

static const struct kernel_table table = {
    .vnni = false,
    .pack_cost = 10,
    .block_flops = 40e6,
    .strip_flops = 250e6,
    .strip_cols = 4 * PANEL,
    .step_rows = 6,
    .asks_ahead = true,
    .pack_nt = avx512_pack_nt,
    .nn_cuts_blocks = true,
    .pack_nn = avx512_pack_nn,
    .convert = avx512_convert,
    .round_rows = avx512_round_rows,
    .sum_block = sum_block,
    .small = avx512_small,
    .convert_small = avx512_convert_small,
    .softmax_tile = avx512_softmax_tile,
    .softmax_gradient = avx512_softmax_gradient,
};

const struct kernel_table *kernel_table_avx512f(void)
{
    return &table;
}
#else
const struct kernel_table *kernel_table_avx512f(void)
{
    return NULL;
}
#endif
