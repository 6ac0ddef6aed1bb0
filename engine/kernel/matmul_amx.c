/* matmul_amx.c - the family amx: tdpbf16ps on tiles of 16 rows x 32 bf16; 2 x 2 tiles of sums, so a
 * product loads one tile.
 *
 * Tiles 0..3 are the sums of 32 rows x 32 columns, 4 and 5 two tiles of activations (any stride:
 * they are not packed), 6 and 7 two tiles of a panel pair. The panel pair of a stretch (32 KB)
 * stays in the first cache while the activations pass. All tiles are full; edges go through a small
 * square on the stack.
 */
#include "engine/kernel/matmul_avx512.h"

#if defined(__AMX_BF16__) && defined(__AMX_TILE__) && defined(__AVX512BW__)
#include <immintrin.h>
#include <string.h>

enum { SIDE = 32, TILE = 16 };

struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes_per_row[16];
    uint8_t rows[16];
};

static void configure_tiles(void)
{
    _Alignas(64) struct tile_config t = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        t.bytes_per_row[i] = 64;
        t.rows[i] = TILE;
    }
    _tile_loadconfig(&t);
}

/* 32 rows x 32 columns (or 16: one panel) into a square that is all there. */
static inline __attribute__((always_inline)) void square(const uint16_t *a, size_t row_bytes,
                                                         const uint16_t *b, int kpad, float *c,
                                                         size_t c_bytes, bool two_panels,
                                                         bool accumulate)
{
    const uint16_t *a2 = a + TILE * row_bytes / sizeof *a, *b2 = b + (size_t)kpad * PANEL;
    float *c2 = (float *)(void *)((unsigned char *)c + TILE * c_bytes);
    if (accumulate) {
        _tile_loadd(0, c, c_bytes);
        _tile_loadd(2, c2, c_bytes);
        if (two_panels) {
            _tile_loadd(1, c + TILE, c_bytes);
            _tile_loadd(3, c2 + TILE, c_bytes);
        }
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int k = 0; k < kpad; k += 32, b += 32 * TILE, b2 += 32 * TILE) {
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
    _tile_stored(0, c, c_bytes);
    _tile_stored(2, c2, c_bytes);
    if (two_panels) {
        _tile_stored(1, c + TILE, c_bytes);
        _tile_stored(3, c2 + TILE, c_bytes);
    }
}

static void edge(const uint16_t *a, size_t row_bytes, const uint16_t *b, int kpad, float *c,
                 int64_t ldc, int rows, int cols, bool accumulate)
{
    _Alignas(64) float s[SIDE][SIDE] = {{0}};
    for (int r = 0; accumulate && r < rows; r++)
        memcpy(s[r], c + r * ldc, (size_t)cols * sizeof(float));
    if (cols > TILE)
        square(a, row_bytes, b, kpad, s[0], sizeof s[0], true, accumulate);
    else
        square(a, row_bytes, b, kpad, s[0], sizeof s[0], false, accumulate);
    for (int r = 0; r < rows; r++)
        memcpy(c + r * ldc, s[r], (size_t)cols * sizeof(float));
}

static void multiply(const void *a, int64_t lda, const void *panel, int kpad, float *c, int64_t ldc,
                     int rows, int cols, bool accumulate)
{
    size_t row_bytes = (size_t)lda * sizeof(uint16_t), c_bytes = (size_t)ldc * sizeof(float);
    configure_tiles();
    for (int j = 0; j < cols; j += SIDE) {
        const uint16_t *b = (const uint16_t *)panel + (size_t)j * (size_t)kpad;
        for (int r = 0; r < rows; r += SIDE) {
            const uint16_t *x = (const uint16_t *)a + r * lda;
            float *to = c + r * ldc + j;
            if (rows - r >= SIDE && cols - j >= SIDE)
                square(x, row_bytes, b, kpad, to, c_bytes, true, accumulate);
            else
                edge(x, row_bytes, b, kpad, to, ldc, rows - r < SIDE ? rows - r : SIDE,
                     cols - j < SIDE ? cols - j : SIDE, accumulate);
        }
    }
    _tile_release();
}

static const struct kernel_table table = {
    .vnni = true,
    .pack_cost = 110,
    .block_flops = 300e6,
    .pack_nt = avx512bf16_pack_nt,
    .pack_nn = avx512bf16_pack_nn,
    .convert = avx512bf16_convert,
    .round_rows = avx512bf16_round_rows,
    .multiply = multiply,
    .small = avx512bf16_small,
    .convert_small = avx512bf16_convert_small,
    .convert_transposed = avx512bf16_convert_transposed,
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
