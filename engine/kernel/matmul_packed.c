/* matmul_packed.c - the packed driver of BF16 mode.
 *
 * Activations are converted once (threaded), then blocks of columns x rows are handed to the pool:
 * a block packs its columns of W, stretch by stretch of the sum, and multiplies its rows with them.
 * Several products with the same rows run as one job, and the terms of a sum meet in a block that
 * is still in the cache. Cuts follow the thread count and the speed of the family; bits do not (see
 * table.h).
 */
#include "engine/kernel/matmul_packed.h"

#include "engine/kernel/matmul_few.h"

#include <assert.h>
#include <string.h>

enum { BLOCK_COLS_MAX = 256, CONVERT_ROWS = 32 };

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
static int64_t round_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

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

static size_t element_bytes(const struct compute *c)
{
    return c->k->vnni ? 2 : 4;
}

size_t packed_bytes(const struct compute *c, int64_t rows, int64_t depth)
{
    return (size_t)(round_up(rows, ROW_PAD) * packed_stride(depth)) * element_bytes(c);
}

static int blocks_of_rows(int64_t rows)
{
    return (int)((rows + CONVERT_ROWS - 1) / CONVERT_ROWS);
}

/* Row r0 of an operand that lies in our scratch. */
static unsigned char *converted(const struct compute *c, const struct packed_operand *o, int64_t r0)
{
    return (unsigned char *)(uintptr_t)o->data + (size_t)(r0 * o->ld) * element_bytes(c);
}

static void clear_padding_rows(const struct compute *c, const struct packed_operand *o,
                               int64_t rows)
{
    memset(converted(c, o, rows), 0,
           (size_t)((round_up(rows, ROW_PAD) - rows) * o->ld) * element_bytes(c));
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
    const size_t size = element_bytes(c), values = (size_t)o->depth,
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
    for (int i = 0; i < n; i++) {
        if (operands[i].data == operands[i].source)
            continue;
        clear_padding_rows(c, &operands[i], rows);
        v.operands[v.n++] = &operands[i];
    }
    pool_run(c->pool, c->role, block_convert, &v, v.n * v.n_row_blocks);
}

struct transposition {
    const struct compute *c;
    const struct packed_operand *operand;
    int64_t rows;
    float scale;
};

/* A strip of CONVERT_ROWS rows of the transposed matrix, a tile at a time, so that both sides stay
 * in the first cache. */
static void block_convert_transposed(void *arg, int block, int slot)
{
    enum { TILE = 64 };
    const struct transposition *v = arg;
    const struct packed_operand *o = v->operand;
    int64_t r0 = (int64_t)block * CONVERT_ROWS, rows = min64(CONVERT_ROWS, v->rows - r0);
    unsigned char *to = converted(v->c, o, r0);
    if (v->c->k->convert_transposed && o->source_type == DT_F32) {
        v->c->k->convert_transposed(to, o->ld, (const float *)o->source + r0, o->source_ld, rows,
                                    o->depth, v->scale);
        return;
    }
    float tile[CONVERT_ROWS][TILE], row[CONVERT_ROWS];
    for (int64_t k0 = 0; k0 < o->depth; k0 += TILE) {
        int64_t depth = min64(TILE, o->depth - k0);
        for (int64_t k = 0; k < depth; k++) {
            const int64_t at = (k0 + k) * o->source_ld + r0;
            const float *from = (const float *)o->source + at;
            if (o->source_type == DT_BF16) {
                dtype_to_f32(DT_BF16, (const uint16_t *)o->source + at, row, (size_t)rows);
                from = row;
            }
            for (int64_t r = 0; r < rows; r++)
                tile[r][k] = v->scale * from[r];
        }
        v->c->k->convert(to + (size_t)k0 * element_bytes(v->c), o->ld, tile[0], TILE, rows, depth,
                         round_up(depth, 32));
    }
}

