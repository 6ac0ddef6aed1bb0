/* rows.c - the rows of a planned tensor: made on all threads, a chunk at a time, written or compared. */
#include "engine/export/plan.h"

#include "engine/base/mem.h"
#include "engine/kernel/quantise.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { CHUNK_BYTES = PLAN_CHUNK_BYTES, BLOCK_VALUES = 4096 }; /* a block lasts less than a millisecond in the slowest type */

void export_fused_row(const struct model *m, const struct lora *l, int layer, enum proj p, int64_t o, float *out, float *work)
{
    const struct mat *w = &m->layers[layer].w[p];
    mat_row_to_f32(w, o, out);
    const struct lora_pair *pair = l ? lora_at(l, layer, p) : NULL;
    if (!pair)
        return;
    const int rank = l->options.rank;
    const float *a = l->set.w + pair->a, *b = l->set.w + pair->b + o * rank;
    memset(work, 0, (size_t)w->cols * sizeof *work);
    for (int k = 0; k < rank; k++)
        for (int64_t i = 0; i < w->cols; i++)
            work[i] += b[k] * a[(int64_t)k * w->cols + i];
    double length2 = 0;
    for (int64_t i = 0; i < w->cols; i++) {
        out[i] += l->options.scale * work[i];
        length2 += (double)out[i] * (double)out[i];
    }
    if (pair->m < 0)
        return;
    double gain = (double)l->set.w[pair->m + o] / sqrt(length2); /* DoRA: m/|V| of the row */
    for (int64_t i = 0; i < w->cols; i++)
        out[i] = (float)(gain * (double)out[i]);
}

int64_t export_model_row(int64_t r, int64_t rows, int turned_heads)
{
    if (turned_heads == 0)
        return r;
    int64_t head = rows / turned_heads, in_head = r % head;
    return r - in_head + in_head % 2 * (head / 2) + in_head / 2;
}

static bool is_adapted(const struct planned *t, const struct plan_piece *piece)
{
    const struct lora *l = t->plan->job->r.lora;
    return l && piece->layer >= 0 && lora_at(l, piece->layer, piece->proj);
}

/* The row as the base stores it, where that is what is wanted; else NULL. */
static const void *row_as_stored(const struct planned *t, const struct plan_piece *piece, int64_t r)
{
    const struct mat *m = &piece->mat;
    if (t->add != 0 || is_adapted(t, piece))
        return NULL;
    if (t->part == PART_WHOLE)
        return m->type == t->type ? (const unsigned char *)m->data + (size_t)r * m->row_bytes : NULL;
    if (m->type != t->plan->mlx || m->group != t->plan->group)
        return NULL;
    if (t->part == PART_CODES)
        return (const unsigned char *)m->data + (size_t)r * m->row_bytes;
    if (m->scale_type != t->type)
        return NULL;
    return (const unsigned char *)(t->part == PART_SCALES ? m->scales : m->biases) + (size_t)r * t->row_bytes;
}

/* The f32 row into work[0 .. cols). */
static void float_row(const struct planned *t, const struct plan_piece *piece, int64_t r, float *work)
{
    const struct export_request *q = &t->plan->job->r;
    if (piece->layer >= 0)
        export_fused_row(q->model, q->lora, piece->layer, piece->proj, r, work, work + t->cols);
    else
        mat_row_to_f32(&piece->mat, r, work);
    for (int64_t i = 0; t->add != 0 && i < t->cols; i++)
        work[i] += t->add;
}

static const struct plan_piece *piece_of(const struct planned *t, int64_t *r)
{
    const struct plan_piece *piece = t->pieces;
    *r = export_model_row(*r, t->rows, t->turned_heads);
    while (*r >= piece->mat.rows)
        *r -= (piece++)->mat.rows;
    assert(piece < t->pieces + t->n_pieces);
    return piece;
}

static void make_mlx_row(const struct planned *t, float *work, unsigned char *out)
{
    const size_t n = (size_t)t->cols, groups = n / (size_t)t->plan->group;
    uint32_t *codes = (uint32_t *)(void *)(work + n); /* at most 8 bits a value; the scales behind them */
    unsigned char *scales = (unsigned char *)(work + 2 * n), *biases = scales + groups * sizeof(float);
    quantise_mlx_row(t->plan->mlx == DT_MLX4 ? 4 : 8, t->plan->group, t->plan->mlx_scales, work, codes, scales, biases, n);
    memcpy(out, t->part == PART_CODES ? (const void *)codes : t->part == PART_SCALES ? scales : biases, t->row_bytes);
}

static void make_row(const struct planned *t, int64_t r, float *work, unsigned char *out)
{
    const struct plan_piece *piece = piece_of(t, &r);
    const void *stored = row_as_stored(t, piece, r);
    if (stored) {
        memcpy(out, stored, t->row_bytes);
        return;
    }
    float_row(t, piece, r, work);
    if (t->part == PART_WHOLE)
        quantise_row(t->type, work, out, (size_t)t->cols);
    else
        make_mlx_row(t, work, out);
}

/* ---- a chunk of rows, in blocks on the pool ---- */

struct chunk {
    struct planned *t;
    int64_t first, n, block; /* rows; rows of a block */
    unsigned char *out;      /* NULL: only the greatest magnitude of each block is wanted */
    float *greatest;         /* [blocks] */
};

