/* matmul.c - the three products: which path a shape takes, and the packed driver of BF16 mode.
 *
 * F32 mode goes to matmul_f32.c. In BF16 mode activations are converted once (threaded), then blocks of columns x rows are handed to
 * the pool: a block packs its columns of W, stretch by stretch of the sum, and multiplies its rows with them. With few rows
 * (decoding) W is not packed but read once, row by row. Cuts follow the thread count and the speed of the family; bits do not
 * (see table.h).
 */
#include "engine/kernel/matmul.h"

#include "engine/kernel/matmul_f32.h"
#include "engine/kernel/matmul_packed.h"

#include <assert.h>
#include <string.h>

enum { BLOCK_COLS_MAX = 256, CONVERT_ROWS = 32, SMALL_BLOCK_BYTES = 48 << 10 };

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

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

static size_t element_bytes(const struct compute *c) { return c->k->vnni ? 2 : 4; }

size_t packed_bytes(const struct compute *c, int64_t rows, int64_t depth)
{
    return (size_t)(round_up(rows, ROW_PAD) * packed_stride(depth)) * element_bytes(c);
}

struct conversion {
    const struct compute *c;
    unsigned char *a;
    const float *x;
    int64_t lda, ldx, rows, depth;
    float scale;
};

static void clear_padding_rows(const struct conversion *v)
{
    size_t row = (size_t)v->lda * element_bytes(v->c);
    memset(v->a + (size_t)v->rows * row, 0, (size_t)(round_up(v->rows, ROW_PAD) - v->rows) * row);
}

static void block_convert(void *arg, int block, int slot)
{
    const struct conversion *v = arg;
    int64_t r0 = (int64_t)block * CONVERT_ROWS, rows = min64(CONVERT_ROWS, v->rows - r0);
    v->c->k->convert(v->a + (size_t)(r0 * v->lda) * element_bytes(v->c), v->lda, v->x + r0 * v->ldx, v->ldx, rows, v->depth,
                     round_up(v->depth, 32));
}

void packed_convert(const struct compute *c, void *a, int64_t lda, const float *x, int64_t ldx, int64_t rows, int64_t depth)
{
    struct conversion v = {.c = c, .a = a, .lda = lda, .x = x, .ldx = ldx, .rows = rows, .depth = depth};
    clear_padding_rows(&v);
    pool_run(c->pool, c->role, block_convert, &v, (int)((rows + CONVERT_ROWS - 1) / CONVERT_ROWS));
}

/* A strip of CONVERT_ROWS rows of the transposed matrix, a tile at a time, so that both sides stay in the first cache. */
static void block_convert_transposed(void *arg, int block, int slot)
{
    enum { TILE = 64 };
    const struct conversion *v = arg;
    int64_t r0 = (int64_t)block * CONVERT_ROWS, rows = min64(CONVERT_ROWS, v->rows - r0);
    if (v->c->k->convert_transposed) {
        v->c->k->convert_transposed(v->a + (size_t)(r0 * v->lda) * element_bytes(v->c), v->lda, v->x + r0, v->ldx, rows, v->depth,
                                    v->scale);
        return;
    }
    float tile[CONVERT_ROWS][TILE];
    for (int64_t k0 = 0; k0 < v->depth; k0 += TILE) {
        int64_t depth = min64(TILE, v->depth - k0);
        for (int64_t k = 0; k < depth; k++) {
            const float *from = v->x + (k0 + k) * v->ldx + r0;
            for (int64_t r = 0; r < rows; r++)
                tile[r][k] = v->scale * from[r];
        }
        v->c->k->convert(v->a + (size_t)(r0 * v->lda + k0) * element_bytes(v->c), v->lda, tile[0], TILE, rows, depth,
                         round_up(depth, 32));
    }
}

void packed_convert_transposed(const struct compute *c, void *a, int64_t lda, const float *x, int64_t ldx, int64_t rows,
                               int64_t depth, float scale)
{
    struct conversion v = {.c = c, .a = a, .lda = lda, .x = x, .ldx = ldx, .rows = rows, .depth = depth, .scale = scale};
    clear_padding_rows(&v);
    pool_run(c->pool, c->role, block_convert_transposed, &v, (int)((rows + CONVERT_ROWS - 1) / CONVERT_ROWS));
}

