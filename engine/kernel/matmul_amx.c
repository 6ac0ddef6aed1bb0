/* matmul_amx.c - the family amx: tdpbf16ps on tiles of 16 rows x 32 bf16; 2 x 2 tiles of sums, so a
 * product loads one tile.
 *
 * Tiles 0..3 are the sums of 32 rows x 32 columns, 4 and 5 two tiles of activations (any stride:
 * they are not packed), 6 and 7 two tiles of a panel pair. The panel pair of a stretch (32 KB)
 * stays in the first cache while the activations pass. All tiles are full; edges go through a small
 * square on the stack.
 */
#include "engine/kernel/matmul_avx512.h"

#include "engine/kernel/tiles.h"

#if defined(__AMX_BF16__) && defined(__AMX_TILE__) && defined(__AVX512BW__)
#include <string.h>

enum { SIDE = SQUARE };

/* 32 rows x 32 columns (or 16: one panel) into a square that is all there. */
static inline __attribute__((always_inline)) void square(const struct block_sum *s, int r0, int j, const float *from, size_t from_bytes, float *c,
                                                         size_t c_bytes, bool two_panels)
{
    float *c2 = (float *)(void *)((unsigned char *)c + TILE * c_bytes);
    tiles_see_memory();
    if (from) {
        const float *from2 = (const float *)(const void *)((const unsigned char *)from + TILE * from_bytes);
        _tile_loadd(0, from, from_bytes);
        _tile_loadd(2, from2, from_bytes);
        if (two_panels) {
            _tile_loadd(1, from + TILE, from_bytes);
            _tile_loadd(3, from2 + TILE, from_bytes);
        }
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int n = 0; n < s->n_slices; n++) {
        const struct slice *part = &s->slices[n];
        const size_t row_bytes = (size_t)part->lda * sizeof(uint16_t), panel = (size_t)part->kpad * PANEL;
        const uint16_t *a = (const uint16_t *)part->a + r0 * part->lda, *a2 = a + TILE * part->lda,
                       *b = (const uint16_t *)part->panel + (size_t)(j / PANEL) * panel, *b2 = b + panel;
        for (int k = 0; k < part->k; k += 32, b += 32 * TILE, b2 += 32 * TILE) {
            _tile_loadd(6, b, 64);
            _tile_loadd(4, a + k, row_bytes);
            _tile_dpbf16ps(0, 4, 6);
            _tile_loadd(5, a2 + k, row_bytes);
            _tile_dpbf16ps(2, 5, 6);
            if (two_panels) {
                _tile_loadd(7, b2, 64);
                _tile_dpbf16ps(1, 4, 7);
                _tile_dpbf16ps(3, 5, 7);
            }
        }
    }
    _tile_stored(0, c, c_bytes);
    _tile_stored(2, c2, c_bytes);
    if (two_panels) {
        _tile_stored(1, c + TILE, c_bytes);
        _tile_stored(3, c2 + TILE, c_bytes);
    }
}

/* At the edges, and where the result is rounded: by a square of our own. */
static void by_square(const struct block_sum *s, int r0, int j, int rows, int cols)
{
    _Alignas(64) float sums[SIDE][SIDE] = {{0}};
    for (int r = 0; s->from && r < rows; r++)
        memcpy(sums[r], s->from + (r0 + r) * s->ld_from + j, (size_t)cols * sizeof(float));
    const float *from = s->from ? sums[0] : NULL;
    if (cols > TILE)
        square(s, r0, j, from, sizeof sums[0], sums[0], sizeof sums[0], true);
    else
        square(s, r0, j, from, sizeof sums[0], sums[0], sizeof sums[0], false);
    const int64_t at = r0 * s->ld_to + j;
    if (s->to_bf16)
        avx512bf16_round_rows((uint16_t *)s->to + at, s->ld_to, sums[0], SIDE, rows, cols);
    else
        for (int r = 0; r < rows; r++)
            memcpy((float *)s->to + at + r * s->ld_to, sums[r], (size_t)cols * sizeof(float));
}

static void sum_block(const struct block_sum *s)
{
    tiles_configure(SIDE);
    for (int j = 0; j < s->cols; j += SIDE) {
        const int cols = s->cols - j < SIDE ? s->cols - j : SIDE;
        for (int r = 0; r < s->rows; r += SIDE) {
            const int rows = s->rows - r < SIDE ? s->rows - r : SIDE;
            if (rows == SIDE && cols == SIDE && !s->to_bf16)
                square(s, r, j, s->from ? s->from + r * s->ld_from + j : NULL, (size_t)s->ld_from * sizeof(float),
                       (float *)s->to + r * s->ld_to + j, (size_t)s->ld_to * sizeof(float), true);
            else
                by_square(s, r, j, rows, cols);
        }
    }
    tiles_release();
}

static const struct kernel_table table = {
    .vnni = true,
    .pack_cost = 110,
    .block_flops = 300e6,
    .strip_flops = 1000e6,
    .step_rows = 128,
    .pack_nt = avx512bf16_pack_nt,
    .pack_nn = avx512bf16_pack_nn,
    .convert = avx512bf16_convert,
    .round_rows = avx512bf16_round_rows,
    .sum_block = sum_block,
    .small = avx512bf16_small,
    .convert_small = avx512bf16_convert_small,
    .convert_transposed = avx512bf16_convert_transposed,
    .transpose_bf16 = avx512bf16_transpose_bf16,
    .softmax_tile = avx512bf16_softmax_tile,
    .softmax_gradient = avx512bf16_softmax_gradient,
};

const struct kernel_table *kernel_table_amx(void)
{
    return &table;
}
#else
const struct kernel_table *kernel_table_amx(void)
{
    return NULL;
}
#endif
