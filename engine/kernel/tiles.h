/* tiles.h - private to the files of the family amx (matmul_amx.c, attention_amx.c): how they use the eight tiles.
 *
 * A square of up to 32 rows x 32 columns of f32 sums, and what it is the product of:
 *
 *     0 1    sums of the upper rows: left, right 16 columns        4    left operand, upper rows x 32 bf16 (any stride)
 *     2 3    sums of the lower rows                                5    lower rows
 *     6      right operand: 16 pairs of rows x the left 16 columns, 7 the right 16
 *
 * so that each product loads one tile. A thread configures before it works, and releases in the end: a thread that is put aside then has no tiles to save.
 */
#ifndef GM_KERNEL_TILES_H
#define GM_KERNEL_TILES_H

#if defined(__AMX_BF16__) && defined(__AMX_TILE__) && defined(__AVX512BW__)
#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TILE = 16, SQUARE = 2 * TILE };

/* The intrinsics do not tell the compiler that they read memory: what they read is written before this. */
static inline void tiles_see_memory(void)
{
    __asm__ volatile("" : : : "memory");
}

/* Rows of each tile; all are 64 bytes wide. */
static inline void tiles_shape(const uint8_t rows[8])
{
    _Alignas(64) struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t bytes_per_row[16];
        uint8_t rows[16];
    } t = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        t.bytes_per_row[i] = 64;
        t.rows[i] = rows[i];
    }
    tiles_see_memory();
    _tile_loadconfig(&t);
}

/* What this thread has configured, if for squares: their rows. */
static _Thread_local int tiles_rows;

/* For squares of so many rows, 1 .. SQUARE; more than TILE have lower ones. */
static inline void tiles_configure(int rows)
{
    if (rows == tiles_rows)
        return;
    tiles_rows = rows;
    const uint8_t upper = (uint8_t)(rows < TILE ? rows : TILE), lower = (uint8_t)(rows > TILE ? rows - TILE : TILE);
    tiles_shape((const uint8_t[8]){upper, upper, lower, lower, upper, lower, TILE, TILE});
}

static inline void tiles_release(void)
{
    tiles_rows = 0;
    _tile_release();
}

/* The sums of a square: of more than TILE rows if it has `lower` ones, of more than TILE columns if it has `right` ones. Rows are ld floats apart. */
static inline __attribute__((always_inline)) void tiles_zero_sums(void)
{
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}
static inline __attribute__((always_inline)) void tiles_load_sums(const float *from, int64_t ld, const bool lower, const bool right)
{
    const size_t bytes = (size_t)ld * sizeof *from;
    _tile_loadd(0, from, bytes);
    if (right)
        _tile_loadd(1, from + TILE, bytes);
    if (lower)
        _tile_loadd(2, from + TILE * ld, bytes);
    if (lower && right)
        _tile_loadd(3, from + TILE * ld + TILE, bytes);
}
static inline __attribute__((always_inline)) void tiles_store_sums(float *to, int64_t ld, const bool lower, const bool right)
{
    const size_t bytes = (size_t)ld * sizeof *to;
    _tile_stored(0, to, bytes);
    if (right)
        _tile_stored(1, to + TILE, bytes);
    if (lower)
        _tile_stored(2, to + TILE * ld, bytes);
    if (lower && right)
        _tile_stored(3, to + TILE * ld + TILE, bytes);
}

/* Adds a tile of depth: `upper` and TILE rows further times `left_columns` and `right_columns`; rows are so many bytes apart. */
static inline __attribute__((always_inline)) void tiles_multiply(const void *upper, size_t row_bytes, const void *left_columns, const void *right_columns,
                                                                 size_t column_bytes, const bool lower, const bool right)
{
    _tile_loadd(6, left_columns, column_bytes);
    _tile_loadd(4, upper, row_bytes);
    _tile_dpbf16ps(0, 4, 6);
    if (lower) {
        _tile_loadd(5, (const unsigned char *)upper + TILE * row_bytes, row_bytes);
        _tile_dpbf16ps(2, 5, 6);
    }
    if (right) {
        _tile_loadd(7, right_columns, column_bytes);
        _tile_dpbf16ps(1, 4, 7);
        if (lower)
            _tile_dpbf16ps(3, 5, 7);
    }
}
#endif

#endif
