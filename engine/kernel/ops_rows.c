/* ops_rows.c - cuts the operators of ops_rows.h into blocks for the pool; the inner loops stand in ops_rows_body.inc, the
 * oracles in ops_rows_plain.c. A block's number alone says what it computes. */
#include "engine/kernel/ops_rows.h"

#include "engine/kernel/ops_kernels.h"

#include <assert.h>
#include <string.h>

enum { BLOCK_ELEMENTS = 16384 }; /* far below a tenth of a millisecond */

/* What the blocks of one call share: rows or columns [0, count), `unit` a block. */
struct cut {
    const struct ops_kernels *k;
    const void *args;
    int64_t count, unit;
};

static void run(const struct compute *c, pool_fn fn, const void *args, int64_t count, int64_t unit)
{
    struct cut w = {.k = ops_kernels_of(c->family), .args = args, .count = count, .unit = unit};
    int64_t n_blocks = (count + unit - 1) / unit;
    assert(n_blocks <= INT32_MAX);
    if (c->pool && n_blocks > 0)
        pool_run(c->pool, c->role, fn, &w, (int)n_blocks);
    for (int block = 0; !c->pool && block < (int)n_blocks; block++)
        fn(&w, block, 0);
}

static int64_t rows_of_block(int64_t n)
{
    return n < BLOCK_ELEMENTS ? BLOCK_ELEMENTS / n : 1;
}

/* First row (or column) of a block and how many there are. */
static int64_t range(const struct cut *w, int block, int64_t *n)
{
    int64_t first = block * w->unit;
    *n = w->count - first < w->unit ? w->count - first : w->unit;
    return first;
}

/* fn of rows: the operator's arguments as they came, and which rows. */
#define ROWS_BLOCK(kernel)                                         \
    static void kernel##_block(void *arg, int block, int slot)     \
    {                                                              \
        (void)slot;                                                \
        const struct cut *w = arg;                                 \
        int64_t n, row = range(w, block, &n);                      \
        w->k->kernel(w->args, row, n);                             \
    }
ROWS_BLOCK(residual)
ROWS_BLOCK(residual_backward)
ROWS_BLOCK(heads)
ROWS_BLOCK(heads_backward)
ROWS_BLOCK(gated)
ROWS_BLOCK(gated_backward)

void residual(const struct compute *c, const struct residual *r)
{
    const bool read_only = !r->x && !r->base.data;
    assert(r->n > 0 && (read_only ? !r->branch.data : r->branch.data || r->x));
    assert(r->sum.data || (r->x && r->branch.data && !r->base.data && !r->norm));
    run(c, residual_block, r, r->T, rows_of_block(r->n));
}

void residual_backward(const struct compute *c, const struct residual_backward *r)
{
    assert(r->n > 0 && (!r->d_normed.data || (r->sum.data && r->norm)) && (!r->norm_branch || r->branch.data || !r->d_branch.data));
    run(c, residual_backward_block, r, r->T, rows_of_block(r->n));
}

static int64_t check_heads(const struct heads *h)
{
    int64_t n = 0;
    assert(h->n_parts >= 1 && h->n_parts <= 2 && h->table->head_dim <= OPS_HEAD_DIM_MAX);
    for (int64_t t = 0; t < h->T; t++)
        assert(h->positions[t] >= 0 && h->positions[t] < h->table->n_positions);
    for (int p = 0; p < h->n_parts; p++)
        n += (int64_t)h->part[p].heads * h->table->head_dim;
    return n;
}

void heads_turn(const struct compute *c, const struct heads *h)
{
    run(c, heads_block, h, h->T, rows_of_block(check_heads(h)));
}

void heads_turn_backward(const struct compute *c, const struct heads *h)
{
    run(c, heads_backward_block, h, h->T, rows_of_block(check_heads(h)));
}

void gated(const struct compute *c, const struct gated *g)
{
    run(c, gated_block, g, g->T, rows_of_block(g->n));
}

void gated_backward(const struct compute *c, const struct gated *g)
{
    run(c, gated_backward_block, g, g->T, rows_of_block(g->n));
}

/* Arguments of the smaller ones. */
struct few {
    struct rows to, x;
    float *out;
    const float *gain, *bias, *by, *rstd;
    float s;
    int64_t T, n;
    int heads;
};