struct packed_job {
    const struct compute *c;
    const unsigned char *a;
    int64_t lda, rows, w_row0, depth;
    int64_t stretch; /* of the sum, packed at a time */
    int64_t k0, k1;  /* the part of the sum that this pool_run adds */
    const struct packed_target *targets;
    int first_block[PACKED_TARGETS + 1];
    int64_t block_cols, block_rows;
    int row_blocks;
    bool nn;
};

static int64_t target_cols(const struct packed_target *t, bool nn) { return nn ? t->w->cols : t->w->rows; }

static void block_multiply(void *arg, int block, int slot)
{
    const struct packed_job *j = arg;
    const struct kernel_table *k = j->c->k;
    int which = 0;
    while (block >= j->first_block[which + 1])
        which++;
    const struct packed_target *t = &j->targets[which];
    block -= j->first_block[which];
    int64_t n0 = block / j->row_blocks * j->block_cols, r0 = block % j->row_blocks * j->block_rows;
    int cols = (int)min64(j->block_cols, target_cols(t, j->nn) - n0), rows = (int)min64(j->block_rows, j->rows - r0);
    void *panel = j->c->scratch->slot[slot].data;
    for (int64_t k0 = j->k0; k0 < j->k1; k0 += j->stretch) {
        int depth = (int)min64(j->stretch, j->k1 - k0);
        if (j->nn)
            k->pack_nn(panel, t->w, n0, cols, j->w_row0 + k0, depth);
        else
            k->pack_nt(panel, t->w, n0, cols, k0, depth);
        k->multiply(j->a + (size_t)(r0 * j->lda + k0) * element_bytes(j->c), j->lda, panel, (int)round_up(depth, 32),
                    t->c + r0 * t->ldc + n0, t->ldc, rows, cols, t->accumulate || k0 > 0);
    }
}

static int64_t count_blocks(const struct packed_job *j, int n_targets)
{
    int64_t blocks = 0;
    for (int i = 0; i < n_targets; i++)
        blocks += (target_cols(&j->targets[i], j->nn) + j->block_cols - 1) / j->block_cols * j->row_blocks;
    return blocks;
}

/* Time of the whole job with the cut in `j`, counted in products of one column, one row and the depth: blocks go to the threads in turns, and each
 * costs its products, the packing of its columns (worse in short pieces of rows, when nn) and the way of its rows through the cache. */
static double cost_of_cut(const struct packed_job *j, int n_targets, int threads)
{
    const double in_cache_bytes = 1 << 20;
    double pack = j->c->k->pack_cost, rows = (double)j->block_rows, cols = (double)j->block_cols;
    double stream = (double)j->rows * (double)j->depth * (double)element_bytes(j->c) > in_cache_bytes ? pack : pack / 5;
    if (j->nn)
        pack *= 1 + 64 / cols;
    int64_t turns = (count_blocks(j, n_targets) + threads - 1) / threads;
    return (double)turns * (rows * cols + cols * pack + rows * stream);
}

/* Columns and rows of a block: the cheapest cut whose blocks are short enough for the gate. */
static void choose_cut(struct packed_job *j, int n_targets, int threads)
{
    static const int widths[] = {64, 96, 128, 192, BLOCK_COLS_MAX};
    bool whole = false; /* a block of columns must begin at a block border of the storage */
    for (int i = 0; i < n_targets; i++)
        whole = whole || (j->nn && dtype_block(j->targets[i].w->type) > 32);
    double best = -1;
    struct packed_job chosen = *j;
    for (size_t w = whole ? sizeof widths / sizeof *widths - 1 : 0; w < sizeof widths / sizeof *widths; w++) {
        for (int64_t rows = round_up(j->rows, ROW_PAD);; rows = round_up(rows / 2, ROW_PAD)) {
            j->block_cols = widths[w];
            j->block_rows = rows;
            j->row_blocks = (int)((j->rows + rows - 1) / rows);
            double once = (double)min64(j->depth, 2 * j->stretch); /* a longer sum is added in several turns of the pool */
            double flops = 2.0 * (double)(rows * j->block_cols) * once, cost = cost_of_cut(j, n_targets, threads);
            bool last = rows <= 2 * ROW_PAD;
            if ((flops <= j->c->k->block_flops || (last && w == 0)) && (best < 0 || cost < best)) {
                best = cost;
                chosen = *j;
            }
            if (last)
                break;
        }
    }
    if (best >= 0)
        *j = chosen;
}