void packed_convert_transposed(const struct compute *c, const struct packed_operand *operand,
                               int64_t rows, float scale)
{
    struct transposition v = {.c = c, .operand = operand, .rows = rows, .scale = scale};
    clear_padding_rows(c, operand, rows);
    pool_run(c->pool, c->role, block_convert_transposed, &v, blocks_of_rows(rows));
}

struct packed_job {
    const struct compute *c;
    const struct packed_target *targets;
    int n_targets;
    int64_t rows;
    bool nn;
    int64_t block_cols, block_rows;
    int row_blocks;
    int first_block[PACKED_TARGETS + 1];
    bool whole_sums;  /* a target is bf16: its blocks are summed at once, in the thread's scratch */
    int64_t from, to; /* the part of the sums that this pool_run adds, counted through all terms of
                         a target */
};

static int64_t target_cols(const struct packed_job *j, int which)
{
    const struct mat *w = j->targets[which].terms[0].w;
    return j->nn ? w->cols : w->rows;
}

static int64_t target_depth(const struct packed_target *t)
{
    int64_t depth = 0;
    for (int i = 0; i < t->n_terms; i++)
        depth += t->terms[i].a.depth;
    return depth;
}

static size_t panel_bytes(const struct packed_job *j)
{
    return (size_t)j->block_cols * KC * element_bytes(j->c);
}

/* Adds the stretches of the sum that begin in [from, to) to one block of one target. */
static void block_multiply(void *arg, int block, int slot)
{
    const struct packed_job *j = arg;
    const struct kernel_table *k = j->c->k;
    int which = 0;
    while (block >= j->first_block[which + 1])
        which++;
    const struct packed_target *t = &j->targets[which];
    block -= j->first_block[which];
    int64_t n0 = block / j->row_blocks * j->block_cols, r0 = block % j->row_blocks * j->block_rows,
            before = 0;
    int cols = (int)min64(j->block_cols, target_cols(j, which) - n0),
        rows = (int)min64(j->block_rows, j->rows - r0);
    unsigned char *panel = j->c->scratch->slot[slot].data;
    float *sum = (float *)t->c + r0 * t->ldc + n0;
    int64_t ld = t->ldc;
    if (t->c_type == DT_BF16) {
        sum = (float *)(void *)(panel + panel_bytes(j));
        ld = j->block_cols;
    }
    for (int i = 0; i < t->n_terms; before += t->terms[i++].a.depth) {
        const struct packed_term *term = &t->terms[i];
        int64_t stretch = packed_stretch(term->a.depth, term->w->type);
        for (int64_t k0 = 0; k0 < term->a.depth; k0 += stretch) {
            if (before + k0 < j->from || before + k0 >= j->to)
                continue;
            int depth = (int)min64(stretch, term->a.depth - k0);
            const void *ready = j->nn ? NULL : few_panel(j->c, term->w, n0, k0);
            if (j->nn)
                k->pack_nn(panel, term->w, n0, cols, term->w_row0 + k0, depth);
            else if (!ready)
                k->pack_nt(panel, term->w, n0, cols, k0, depth);
            k->multiply((const unsigned char *)term->a.data +
                            (size_t)(r0 * term->a.ld + k0) * element_bytes(j->c),
                        term->a.ld, ready ? ready : panel, (int)round_up(depth, 32), sum, ld, rows, cols,
                        t->accumulate || before + k0 > 0);
        }
    }
    if (t->c_type == DT_BF16)
        k->round_rows((uint16_t *)t->c + r0 * t->ldc + n0, t->ldc, sum, ld, rows, cols);
}

static int64_t target_blocks(const struct packed_job *j, int which)
{
    return (target_cols(j, which) + j->block_cols - 1) / j->block_cols * j->row_blocks;
}

/* Time of the whole job with the cut in `j`, counted in products of one column and one row: blocks
 * go to the threads in turns, and each costs its products, the packing of its columns (worse in
 * short pieces of rows, when nn) and the way of its rows through the cache. */
