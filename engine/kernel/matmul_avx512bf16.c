/* matmul_avx512bf16.c - the family avx512bf16: vdpbf16ps on pairs. */
#include "engine/kernel/matmul_avx512.h"

#if defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && \
    defined(__AVX512VL__)
#include <string.h>

#define GM_VNNI 1
#include "engine/kernel/matmul_avx512_round.inc"
enum { STEP = 2 };
#define ELEMENT uint16_t
#define VECTOR __m512bh

INLINE __m512bh load(const uint16_t *b)
{
    return (__m512bh)_mm512_load_si512(b);
}

INLINE __m512bh broadcast(const uint16_t *a)
{
    int pair;
    memcpy(&pair, a, sizeof pair);
    return (__m512bh)_mm512_set1_epi32(pair);
}

INLINE __m512 multiply_add(__m512bh x, __m512bh value, __m512 sum)
{
    return _mm512_dpbf16_ps(sum, x, value);
}

#include "engine/kernel/matmul_avx512_tile.inc"

static const struct kernel_table table = {
    .vnni = true,
    .pack_cost = 6,
    .block_flops = 40e6,
    .strip_flops = 1000e6,
    .strip_cols = 4 * PANEL,
    .step_rows = 6,
    .asks_ahead = true,
    .pack_nt = avx512bf16_pack_nt,
    .nn_cuts_blocks = true,
    .pack_nn = avx512bf16_pack_nn,
    .convert = avx512bf16_convert,
    .round_rows = avx512bf16_round_rows,
    .sum_block = sum_block,
    .few = avx512bf16_few,
    .small = avx512bf16_small,
    .convert_small = avx512bf16_convert_small,
    .convert_transposed = avx512bf16_convert_transposed,
    .transpose_bf16 = avx512bf16_transpose_bf16,
    .softmax_tile = avx512bf16_softmax_tile,
    .softmax_gradient = avx512bf16_softmax_gradient,
};

const struct kernel_table *kernel_table_avx512bf16(void)
{
    return &table;
}
#else
const struct kernel_table *kernel_table_avx512bf16(void)
{
    return NULL;
}
#endif