void packed_multiply(const struct compute *c, const void *a, int64_t lda, int64_t rows, int64_t w_row0, int64_t depth,
                     const struct packed_target *targets, int n_targets, bool nn)
{
    assert(n_targets <= PACKED_TARGETS);
    if (rows <= 0)
        return;
    struct packed_job j = {.c = c, .a = a, .lda = lda, .rows = rows, .w_row0 = w_row0, .depth = depth, .targets = targets,
                           .nn = nn};
    j.stretch = packed_stretch(depth, targets[0].w->type);
    for (int i = 1; i < n_targets; i++) /* a stretch begins at a block border of every target */
        j.stretch = min64(j.stretch, packed_stretch(depth, targets[i].w->type));
    choose_cut(&j, n_targets, pool_threads(c->pool));
    for (int i = 0; i < n_targets; i++)
        j.first_block[i + 1] = j.first_block[i]
                             + (int)((target_cols(&targets[i], nn) + j.block_cols - 1) / j.block_cols) * j.row_blocks;
    scratch_slots(c, (size_t)j.block_cols * KC * element_bytes(c));

    double per_depth = 2.0 * (double)(j.block_rows * j.block_cols);
    int64_t step = (int64_t)(c->k->block_flops / per_depth) / j.stretch * j.stretch;
    step = step < j.stretch ? j.stretch : step;
    for (j.k0 = 0; j.k0 < depth; j.k0 = j.k1) {
        j.k1 = min64(depth, j.k0 + step);
        pool_run(c->pool, c->role, block_multiply, &j, j.first_block[n_targets]);
    }
}

struct small_job {
    const struct compute *c;
    const float *x;
    int64_t ldx;
    int T;
    const struct packed_target *targets;
    int first_block[PACKED_TARGETS + 1];
    int64_t block_rows[PACKED_TARGETS];
};

static void block_small(void *arg, int block, int slot)
{
    const struct small_job *j = arg;
    int which = 0;
    while (block >= j->first_block[which + 1])
        which++;
    const struct packed_target *t = &j->targets[which];
    int64_t n0 = (block - j->first_block[which]) * j->block_rows[which];
    j->c->k->small(t->c, t->ldc, j->x, j->ldx, j->T, t->w, n0, (int)min64(j->block_rows[which], t->w->rows - n0),
                    t->accumulate);
}

static void small_multiply(const struct compute *c, const float *x, int64_t ldx, int T, int64_t depth,
                           const struct packed_target *targets, int n_targets)
{
    struct small_job j = {.c = c, .T = T, .ldx = round_up(depth, 32), .targets = targets};
    float *converted = scratch_shared(c, 0, (size_t)(T * j.ldx) * sizeof(float));
    c->k->convert_small(converted, j.ldx, x, ldx, T, depth);
    j.x = converted;
    for (int i = 0; i < n_targets; i++) {
        int64_t rows = SMALL_BLOCK_BYTES / (int64_t)(targets[i].w->row_bytes + 1);
        j.block_rows[i] = rows < 4 ? 4 : rows / 4 * 4;
        j.first_block[i + 1] = j.first_block[i] + (int)((targets[i].w->rows + j.block_rows[i] - 1) / j.block_rows[i]);
    }
    pool_run(c->pool, c->role, block_small, &j, j.first_block[n_targets]);
}

static void nt_targets(const struct compute *c, const struct packed_target *targets, int n, const float *x, int64_t ldx, int64_t T)
{
    if (T <= 0)
        return;
    int64_t depth = targets[0].w->cols;
    if (c->mode == GM_COMPUTE_F32) {
        for (int i = 0; i < n; i++)
            f32_nt(c, targets[i].c, targets[i].ldc, x, ldx, T, targets[i].w, targets[i].accumulate);
    } else if (T <= SMALL_ROWS) {
        small_multiply(c, x, ldx, (int)T, depth, targets, n);
    } else {
        int64_t lda = packed_stride(depth);
        void *a = scratch_shared(c, 0, packed_bytes(c, T, depth));
        packed_convert(c, a, lda, x, ldx, T, depth);
        packed_multiply(c, a, lda, T, 0, depth, targets, n, false);
    }
}

