/* attention.c - cuts attention into blocks for the pool; the kernels stand in attention_body.inc, the oracles in
 * attention_plain.c.
 *
 * Forward: a block is a tile of queries of one sequence and one key head. Backward: a short sequence is one block
 * per key head (dq, dk and dv in one go); of a long one, tiles of queries give dq and stretches of keys give dk and
 * dv, which computes the scores twice but needs no sum across blocks. Every output is written by one block only, and
 * how a sequence is cut depends on shapes alone: the bits do not depend on the threads. Heavy blocks (late queries,
 * early keys) come first.
 */
#include "engine/kernel/attention_kernels.h"
#include "engine/kernel/table.h"

#include <assert.h>

struct work {
    const struct compute *c;
    const struct attention_kernels *k;
    struct attention_part part; /* of sequence 0, key head 0 */
    int n_seqs;
    const int32_t *seq_start;
    const struct attention_request *requests;
    int joint_length, key_step; /* backward */
};

static const struct attention_kernels *kernels_of(enum family family)
{
    const struct attention_kernels *k = NULL;
    switch (family) {
    case FAMILY_AMX:
    case FAMILY_AVX512BF16:
    case FAMILY_AVX512F:
        k = attention_kernels_avx512();
        break;
    case FAMILY_AVX2:
        k = attention_kernels_avx2();
        break;
    default:
        break;
    }
    return k ? k : &attention_kernels_base;
}

static inline int pieces(int n, int step)
{
    return n / step + (n % step != 0);
}

/* Part `index` of n rows cut into `parts` nearly equal ranges. */
static inline int range(int n, int parts, int index, int *count)
{
    int first = (int)((int64_t)n * index / parts);
    *count = (int)((int64_t)n * (index + 1) / parts) - first;
    return first;
}

static struct attention_in in_at(struct attention_in x, int64_t row, int64_t column)
{
    x.data = attention_element(x.data, x.type, row * x.ld + column);
    return x;
}
static struct attention_out out_at(struct attention_out x, int64_t row, int64_t column)
{
    x.data = (void *)attention_element(x.data, x.type, row * x.ld + column);
    return x;
}

/* The part of key head `head` of a sequence whose queries start at `row` and whose keys start at `key_row`. */
static struct attention_part part_of(const struct work *w, int64_t row, int64_t key_row, int head)
{
    struct attention_part p = w->part;
    const int64_t narrow = (int64_t)head * p.a->head_dim, wide = narrow * p.group;
    p.q = in_at(p.q, row, wide);
    p.k = in_at(p.k, key_row, narrow);
    p.v = in_at(p.v, key_row, narrow);
    p.out = out_at(p.out, row, wide);
    if (p.lse)
        p.lse += row * p.ld_lse + head * p.group;
    if (p.dout.data) {
        p.dout = in_at(p.dout, row, wide);
        p.dq = out_at(p.dq, row, wide);
        p.dk = out_at(p.dk, key_row, narrow);
        p.dv = out_at(p.dv, key_row, narrow);
    }
    return p;
}

static float *scratch_of(const struct work *w, int slot)
{
    return w->c->scratch->slot[slot].data;
}

static void run(const struct compute *c, struct work *w, pool_fn fn, int64_t n_blocks, int keys)
{
    const struct attention_shape *a = w->part.a;
    assert(n_blocks <= INT32_MAX);
    if (n_blocks == 0)
        return;
    w->c = c;
    w->k = kernels_of(c->family);
    scratch_slots(c, attention_scratch_floats(a->head_dim, keys) * sizeof(float));
    pool_run(c->pool, c->role, fn, w, (int)n_blocks);
}

static bool is_float(enum dtype type)
{
    return type == DT_F32 || type == DT_BF16;
}

