/* ops.c - cuts the element-wise kernels into blocks for the pool; the inner loops stand in ops_body.inc, the oracles
 * in ops_plain.c.
 *
 * A block's number alone says what it computes, and no block lasts longer than about 0.1 ms. Sums across blocks
 * go through one slot per block and are added in order.
 */
#include "engine/kernel/ops_kernels.h"

#include "engine/base/mem.h"
#include "engine/base/number.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum {
    BLOCK_ELEMENTS = 16384, /* 64 KiB of f32: stays in the second cache for the next reader */
    MAX_PARTIAL_SUMS = 1024
};

const struct ops_kernels *ops_kernels_of(enum family family)
{
    const struct ops_kernels *k = NULL;
    switch (family) {
    case FAMILY_AMX: /* such processors have AVX-512-BF16 (processor.c) */
    case FAMILY_AVX512BF16:
        k = ops_kernels_avx512bf16();
        if (k)
            break; /* else: */
        __attribute__((fallthrough));
    case FAMILY_AVX512F:
        k = ops_kernels_avx512();
        break;
    case FAMILY_AVX2:
        k = ops_kernels_avx2();
        break;
    default:
        break;
    }
    return k ? k : &ops_kernels_base;
}

/* What the blocks of one call share. `unit` rows or elements make a block. */
struct work {
    const struct ops_kernels *k;
    float *y, *y2, *y3;
    const float *x, *x2, *x3, *x4;
    const int32_t *ids; /* positions or token ids */
    int64_t count, n, unit;
    int n_heads;
    float s;
    bool flag;
    enum activation act;
    const void *more;
    void *more_out;
};

static void run(const struct compute *c, struct work *w, pool_fn fn, int64_t count, int64_t unit)
{
    w->k = ops_kernels_of(c->family);
    w->count = count;
    w->unit = unit;
    int64_t n_blocks = count / unit + (count % unit != 0);
    assert(n_blocks <= INT32_MAX);
    if (n_blocks == 0)
        return;
    if (c->pool)
        pool_run(c->pool, c->role, fn, w, (int)n_blocks);
    else
        for (int block = 0; block < (int)n_blocks; block++)
            fn(w, block, 0);
}

static int64_t rows_per_block(int64_t n)
{
    return n >= BLOCK_ELEMENTS ? 1 : BLOCK_ELEMENTS / (n > 0 ? n : 1);
}

/* First element (or row) of the block and how many there are. */
static inline int64_t range(const struct work *w, int block, int64_t *n)
{
    int64_t start = block * w->unit;
    *n = min64(w->unit, w->count - start);
    return start;
}

static void rmsnorm_block(void *arg, int block, int slot)
{
    (void)slot;
    const struct work *w = arg;
    int64_t rows, row = range(w, block, &rows);
    w->k->rmsnorm(w->y + row * w->n, w->y2 ? w->y2 + row : NULL, w->x + row * w->n, w->x2, rows, w->n, w->s);
}

void rmsnorm(const struct compute *c, float *y, float *rstd, const float *x, const float *w, int64_t rows, int64_t n, float eps)
{
    struct work work = {.y = y, .y2 = rstd, .x = x, .x2 = w, .n = n, .s = eps};
    run(c, &work, rmsnorm_block, rows, rows_per_block(n));
}

static void rmsnorm_dx_block(void *arg, int block, int slot)
{
    (void)slot;
    const struct work *w = arg;
    int64_t rows, row = range(w, block, &rows);
    w->k->rmsnorm_dx(w->y + row * w->n, w->x + row * w->n, w->x2 + row * w->n, w->x3 + row, w->x4, rows, w->n, w->flag);
}

void rmsnorm_backward(const struct compute *c, float *dx, float *dw, const float *dy, const float *x, const float *rstd,
                      const float *w, int64_t rows, int64_t n, bool accumulate)
{
    if (dw) /* first: dx may overwrite dy */
        norm_weights_backward(c, dw, rows_in(dy, DT_F32, n), rows_in(x, DT_F32, n), rstd, rows, 1, n);
    struct work work = {.y = dx, .x = dy, .x2 = x, .x3 = rstd, .x4 = w, .n = n, .flag = accumulate};
    run(c, &work, rmsnorm_dx_block, rows, rows_per_block(n));
}

bool rope_table_init(struct rope_table *t, int64_t n_positions, int head_dim, int half, const double *frequencies, double scale,
                     struct gm_error *err)
{
    *t = (struct rope_table){.n_positions = n_positions, .half = half, .head_dim = head_dim};
    if (n_positions <= 0 || half <= 0 || 2 * half > head_dim || n_positions > INT64_MAX / 8 / head_dim)
        return error_set(err, GM_E_INPUT, "make rotary table: %lld positions of %d of %d dimensions", (long long)n_positions, 2 * half,
                         head_dim);
    for (int i = 0; i < half; i++)
        if (!(frequencies[i] > 0) || !isfinite(frequencies[i]) || !(scale > 0) || !isfinite(scale))
            return error_set(err, GM_E_INPUT, "make rotary table: frequency %d is %g, scale %g (both must be positive)", i, frequencies[i],
                             scale);
    size_t bytes = (size_t)n_positions * (size_t)half * sizeof(float);
    t->cos = mem_alloc(bytes, "rotary table", err);
    t->sin = t->cos ? mem_alloc(bytes, "rotary table", err) : NULL;
    if (!t->sin) {
        rope_table_free(t);
        return false;
    }
    for (int64_t p = 0; p < n_positions; p++)
        for (int i = 0; i < half; i++) {
            double angle = (double)p * frequencies[i];
            t->cos[p * half + i] = (float)(scale * cos(angle));
            t->sin[p * half + i] = (float)(scale * sin(angle));
        }
    return true;
}