static void nn_targets(const struct compute *c, const struct packed_target *targets, int n, const float *dy, int64_t ldy, int64_t T)
{
    if (T <= 0)
        return;
    int64_t depth = targets[0].w->rows;
    if (c->mode == GM_COMPUTE_F32) {
        for (int i = 0; i < n; i++)
            f32_nn(c, targets[i].c, targets[i].ldc, dy, ldy, T, targets[i].w, targets[i].accumulate);
    } else {
        int64_t lda = packed_stride(depth);
        void *a = scratch_shared(c, 0, packed_bytes(c, T, depth));
        packed_convert(c, a, lda, dy, ldy, T, depth);
        packed_multiply(c, a, lda, T, 0, depth, targets, n, true);
    }
}

void matmul_nt(const struct compute *c, float *y, int64_t ldy, const float *x, int64_t ldx, int64_t T, const struct mat *w,
               bool accumulate)
{
    struct packed_target t = {.c = y, .ldc = ldy, .w = w, .accumulate = accumulate};
    nt_targets(c, &t, 1, x, ldx, T);
}

void matmul_nn(const struct compute *c, float *dx, int64_t ldx, const float *dy, int64_t ldy, int64_t T, const struct mat *w,
               bool accumulate)
{
    struct packed_target t = {.c = dx, .ldc = ldx, .w = w, .accumulate = accumulate};
    nn_targets(c, &t, 1, dy, ldy, T);
}

void matmul_nt_multi(const struct compute *c, int n, float *const *y, const int64_t *ldy, const float *x, int64_t ldx, int64_t T,
                     const struct mat *const *w)
{
    assert(n >= 1 && n <= PACKED_TARGETS);
    struct packed_target targets[PACKED_TARGETS];
    for (int i = 0; i < n; i++) {
        assert(w[i]->cols == w[0]->cols);
        targets[i] = (struct packed_target){.c = y[i], .ldc = ldy[i], .w = w[i]};
    }
    nt_targets(c, targets, n, x, ldx, T);
}

void matmul_nn_multi(const struct compute *c, int n, float *const *dx, const int64_t *ldx, const float *dy, int64_t ldy, int64_t T,
                     const struct mat *const *w, const bool *accumulate)
{
    assert(n >= 1 && n <= PACKED_TARGETS);
    struct packed_target targets[PACKED_TARGETS];
    for (int i = 0; i < n; i++) {
        assert(w[i]->rows == w[0]->rows);
        targets[i] = (struct packed_target){.c = dx[i], .ldc = ldx[i], .w = w[i], .accumulate = accumulate[i]};
    }
    nn_targets(c, targets, n, dy, ldy, T);
}

/* Gradients of thin matrices (LoRA) keep f32 operands: they cost little, and the adapters live on small differences. */
static bool is_large(int64_t m, int64_t n)
{
    return m > 64 && n > 64;
}

void matmul_tn(const struct compute *c, float *dw, int64_t lddw, const float *a, int64_t lda, int64_t m, const float *b, int64_t ldb,
               int64_t n, int64_t T, float scale, bool accumulate)
{
    if (T <= 0) {
        for (int64_t i = 0; i < m && !accumulate; i++)
            memset(dw + i * lddw, 0, (size_t)n * sizeof *dw);
        return;
    }
    if (c->mode == GM_COMPUTE_F32 || !is_large(m, n)) {
        f32_tn(c, dw, lddw, a, lda, m, b, ldb, n, T, scale, accumulate);
        return;
    }
    struct mat right = {.data = b, .type = DT_F32, .rows = T, .cols = n, .row_bytes = (size_t)ldb * sizeof *b};
    struct packed_target t = {.c = dw, .ldc = lddw, .w = &right, .accumulate = accumulate};
    int64_t stride = packed_stride(T);
    void *left = scratch_shared(c, 0, packed_bytes(c, m, T));
    packed_convert_transposed(c, left, stride, a, lda, m, T, scale);
    packed_multiply(c, left, stride, m, 0, T, &t, 1, true);
}