static struct work work_of(const struct attention_shape *a, const struct attention_batch *b, struct attention_out out, float *lse)
{
    assert(a->n_kv_heads > 0 && a->n_heads % a->n_kv_heads == 0 && a->head_dim > 0);
    assert(is_float(b->q.type) && is_float(b->k.type) && is_float(b->v.type) && is_float(out.type));
    return (struct work){.part = {.a = a, .group = a->n_heads / a->n_kv_heads, .q = b->q, .k = b->k, .v = b->v, .out = out,
                                  .lse = lse, .ld_lse = a->n_heads},
                         .n_seqs = b->n_seqs, .seq_start = b->seq_start};
}

double attention_flops(const struct attention_shape *a, int n_seqs, const int32_t *seq_start)
{
    double pairs = 0;
    for (int s = 0; s < n_seqs; s++) {
        const double n = seq_start[s + 1] - seq_start[s], w = a->window > 0 && a->window < n ? a->window : n;
        pairs += w * (w + 1) / 2 + (n - w) * w; /* the first w queries see 1 .. w keys, the others w */
    }
    return 4 * pairs * a->head_dim * a->n_heads;
}

static void forward_block(void *arg, int block, int slot)
{
    const struct work *w = arg;
    const int heads = w->part.a->n_kv_heads, step = attention_tile_queries(w->part.group);
    for (int s = 0; s < w->n_seqs; s++) {
        const int length = w->seq_start[s + 1] - w->seq_start[s], tiles = pieces(length, step);
        if (block >= tiles * heads) {
            block -= tiles * heads;
            continue;
        }
        int n, first = range(length, tiles, tiles - 1 - block / heads, &n);
        struct attention_part p = part_of(w, w->seq_start[s], w->seq_start[s], block % heads);
        w->k->forward(&p, 0, first, n, scratch_of(w, slot));
        return;
    }
}

void attention(const struct compute *c, const struct attention_shape *a, const struct attention_batch *b, struct attention_out out,
               float *lse)
{
    struct work w = work_of(a, b, out, lse);
    int64_t blocks = 0;
    for (int s = 0; s < b->n_seqs; s++)
        blocks += (int64_t)pieces(b->seq_start[s + 1] - b->seq_start[s], attention_tile_queries(w.part.group)) * a->n_kv_heads;
    run(c, &w, forward_block, blocks, ATTENTION_KEYS);
}

/* Blocks of a sequence for one key head: stretches of keys, then tiles of queries; or one for both. */
static int key_blocks(const struct work *w, int length)
{
    return length <= w->joint_length ? length > 0 : pieces(length, w->key_step);
}
static int query_blocks(const struct work *w, int length)
{
    return length <= w->joint_length ? 0 : pieces(length, attention_tile_queries(w->part.group));
}

static void backward_block(void *arg, int block, int slot)
{
    const struct work *w = arg;
    const int heads = w->part.a->n_kv_heads;
    float *scratch = scratch_of(w, slot);
    for (int s = 0; s < w->n_seqs; s++) {
        const int start = w->seq_start[s], length = w->seq_start[s + 1] - start;
        const int keys = key_blocks(w, length), queries = query_blocks(w, length);
        if (block >= (keys + queries) * heads) {
            block -= (keys + queries) * heads;
            continue;
        }
        struct attention_part p = part_of(w, start, start, block % heads);
        int n, first, index = block / heads;
        if (index < keys) {
            first = range(length, keys, index, &n);
            w->k->backward_keys(&p, length, first, n, queries == 0, scratch);
        } else {
            first = range(length, queries, keys + queries - 1 - index, &n);
            w->k->backward_queries(&p, first, n, scratch);
        }
        return;
    }
}

/* Up to which length a sequence is one block, and how many keys a block of a longer one takes, so that a block lasts about a
 * millisecond: a (query, key) pair costs 10 (joint) or 8 flops per head and dimension, of which a core does 50 to
 * 100 a nanosecond. */