static void scale_block(void *arg, int block, int slot)
{
    (void)slot;
    const struct cut *w = arg;
    const struct few *a = w->args;
    int64_t n, row = range(w, block, &n);
    w->k->rows_scale(a->to, a->x, a->s, row, n, a->n);
}

void rows_scale(const struct compute *c, struct rows to, struct rows x, float s, int64_t T, int64_t n)
{
    struct few a = {.to = to, .x = x, .s = s, .n = n};
    run(c, scale_block, &a, T, rows_of_block(n));
}

struct drop_args {
    struct rows y, x;
    const struct drop *d;
    int64_t n;
    bool add;
};
static void drop_block(void *arg, int block, int slot)
{
    (void)slot;
    const struct cut *w = arg;
    const struct drop_args *a = w->args;
    int64_t n, row = range(w, block, &n);
    w->k->rows_drop(a->y, a->x, a->d, a->add, row, n, a->n);
}

void rows_drop(const struct compute *c, struct rows y, struct rows x, int64_t T, int64_t n, const struct drop *d, bool add)
{
    struct drop_args a = {.y = y, .x = x, .d = d, .n = n, .add = add};
    run(c, drop_block, &a, T, rows_of_block(n));
}

static void affine_block(void *arg, int block, int slot)
{
    (void)slot;
    const struct cut *w = arg;
    const struct few *a = w->args;
    int64_t n, row = range(w, block, &n);
    w->k->rows_affine(a->to, a->gain, a->bias, row, n, a->n);
}

void rows_affine(const struct compute *c, struct rows y, const float *gain, const float *bias, int64_t T, int64_t n)
{
    struct few a = {.to = y, .gain = gain, .bias = bias, .n = n};
    run(c, affine_block, &a, T, rows_of_block(n));
}

/* Sums over rows: a block has some columns, so that their order is that of the rows. */
static int64_t columns_of_block(int64_t n)
{
    return n <= 4 * OPS_DW_COLUMNS ? OPS_DW_COLUMNS / 4 : OPS_DW_COLUMNS;
}

static void affine_backward_block(void *arg, int block, int slot)
{
    (void)slot;
    const struct cut *w = arg;
    const struct few *a = w->args;
    int64_t width, column = range(w, block, &width);
    w->k->rows_affine_backward(a->out, a->to, a->x, a->bias, a->gain, a->by, a->T, column, (int)width);
}

void rows_affine_backward(const struct compute *c, float *dgain, struct rows g, struct rows y, const float *bias, const float *gain,
                          const float *by, int64_t T, int64_t n)
{
    struct few a = {.out = dgain, .to = g, .x = y, .bias = bias, .gain = gain, .by = by, .T = T};
    run(c, affine_backward_block, &a, n, columns_of_block(n));
}

static void sum_block(void *arg, int block, int slot)
{
    (void)slot;
    const struct cut *w = arg;
    const struct few *a = w->args;
    int64_t width, column = range(w, block, &width);
    w->k->rows_sum(a->out, a->x, a->T, column, (int)width);
}

void rows_sum(const struct compute *c, float *sums, struct rows y, int64_t T, int64_t n)
{
    struct few a = {.out = sums, .x = y, .T = T};
    run(c, sum_block, &a, n, columns_of_block(n));
}

static void norm_weights_block(void *arg, int block, int slot)
{
    (void)slot;
    const struct cut *w = arg;
    const struct few *a = w->args;
    int64_t width, column = range(w, block, &width);
    w->k->norm_weights(a->out, a->to, a->x, a->rstd, a->T, a->heads, a->n, column, (int)width);
}

void norm_weights_backward(const struct compute *c, float *dw, struct rows dy, struct rows x, const float *rstd, int64_t T, int heads,
                           int64_t n)
{
    struct few a = {.out = dw, .to = dy, .x = x, .rstd = rstd, .T = T, .heads = heads, .n = n};
    run(c, norm_weights_block, &a, n, columns_of_block(n));
}

void rows_pad(struct rows y, int64_t T, int64_t n)
{
    const int64_t end = (n + 31) / 32 * 32 < y.ld ? (n + 31) / 32 * 32 : y.ld;
    const size_t size = y.type == DT_BF16 ? 2 : 4;
    for (int64_t t = 0; end > n && t < T; t++)
        memset((unsigned char *)y.data + (size_t)(t * y.ld + n) * size, 0, (size_t)(end - n) * size);
}