static double cost_of_cut(const struct packed_job *j, int threads)
{
    const double in_cache_bytes = 1 << 20;
    double pack = j->c->k->pack_cost, rows = (double)j->block_rows, cols = (double)j->block_cols,
           blocks = 0, most = 0;
    double packing = j->nn ? pack * (1 + 64 / cols) : pack;
    for (int i = 0; i < j->n_targets; i++) {
        double depth = (double)target_depth(&j->targets[i]);
        double stream = (double)j->rows * depth * (double)element_bytes(j->c) > in_cache_bytes
                            ? pack
                            : pack / 5;
        double width = cols < (double)target_cols(j, i) ? cols : (double)target_cols(j, i);
        double block = depth * (rows * width + width * packing + rows * stream);
        blocks += (double)target_blocks(j, i) * block;
        most = block > most ? block : most;
    }
    double turns =
        blocks / most /
        threads; /* in the coin of the longest block; the last turn is full only by luck */
    return most * (turns > 1 ? (double)(int64_t)(turns + 0.999) : 1);
}

/* Columns and rows of a block: the cheapest cut whose blocks are short enough for the gate. */
static void choose_cut(struct packed_job *j, int threads)
{
    static const int widths[] = {64, 96, 128, 192, BLOCK_COLS_MAX};
    enum { WIDTHS = sizeof widths / sizeof *widths };
    bool whole = false; /* a block of columns must begin at a block border of the storage */
    int64_t depth = KC;
    for (int i = 0; i < j->n_targets; i++) {
        if (j->whole_sums && target_depth(&j->targets[i]) > depth)
            depth = target_depth(&j->targets[i]);
        for (int k = 0; k < j->targets[i].n_terms; k++)
            whole = whole || (j->nn && dtype_block(j->targets[i].terms[k].w->type) > 32);
    }
    double best = -1;
    struct packed_job chosen = *j;
    for (int w = whole ? WIDTHS - 1 : 0; w < WIDTHS; w++) {
        for (int64_t rows = round_up(j->rows, ROW_PAD);; rows = round_up(rows / 2, ROW_PAD)) {
            j->block_cols = widths[w];
            j->block_rows = rows;
            j->row_blocks = (int)((j->rows + rows - 1) / rows);
            bool last = rows <= 2 * ROW_PAD,
                 fits = 2.0 * (double)(rows * j->block_cols * depth) <= j->c->k->block_flops;
            double cost = cost_of_cut(j, threads);
            if ((fits || (last && (w == 0 || whole))) && (best < 0 || cost < best)) {
                best = cost;
                chosen = *j;
            }
            if (last)
                break;
        }
    }
    *j = chosen;
}

void packed_multiply(const struct compute *c, int64_t rows, const struct packed_target *targets,
                     int n_targets, bool nn)
{
    assert(n_targets >= 1 && n_targets <= PACKED_TARGETS);
    if (rows <= 0)
        return;
    struct packed_job j = {
        .c = c, .targets = targets, .n_targets = n_targets, .rows = rows, .nn = nn};
    for (int i = 0; i < n_targets; i++) {
        assert(targets[i].c_type == DT_F32 || !targets[i].accumulate);
        j.whole_sums = j.whole_sums || targets[i].c_type == DT_BF16;
    }
    choose_cut(&j, pool_threads(c->pool));
    int64_t depth = 0;
    for (int i = 0; i < n_targets; i++) {
        j.first_block[i + 1] = j.first_block[i] + (int)target_blocks(&j, i);
        int64_t d = target_depth(&targets[i]);
        depth = d > depth ? d : depth;
    }
    scratch_slots(c, panel_bytes(&j) + (j.whole_sums ? (size_t)(j.block_rows * j.block_cols) *
                                                           sizeof(float)
                                                     : 0));
    int64_t step = (int64_t)(c->k->block_flops / (2.0 * (double)(j.block_rows * j.block_cols)));
    step = j.whole_sums ? depth : step < KC ? KC : step; /* a long sum is added in several turns of the pool */
    for (j.from = 0; j.from < depth; j.from = j.to) {
        j.to = j.from + step;
        pool_run(c->pool, c->role, block_multiply, &j, j.first_block[n_targets]);
    }
}