static void plan_backward(struct work *w)
{
    const struct attention_shape *a = w->part.a;
    const int64_t padded = attention_padded(a->head_dim), per_pair = (int64_t)w->part.group * a->head_dim;
    int longest = 0;
    for (int s = 0; s < w->n_seqs; s++)
        longest = w->seq_start[s + 1] - w->seq_start[s] > longest ? w->seq_start[s + 1] - w->seq_start[s] : longest;
    w->joint_length = ATTENTION_KEYS;
    const bool plenty = (int64_t)w->n_seqs * a->n_kv_heads >= 8; /* blocks enough for any pool */
    for (int length = 128; length <= 256; length += 32)
        if ((plenty || length == 128) && length * padded <= 16384 && length * length * per_pair <= 8 << 20)
            w->joint_length = length;
    const int64_t span = a->window > 0 && a->window + ATTENTION_KEYS < longest ? a->window + ATTENTION_KEYS : longest;
    w->key_step = ATTENTION_KEYS;
    while (w->key_step > 16 && w->key_step * span * per_pair > 16 << 20) /* below 16 keys gathering the queries costs most */
        w->key_step /= 2;
}

void attention_backward(const struct compute *c, const struct attention_shape *a, const struct attention_batch *b,
                        struct attention_in dout, struct attention_in out, const float *lse, struct attention_out dq,
                        struct attention_out dk, struct attention_out dv)
{
    assert(is_float(dout.type) && is_float(dq.type) && is_float(dk.type) && is_float(dv.type));
    struct work w = work_of(a, b, (struct attention_out){(void *)out.data, out.ld, out.type}, (float *)lse); /* only read in backward */
    w.part.dout = dout;
    w.part.dq = dq, w.part.dk = dk, w.part.dv = dv;
    plan_backward(&w);
    int64_t blocks = 0;
    for (int s = 0; s < b->n_seqs; s++) {
        const int length = b->seq_start[s + 1] - b->seq_start[s];
        blocks += (int64_t)(key_blocks(&w, length) + query_blocks(&w, length)) * a->n_kv_heads;
    }
    run(c, &w, backward_block, blocks, w.joint_length);
}

static void cached_block(void *arg, int block, int slot)
{
    const struct work *w = arg;
    const struct attention_shape *a = w->part.a;
    const int heads = a->n_kv_heads, step = attention_tile_queries(w->part.group);
    int64_t row = 0;
    for (int i = 0; i < w->n_seqs; row += w->requests[i++].n_new) {
        const struct attention_request *r = w->requests + i;
        const int tiles = pieces(r->n_new, step);
        if (block >= tiles * heads) {
            block -= tiles * heads;
            continue;
        }
        int n, first = range(r->n_new, tiles, tiles - 1 - block / heads, &n);
        struct work here = *w;
        here.part.k.data = r->k_cache;
        here.part.v.data = r->v_cache;
        struct attention_part p = part_of(&here, row, 0, block % heads);
        w->k->forward(&p, r->n_past, first, n, scratch_of(w, slot));
        return;
    }
}

void attention_cached(const struct compute *c, const struct attention_shape *a, enum dtype type, float *out, const float *q,
                      const struct attention_request *requests, int n_requests)
{
    const int64_t wide = (int64_t)a->n_heads * a->head_dim, narrow = (int64_t)a->n_kv_heads * a->head_dim;
    const struct attention_batch b = {.q = {q, wide, DT_F32}, .k = {NULL, narrow, type}, .v = {NULL, narrow, type}, .n_seqs = n_requests};
    struct work w = work_of(a, &b, (struct attention_out){out, wide, DT_F32}, NULL);
    w.requests = requests;
    int64_t blocks = 0;
    for (int i = 0; i < n_requests; i++)
        blocks += (int64_t)pieces(requests[i].n_new, attention_tile_queries(w.part.group)) * a->n_kv_heads;
    run(c, &w, cached_block, blocks, ATTENTION_KEYS);
}
