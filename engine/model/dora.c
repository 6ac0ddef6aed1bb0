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
#include <string.h>

enum { ROW_BLOCK = 64, PIECE = 256 };

static size_t first_row(const struct lora *l, const struct lora_pair *pair)
{
    return (size_t)pair->m - (l->set.count - l->dora.n_rows);
}

static int64_t stride_of(const struct lora_pair *pair) { return (pair->out + ROW_BLOCK - 1) / ROW_BLOCK * ROW_BLOCK; }

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
    float *turned;               /* Bᵀ [rank, out] */
    int64_t stride;              /* of product and turned */
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

/* Bᵀ of the block first; then sixteen rows side by side, in loops of one length that the compiler makes vectors of. */
static void gains_block(void *arg, int block, int slot)
{
    (void)slot;
    enum { SIDE = 16 };
    const struct lengths *j = arg;
    const struct lora *l = j->l;
    const int rank = l->options.rank;
    const int64_t out = j->pair->out, from = (int64_t)block * ROW_BLOCK, to = from + ROW_BLOCK < out ? from + ROW_BLOCK : out;
    const float *b = l->set.w + j->pair->b;
    const double s = (double)l->options.scale;
    const float *length2 = l->dora.length2 + first_row(l, j->pair), *m = l->set.w + j->pair->m;
    float *gain = l->dora.gain + first_row(l, j->pair);
    for (int k = 0; k < rank; k++)
        for (int64_t o = from; o < to; o++)
            j->turned[k * j->stride + o] = b[o * rank + k];
    for (int64_t o = from; o < to; o += SIDE) { /* the last ones may stand beyond `out`: there is room */
        float cross[SIDE] = {0}, square[SIDE] = {0};
        for (int k = 0; k < rank; k++) {
            const float *bk = j->turned + k * j->stride + o, *pk = j->product + k * j->stride + o;
            float g[SIDE] = {0};
            for (int i = 0; i < rank; i++) {
                const float gram = j->gram[(int64_t)k * rank + i], *bi = j->turned + i * j->stride + o;
                for (int r = 0; r < SIDE; r++)
                    g[r] += gram * bi[r];
            }
            for (int r = 0; r < SIDE; r++) {
                cross[r] += bk[r] * pk[r];
                square[r] += bk[r] * g[r];
            }
        }
        for (int r = 0; r < SIDE && o + r < to; r++) {
            double v2 = (double)length2[o + r] + 2 * s * (double)cross[r] + s * s * (double)square[r];
            gain[o + r] = v2 > 0 ? (float)((double)m[o + r] / sqrt(v2)) : 0;
        }
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
                            .gram = l->dora.work, .product = l->dora.work + rank * rank, .stride = stride_of(pair)};
        j.turned = l->dora.work + rank * (rank + j.stride);
        matmul_nt(c, l->dora.work, rank, values, pair->in, rank, &a, false);
        matmul_nt(c, l->dora.work + rank * rank, j.stride, values, pair->in, rank, j.w, false);
        pool_run(c->pool, c->role, gains_block, &j, blocks_of(pair->out, ROW_BLOCK));
    }
}

void lora_bind(struct lora *l, const struct model *m, const struct compute *c)
{
    l->multimodal = m->prefix && strstr(m->prefix, "language_model.");
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
        widest = stride_of(pair) > widest ? stride_of(pair) : widest;
    }
    if (!l->dora.work)
        l->dora.work = mem_new(rank * (rank + 2 * (size_t)widest), sizeof *l->dora.work);
    for (size_t o = 0; o < n && l->dora.m_is_length; o++)
        l->set.w[l->set.count - n + o] = sqrtf(l->dora.length2[o]);
    l->dora.m_is_length = false;
    lora_changed(l, c);
}

/* ---- forward and backward ---- */

const float *dora_gain(const struct lora *l, const struct lora_pair *pair)
{
    return pair->m < 0 ? NULL : l->dora.gain + first_row(l, pair);
}

void dora_backward(const struct compute *c, const struct lora *l, const struct lora_pair *pair,
                   struct rows g, struct rows y, const float *bias, int64_t T, float *grad_m)
{
    rows_affine_backward(c, grad_m, g, y, bias, dora_gain(l, pair), l->set.w + pair->m, T, pair->out);
}
