/* matmul_convert.c - left operands of the packed driver: where rows are as the family wants them already, and how others become so.
 *
 * Rows are converted once a product, by all threads, before the blocks begin.
 */
#include "engine/kernel/matmul_packed.h"

#include "engine/base/number.h"

#include <string.h>

enum { CONVERT_ROWS = 32 };

int64_t packed_stride(int64_t depth)
{
    int64_t lines = round_up(depth, 32) / 32;
    return (lines | 1) * 32;
}

int64_t packed_stretch(int64_t depth, enum dtype type)
{
    int64_t parts = (depth + KC - 1) / KC, border = dtype_block(type) > 32 ? 256 : 32;
    int64_t even = parts > 0 ? round_up((depth + parts - 1) / parts, border) : border;
    return even <= KC ? even : 512;
}

size_t packed_bytes(const struct compute *c, int64_t rows, int64_t depth)
{
    return (size_t)(round_up(rows, ROW_PAD) * packed_stride(depth)) * packed_element(c);
}

static int blocks_of_rows(int64_t rows)
{
    return (int)((rows + CONVERT_ROWS - 1) / CONVERT_ROWS);
}

/* Row r0 of an operand that lies in our scratch. */
static unsigned char *converted(const struct compute *c, const struct packed_operand *o, int64_t r0)
{
    return (unsigned char *)(uintptr_t)o->data + (size_t)(r0 * o->ld) * packed_element(c);
}

bool packed_in_place(const struct compute *c, const struct packed_operand *o)
{
    return c->k->vnni && o->source_type == DT_BF16 && o->source_ld % 32 == 0 &&
           o->source_ld >= packed_stride(o->depth);
}

struct conversions {
    const struct compute *c;
    const struct packed_operand *operands[PACKED_TARGETS * PACKED_TERMS];
    int n;
    int64_t rows;
    int n_row_blocks;
};

/* Rows that are bf16 already: closer together, or widened. */
static void copy_bf16(const struct compute *c, unsigned char *to, const struct packed_operand *o,
                      int64_t r0, int64_t rows)
{
    const size_t size = packed_element(c), values = (size_t)o->depth,
                 padding = (size_t)(round_up(o->depth, 32) - o->depth);
    for (int64_t r = r0; r < r0 + rows; r++, to += (size_t)o->ld * size) {
        const uint16_t *from = (const uint16_t *)o->source + r * o->source_ld;
        if (c->k->vnni)
            memcpy(to, from, values * size);
        else
            dtype_to_f32(DT_BF16, from, (float *)(void *)to, values);
        memset(to + values * size, 0, padding * size);
    }
}

static void block_convert(void *arg, int block, int slot)
{
    const struct conversions *v = arg;
    const struct packed_operand *o = v->operands[block / v->n_row_blocks];
    int64_t r0 = (int64_t)(block % v->n_row_blocks) * CONVERT_ROWS,
            rows = min64(CONVERT_ROWS, v->rows - r0);
    unsigned char *to = converted(v->c, o, r0);
    if (o->source_type == DT_BF16)
        copy_bf16(v->c, to, o, r0, rows);
    else
        v->c->k->convert(to, o->ld, (const float *)o->source + r0 * o->source_ld, o->source_ld,
                         rows, o->depth, round_up(o->depth, 32));
}

void packed_convert(const struct compute *c, const struct packed_operand *operands, int n,
                    int64_t rows)
{
    struct conversions v = {.c = c, .rows = rows, .n_row_blocks = blocks_of_rows(rows)};
    for (int i = 0; i < n; i++)
        if (operands[i].data != operands[i].source)
            v.operands[v.n++] = &operands[i];
    pool_run(c->pool, c->role, block_convert, &v, v.n * v.n_row_blocks);
}

struct transposition {
    const struct compute *c;
    const struct packed_operand *operand;
    int64_t rows;
    float scale;
};

/* Where the family has no way of its own, a square at a time, so that both sides stay in the first
 * cache. */
void packed_transpose(const struct compute *c, const struct packed_operand *o, int64_t r0,
                      int64_t rows, float scale)
{
    enum { TILE = 64 };
    const bool bf16 = o->source_type == DT_BF16;
    const float *floats = (const float *)o->source + r0;
    const uint16_t *halves = (const uint16_t *)o->source + r0;
    unsigned char *to = converted(c, o, r0);
    if (bf16 && c->k->transpose_bf16 && scale == 1) {
        c->k->transpose_bf16(to, o->ld, halves, o->source_ld, rows, o->depth);
        return;
    }
    if (!bf16 && c->k->convert_transposed) {
        c->k->convert_transposed(to, o->ld, floats, o->source_ld, rows, o->depth, scale);
        return;
    }
    float tile[CONVERT_ROWS][TILE], row[CONVERT_ROWS];
    for (int64_t r1 = 0; r1 < rows; r1 += CONVERT_ROWS) {
        const int64_t n = min64(CONVERT_ROWS, rows - r1);
        for (int64_t k0 = 0; k0 < o->depth; k0 += TILE) {
            int64_t depth = min64(TILE, o->depth - k0);
            for (int64_t k = 0; k < depth; k++) {
                const int64_t at = (k0 + k) * o->source_ld + r1;
                if (bf16)
                    dtype_to_f32(DT_BF16, halves + at, row, (size_t)n);
                else
                    memcpy(row, floats + at, (size_t)n * sizeof *row);
                for (int64_t r = 0; r < n; r++)
                    tile[r][k] = scale * row[r];
            }
            c->k->convert(to + (size_t)(r1 * o->ld + k0) * packed_element(c), o->ld, tile[0], TILE,
                          n, depth, round_up(depth, 32));
        }
    }
}

static void block_convert_transposed(void *arg, int block, int slot)
{
    const struct transposition *v = arg;
    int64_t r0 = (int64_t)block * CONVERT_ROWS;
    packed_transpose(v->c, v->operand, r0, min64(CONVERT_ROWS, v->rows - r0), v->scale);
}

void packed_convert_transposed(const struct compute *c, const struct packed_operand *operand,
                               int64_t rows, float scale)
{
    struct transposition v = {.c = c, .operand = operand, .rows = rows, .scale = scale};
    pool_run(c->pool, c->role, block_convert_transposed, &v, blocks_of_rows(rows));
}
