/* dora.c - see dora.h.
 *
 * The lengths of V change with every update. With v = w + s Aᵀb for one row,
 *
 *     |v|² = |w|² + 2 s b·(A w) + s² bᵀ(A Aᵀ)b
 *
 * so a product of A with W ([rank, out]) is all that has to be computed again, and V never stands anywhere.
 */
#include "engine/model/dora.h"

#include "engine/base/mem.h"
#include "engine/kernel/matmul.h"

#include <assert.h>
#include <math.h>

enum { ROW_BLOCK = 64, SCALE_BLOCK = 16384, PIECE = 256 };

static size_t first_row(const struct lora *l, const struct lora_pair *pair)
{
    return (size_t)pair->m - (l->set.count - l->dora.n_rows);
}

static int blocks_of(int64_t n, int64_t block)
{
    return (int)((n + block - 1) / block);
}

/* ---- lengths ---- */

struct lengths {
    const struct lora *l;
    const struct lora_pair *pair;
    const struct mat *w;
    const float *gram, *product; /* A Aᵀ [rank, rank], A Wᵀ [rank, out] */
};

static void base_lengths_block(void *arg, int block, int slot)
{
    (void)slot;
    const struct lengths *j = arg;
    float piece[PIECE];
    float *length2 = j->l->dora.length2 + first_row(j->l, j->pair);
    int64_t end = (int64_t)(block + 1) * ROW_BLOCK < j->w->rows ? (int64_t)(block + 1) * ROW_BLOCK : j->w->rows;
    for (int64_t o = (int64_t)block * ROW_BLOCK; o < end; o++) {
        double sum = 0;
        for (int64_t i = 0; i < j->w->cols; i += PIECE) {
            int64_t n = j->w->cols - i < PIECE ? j->w->cols - i : PIECE;
            mat_part_to_f32(j->w, o, i, n, piece);
            for (int64_t k = 0; k < n; k++)
                sum += (double)piece[k] * (double)piece[k];
        }
        length2[o] = (float)sum;
    }
}

static void gains_block(void *arg, int block, int slot)
{
    (void)slot;
    const struct lengths *j = arg;
    const struct lora *l = j->l;
    const int rank = l->options.rank;
    const int64_t out = j->pair->out;
    const double s = (double)l->options.scale;
    const size_t row = first_row(l, j->pair);
    int64_t end = (int64_t)(block + 1) * ROW_BLOCK < out ? (int64_t)(block + 1) * ROW_BLOCK : out;
    for (int64_t o = (int64_t)block * ROW_BLOCK; o < end; o++) {
        const float *b = l->set.w + j->pair->b + o * rank;
        double cross = 0, square = 0;
        for (int k = 0; k < rank; k++) {
            double g = 0;
            for (int i = 0; i < rank; i++)
                g += (double)j->gram[(int64_t)k * rank + i] * (double)b[i];
            square += g * (double)b[k];
            cross += (double)b[k] * (double)j->product[(int64_t)k * out + o];
        }
        double length2 = (double)l->dora.length2[row + (size_t)o] + 2 * s * cross + s * s * square;
        l->dora.gain[row + (size_t)o] =
            length2 > 0 ? (float)((double)l->set.w[j->pair->m + o] / sqrt(length2)) : 0;
    }
}

void lora_changed(struct lora *l, const struct compute *c)
{
    if (!l->options.dora)
        return;
    assert(l->dora.base && l->dora.work);
    const int64_t rank = l->options.rank;
    for (int i = 0; i < l->n_layers * PROJ_COUNT; i++) {
        const struct lora_pair *pair = &l->pairs[i];
        if (pair->a < 0)
            continue;
        const float *values = l->set.w + pair->a;
        struct mat a = mat_f32(values, rank, pair->in);
        struct lengths j = {.l = l, .pair = pair, .w = &l->dora.base->layers[i / PROJ_COUNT].w[i % PROJ_COUNT],
                            .gram = l->dora.work, .product = l->dora.work + rank * rank};
        matmul_nt(c, l->dora.work, rank, values, pair->in, rank, &a, false);
        matmul_nt(c, l->dora.work + rank * rank, pair->out, values, pair->in, rank, j.w, false);
        pool_run(c->pool, c->role, gains_block, &j, blocks_of(pair->out, ROW_BLOCK));
    }
}