static float *work_of(const struct plan *p, int slot)
{
    return (float *)(void *)((unsigned char *)p->work + (size_t)slot * p->work_bytes);
}

static void run_block(void *arg, int block, int slot)
{
    const struct chunk *c = arg;
    float *work = work_of(c->t->plan, slot), top = 0;
    int64_t from = block * c->block, to = from + c->block < c->n ? from + c->block : c->n;
    for (int64_t i = from; i < to; i++) {
        if (c->out) {
            make_row(c->t, c->first + i, work, c->out + (size_t)i * c->t->row_bytes);
            continue;
        }
        int64_t r = c->first + i;
        const struct plan_piece *piece = piece_of(c->t, &r);
        float_row(c->t, piece, r, work);
        for (int64_t k = 0; k < c->t->cols; k++)
            top = fabsf(work[k]) > top ? fabsf(work[k]) : top;
    }
    if (!c->out)
        c->greatest[block] = top;
}

static int run_chunk(struct chunk *c)
{
    const struct compute *compute = c->t->plan->job->c;
    c->block = BLOCK_VALUES / c->t->cols + 1;
    int blocks = (int)((c->n + c->block - 1) / c->block);
    pool_run(compute->pool, compute->role, run_block, c, blocks);
    return blocks;
}

static int64_t chunk_rows(const struct planned *t)
{
    int64_t n = CHUNK_BYTES / (int64_t)t->row_bytes;
    return n < 1 ? 1 : n < t->rows ? n : t->rows;
}

/* After each chunk. False: cancelled. */
static bool go_on(struct planned *t, size_t bytes, int from, int to, struct gm_error *err)
{
    struct plan *p = t->plan;
    p->bytes_done += bytes;
    export_progress(p->job, (from + (to - from) * ((double)p->bytes_done / (double)p->bytes_all)) / 100, t->name);
    return !export_cancelled(p->job, err);
}

/* Rows are handed to `take` in order, as they stand in the file. */
static bool each_chunk(struct planned *t, bool (*take)(void *arg, const unsigned char *bytes, size_t at, size_t n), void *arg, int from, int to,
                       struct gm_error *err)
{
    const size_t all = (size_t)t->rows * t->row_bytes;
    if (t->bits) {
        for (size_t at = 0; at < all; at += CHUNK_BYTES) {
            size_t n = all - at < CHUNK_BYTES ? all - at : CHUNK_BYTES;
            if (!take(arg, (const unsigned char *)t->bits + at, at, n))
                return false;
            if (!go_on(t, n, from, to, err))
                return false;
        }
        return true;
    }
    int64_t step = chunk_rows(t);
    for (int64_t first = 0; first < t->rows; first += step) {
        struct chunk c = {.t = t, .first = first, .n = t->rows - first < step ? t->rows - first : step, .out = t->plan->chunk};
        run_chunk(&c);
        size_t n = (size_t)c.n * t->row_bytes;
        if (!take(arg, c.out, (size_t)first * t->row_bytes, n))
            return false;
        if (!go_on(t, n, from, to, err))
            return false;
    }
    return true;
}

static bool to_writer(void *arg, const unsigned char *bytes, size_t at, size_t n)
{
    writer_write(arg, bytes, n);
    return true;
}

bool plan_produce(void *arg, struct writer *w, struct gm_error *err)
{
    return each_chunk(arg, to_writer, w, 0, SHARE_CHECKING, err);
}

struct comparison {
    const unsigned char *have;
    size_t wrong_at;
    bool wrong;
};

static bool to_comparison(void *arg, const unsigned char *bytes, size_t at, size_t n)
{
    struct comparison *c = arg;
    if (memcmp(bytes, c->have + at, n) == 0)
        return true;
    c->wrong = true;
    for (c->wrong_at = at; bytes[c->wrong_at - at] == c->have[c->wrong_at]; c->wrong_at++)
        ;
    return false;
}

bool plan_check(struct planned *t, const struct tensor_info *have, struct gm_error *err)
{
    if (!have || have->type != t->type || have->n_dims != t->n_dims || memcmp(have->shape, t->shape, sizeof *t->shape * (size_t)t->n_dims) != 0)
        return error_set(err, GM_E_CHECK, "%s is not what was written (the disk may be bad)", t->name);
    struct comparison c = {.have = have->data};
    if (each_chunk(t, to_comparison, &c, SHARE_CHECKING, SHARE_PROVING, err))
        return true;
    if (!c.wrong)
        return false; /* cancelled */
    return error_set(err, GM_E_CHECK, "row %zu of %s is not what was written (the disk may be bad)", c.wrong_at / t->row_bytes, t->name);
}

float plan_max_abs(struct planned *t)
{
    float greatest[1024], top = 0;
    const int64_t step = 1024 * (BLOCK_VALUES / t->cols + 1);
    for (int64_t first = 0; first < t->rows; first += step) {
        struct chunk c = {.t = t, .first = first, .n = t->rows - first < step ? t->rows - first : step, .greatest = greatest};
        int blocks = run_chunk(&c);
        for (int i = 0; i < blocks; i++)
            top = greatest[i] > top ? greatest[i] : top;
    }
    return top;
}