void rope_table_free(struct rope_table *t)
{
    mem_free(t->cos);
    mem_free(t->sin);
    *t = (struct rope_table){0};
}

static void rope_block(void *arg, int block, int slot)
{
    (void)slot;
    const struct work *w = arg;
    const struct rope_table *t = w->more;
    int64_t rows, row = range(w, block, &rows);
    for (; rows > 0; rows--, row++) {
        assert(w->ids[row] >= 0 && w->ids[row] < t->n_positions);
        int64_t at = (int64_t)w->ids[row] * t->half;
        w->k->rope(w->y + row * w->n, t->cos + at, t->sin + at, w->n_heads, t->head_dim, t->half, w->flag ? -1.0f : 1.0f);
    }
}

void rope(const struct compute *c, float *x, int64_t ldx, const int32_t *positions, int64_t T, int n_heads,
          const struct rope_table *t, bool inverse)
{
    struct work work = {.y = x, .n = ldx, .more = t, .ids = positions, .n_heads = n_heads, .flag = inverse};
    run(c, &work, rope_block, T, rows_per_block((int64_t)n_heads * t->head_dim));
}

static void glu_block(void *arg, int block, int slot)
{
    (void)slot;
    const struct work *w = arg;
    int64_t n, i = range(w, block, &n);
    w->k->glu(w->y + i, w->x + i, w->x2 + i, n, w->act);
}

void glu(const struct compute *c, float *h, const float *gate, const float *up, int64_t count, enum activation act)
{
    struct work work = {.y = h, .x = gate, .x2 = up, .act = act};
    run(c, &work, glu_block, count, BLOCK_ELEMENTS);
}

static void add_block(void *arg, int block, int slot)
{
    (void)slot;
    const struct work *w = arg;
    int64_t n, i = range(w, block, &n);
    w->k->add(w->y + i, w->x + i, n);
}

void add_inplace(const struct compute *c, float *y, const float *x, int64_t count)
{
    struct work work = {.y = y, .x = x};
    run(c, &work, add_block, count, BLOCK_ELEMENTS);
}

static void scale_block(void *arg, int block, int slot)
{
    (void)slot;
    const struct work *w = arg;
    int64_t n, i = range(w, block, &n);
    w->k->scale(w->y + i, w->y + i, w->s, n);
}

void scale_inplace(const struct compute *c, float *y, float s, int64_t count)
{
    struct work work = {.y = y, .s = s};
    run(c, &work, scale_block, count, BLOCK_ELEMENTS);
}

static void to_bf16_block(void *arg, int block, int slot)
{
    (void)slot;
    const struct work *w = arg;
    int64_t n, i = range(w, block, &n);
    w->k->to_bf16((uint16_t *)w->more_out + i, w->x + i, n);
}

void to_bf16(const struct compute *c, uint16_t *dst, const float *src, int64_t count)
{
    struct work work = {.more_out = dst, .x = src};
    run(c, &work, to_bf16_block, count, BLOCK_ELEMENTS);
}

static void embed_block(void *arg, int block, int slot)
{
    (void)slot;
    const struct work *w = arg;
    const struct mat *table = w->more;
    int64_t rows, row = range(w, block, &rows);
    for (; rows > 0; rows--, row++) {
        float *x = w->y + row * w->n;
        assert(w->ids[row] >= 0 && w->ids[row] < table->rows);
        mat_row_to_f32(table, w->ids[row], x);
        if (w->s != 1.0f)
            w->k->scale(x, x, w->s, w->n);
    }
}

void embed_rows(const struct compute *c, float *x, const struct mat *embed, const int32_t *ids, int64_t T, float scale)
{
    struct work work = {.y = x, .n = embed->cols, .more = embed, .ids = ids, .s = scale};
    run(c, &work, embed_block, T, rows_per_block(embed->cols));
}

/* In one thread: tokens of one id must be added in order, and the whole is far below a millisecond. */
void embed_backward(float *d_embed, const float *dx, const int32_t *ids, int64_t T, int64_t d, float scale)
{
    for (int64_t t = 0; t < T; t++) {
        float *row = d_embed + ids[t] * d;
        for (int64_t i = 0; i < d; i++)
            row[i] += scale * dx[t * d + i];
    }
}

static void sum_squares_block(void *arg, int block, int slot)
{
    (void)slot;
    const struct work *w = arg;
    int64_t n, i = range(w, block, &n);
    ((double *)w->more_out)[block] = w->k->sum_squares(w->x + i, n);
}

double sum_squares(const struct compute *c, const float *x, int64_t count)
{
    double partial[MAX_PARTIAL_SUMS] = {0};
    struct work work = {.x = x, .more_out = partial};
    int64_t blocks = min64(count / BLOCK_ELEMENTS + 1, MAX_PARTIAL_SUMS);
    int64_t unit = count / blocks + 1;
    run(c, &work, sum_squares_block, count, unit);
    double sum = 0;
    for (int64_t b = 0; b < blocks; b++)
        sum += partial[b];
    return sum;
}

static void adamw_block(void *arg, int block, int slot)
{
    (void)slot;
    const struct work *w = arg;
    int64_t n, i = range(w, block, &n);
    w->k->adamw(w->more, w->y + i, w->y2 + i, w->y3 + i, w->x + i, w->s, n);
}

void adamw_update(const struct compute *c, const struct adam *a, float *w, float *m, float *v, const float *g, float s,
                  int64_t count)
{
    struct work work = {.y = w, .y2 = m, .y3 = v, .x = g, .more = a, .s = s};
    run(c, &work, adamw_block, count, BLOCK_ELEMENTS);
}