void lora_bind(struct lora *l, const struct model *m, const struct compute *c)
{
    if (!l->options.dora)
        return;
    const size_t n = l->dora.n_rows, rank = (size_t)l->options.rank;
    int64_t widest = 0;
    if (!l->dora.gain) {
        l->dora.length2 = mem_new(n, sizeof *l->dora.length2);
        l->dora.gain = mem_new(n, sizeof *l->dora.gain);
    }
    l->dora.base = m;
    for (int i = 0; i < l->n_layers * PROJ_COUNT; i++) {
        const struct lora_pair *pair = &l->pairs[i];
        if (pair->a < 0)
            continue;
        struct lengths j = {.l = l, .pair = pair, .w = &m->layers[i / PROJ_COUNT].w[i % PROJ_COUNT]};
        assert(j.w->rows == pair->out && j.w->cols == pair->in);
        pool_run(c->pool, c->role, base_lengths_block, &j, blocks_of(pair->out, ROW_BLOCK));
        widest = pair->out > widest ? pair->out : widest;
    }
    if (!l->dora.work)
        l->dora.work = mem_new(rank * (rank + (size_t)widest), sizeof *l->dora.work);
    for (size_t o = 0; o < n && l->dora.m_is_length; o++)
        l->set.w[l->set.count - n + o] = sqrtf(l->dora.length2[o]);
    l->dora.m_is_length = false;
    lora_changed(l, c);
}

/* ---- forward and backward ---- */

struct rows {
    const float *gain, *bias, *m;
    float *y; /* or g */
    const void *kept;
    bool bf16;
    float *grad;
    int64_t T, out, per_block;
};

static void forward_block(void *arg, int block, int slot)
{
    (void)slot;
    const struct rows *j = arg;
    int64_t from = block * j->per_block, end = from + j->per_block < j->T ? from + j->per_block : j->T;
    for (int64_t t = from; t < end; t++) {
        float *y = j->y + t * j->out;
        for (int64_t o = 0; o < j->out; o++)
            y[o] *= j->gain[o];
    }
}

void dora_forward(const struct compute *c, const struct lora *l, const struct lora_pair *pair,
                  float *y, int64_t T)
{
    struct rows j = {.gain = l->dora.gain + first_row(l, pair), .y = y, .T = T, .out = pair->out};
    j.per_block = j.out < SCALE_BLOCK ? SCALE_BLOCK / j.out : 1;
    pool_run(c->pool, c->role, forward_block, &j, blocks_of(T, j.per_block));
}

/* A strip of outputs through all rows, in order: the sum does not depend on who adds it. */
static void backward_block(void *arg, int block, int slot)
{
    (void)slot;
    const struct rows *j = arg;
    const int64_t first = (int64_t)block * ROW_BLOCK, n = j->out - first < ROW_BLOCK ? j->out - first : ROW_BLOCK;
    double sum[ROW_BLOCK] = {0};
    for (int64_t t = 0; t < j->T; t++) {
        const int64_t at = t * j->out + first;
        float *g = j->y + at;
        for (int64_t o = 0; o < n; o++) {
            float y = j->bf16 ? bf16_to_f32(((const uint16_t *)j->kept)[at + o]) : ((const float *)j->kept)[at + o];
            sum[o] += (double)g[o] * (double)(j->bias ? y - j->bias[first + o] : y);
            g[o] *= j->gain[first + o];
        }
    }
    for (int64_t o = 0; o < n; o++)
        if (j->m[first + o] != 0) /* of a row without length nothing is to be learnt */
            j->grad[first + o] += (float)(sum[o] / (double)j->m[first + o]);
}

void dora_backward(const struct compute *c, const struct lora *l, const struct lora_pair *pair,
                   float *g, const void *y, const float *bias, int64_t T, float *grad_m)
{
    struct rows j = {.gain = l->dora.gain + first_row(l, pair), .bias = bias, .m = l->set.w + pair->m, .y = g, .kept = y,
                     .bf16 = c->mode == GM_COMPUTE_BF16, .grad = grad_m, .T = T, .out = pair->out};
    pool_run(c->pool, c->role, backward_block, &j, blocks_of(j.out, ROW_BLOCK));
}
