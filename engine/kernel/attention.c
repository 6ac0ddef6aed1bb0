/* attention.c - cuts attention into blocks for the pool; the kernels stand in attention_body.inc, the oracles in
 * attention_plain.c.
 *
 * Forward: a block is a tile of queries of one sequence and one key head. Backward: a short sequence is one block
 * per key head (dq, dk and dv in one go); of a long one, stretches of keys give dk and dv and leave the gradients of the scores behind,
 * from which tiles of queries then sum dq. Where those would take too much memory, scores are computed a second time instead.
 * A step of decoding against a long cache is cut by keys, and the parts are joined in their order. Every output is written by
 * one block only, and how a sequence is cut depends on shapes alone: the bits do not depend on the threads. Heavy blocks (late
 * queries, early keys) come first.
 */
#include "engine/kernel/attention_kernels.h"
#include "engine/kernel/table.h"

#include <assert.h>

enum { SPILL_BYTES = 16 << 20, CACHED_KEYS = 256 };

struct work {
    const struct compute *c;
    const struct attention_kernels *k;
    struct attention_part part; /* of sequence 0, key head 0 */
    int n_seqs;
    const int32_t *seq_start;
    const struct attention_request *requests;
    int first_head, heads;      /* key heads at work */
    float *shared;              /* backward: the gradients of the scores, or NULL; decoding: partial results */
    float *delta;
};

static const struct attention_kernels *kernels_of(const struct compute *c)
{
    const struct attention_kernels *k = NULL;
    switch (c->family) {
    case FAMILY_AVX512BF16:
        k = c->mode == GM_COMPUTE_BF16 ? attention_kernels_avx512bf16() : attention_kernels_avx512();
        break;
    case FAMILY_AMX:
        k = c->mode == GM_COMPUTE_BF16 ? attention_kernels_amx() : attention_kernels_avx512();
        break;
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
    if (p.delta)
        p.delta += row * p.ld_lse + head * p.group;
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

static void run(struct work *w, pool_fn fn, int64_t n_blocks)
{
    assert(n_blocks <= INT32_MAX);
    if (n_blocks > 0)
        pool_run(w->c->pool, w->c->role, fn, w, (int)n_blocks);
}

static bool is_float(enum dtype type)
{
    return type == DT_F32 || type == DT_BF16;
}

static struct work work_of(const struct compute *c, const struct attention_shape *a, const struct attention_batch *b,
                           struct attention_out out, float *lse)
{
    assert(a->n_kv_heads > 0 && a->n_heads % a->n_kv_heads == 0 && a->head_dim > 0);
    assert(is_float(b->q.type) && is_float(b->k.type) && is_float(b->v.type) && is_float(out.type));
    scratch_slots(c, attention_scratch_floats(a->head_dim) * sizeof(float));
    return (struct work){.c = c, .k = kernels_of(c), .heads = a->n_kv_heads,
                         .part = {.a = a, .group = a->n_heads / a->n_kv_heads, .q = b->q, .k = b->k, .v = b->v, .out = out,
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

/* Block numbers run over sequences, then pieces of a sequence, then key heads. */
struct place {
    int seq, start, length, piece, pieces, head;
    int64_t before; /* words of spill before this sequence and head */
};
typedef int (*pieces_fn)(const struct work *w, int length);

static int64_t count_blocks(const struct work *w, pieces_fn pieces_of)
{
    int64_t n = 0;
    for (int s = 0; s < w->n_seqs; s++)
        n += (int64_t)pieces_of(w, w->seq_start[s + 1] - w->seq_start[s]) * w->heads;
    return n;
}

static bool is_joint(int length)
{
    return length <= ATTENTION_KEYS;
}
static int64_t spill_of(const struct work *w, int length)
{
    return is_joint(length) || w->part.key_step == 0 ? 0 : attention_spill_words(&w->part, length, length, w->k->pair);
}

static struct place locate(const struct work *w, int block, pieces_fn pieces_of)
{
    struct place at = {0};
    for (;; at.seq++) {
        at.start = w->seq_start[at.seq];
        at.length = w->seq_start[at.seq + 1] - at.start;
        at.pieces = pieces_of(w, at.length);
        if (block < at.pieces * w->heads)
            break;
        block -= at.pieces * w->heads;
        at.before += spill_of(w, at.length) * w->heads;
    }
    at.piece = block / w->heads;
    at.before += spill_of(w, at.length) * (block % w->heads);
    at.head = w->first_head + block % w->heads;
    return at;
}

static int query_tiles(const struct work *w, int length)
{
    return pieces(length, attention_tile_queries(w->part.group));
}

static void forward_block(void *arg, int block, int slot)
{
    const struct work *w = arg;
    const struct place at = locate(w, block, query_tiles);
    int n, first = range(at.length, at.pieces, at.pieces - 1 - at.piece, &n);
    struct attention_part p = part_of(w, at.start, at.start, at.head);
    w->k->forward(&p, 0, first, n, scratch_of(w, slot));
}

void attention(const struct compute *c, const struct attention_shape *a, const struct attention_batch *b, struct attention_out out,
               float *lse)
{
    struct work w = work_of(c, a, b, out, lse);
    run(&w, forward_block, count_blocks(&w, query_tiles));
}

static int key_blocks(const struct work *w, int length)
{
    return is_joint(length) ? length > 0 : pieces(length, w->part.key_step);
}
static int dq_tiles(const struct work *w, int length)
{
    return is_joint(length) ? 0 : query_tiles(w, length);
}

static void keys_block(void *arg, int block, int slot)
{
    const struct work *w = arg;
    const struct place at = locate(w, block, key_blocks);
    const bool joint = is_joint(at.length);
    struct attention_part p = part_of(w, at.start, at.start, at.head);
    const int first = at.piece * p.key_step, n = joint || at.length - first < p.key_step ? at.length - first : p.key_step;
    float *spill = NULL;
    if (joint)
        p.key_step = ATTENTION_KEYS;
    else if (w->shared)
        spill = w->shared + at.before + attention_spill_words(&p, at.length, first, w->k->pair);
    w->k->backward_keys(&p, at.length, first, n, spill, joint, scratch_of(w, slot));
}

static void queries_block(void *arg, int block, int slot)
{
    const struct work *w = arg;
    const struct place at = locate(w, block, dq_tiles);
    int n, first = range(at.length, at.pieces, at.pieces - 1 - at.piece, &n);
    struct attention_part p = part_of(w, at.start, at.start, at.head);
    w->k->backward_queries(&p, at.length, first, n, w->shared ? w->shared + at.before : NULL, scratch_of(w, slot));
}

static int delta_rows(const struct work *w)
{
    const int64_t row = (int64_t)w->part.a->n_heads * w->part.a->head_dim;
    return row < 1 << 15 ? (int)((1 << 15) / row) : 1;
}

static void delta_block(void *arg, int block, int slot)
{
    (void)slot;
    const struct work *w = arg;
    const struct attention_shape *a = w->part.a;
    const struct attention_in dout = w->part.dout;
    const struct attention_out out = w->part.out;
    const int64_t end = w->seq_start[w->n_seqs], step = delta_rows(w), first = w->seq_start[0] + block * step;
    for (int64_t i = first; i < first + step && i < end; i++)
        for (int64_t h = 0; h < a->n_heads; h++)
            w->delta[i * a->n_heads + h] = w->k->delta(dout, i * dout.ld + h * a->head_dim, out, i * out.ld + h * a->head_dim, a->head_dim);
}

/* How many keys a block of a long sequence takes, so that it lasts about a millisecond: a (query, key) pair costs 8 flops per head and
 * dimension, of which a core does 200 (f32), 400 (bf16) or 800 (on tiles) a nanosecond. Fewer than 16 keys would spend their time on gathering queries. */
static int plan_key_step(const struct work *w)
{
    const struct attention_shape *a = w->part.a;
    int longest = 0, step = ATTENTION_KEYS;
    for (int s = 0; s < w->n_seqs; s++)
        longest = w->seq_start[s + 1] - w->seq_start[s] > longest ? w->seq_start[s + 1] - w->seq_start[s] : longest;
    const int64_t span = a->window > 0 && a->window + ATTENTION_KEYS < longest ? a->window + ATTENTION_KEYS : longest;
    while (step > 16 && step * span * w->part.group * a->head_dim > w->k->speed * (int64_t)(20 << 20))
        step /= 2;
    return step;
}

void attention_backward(const struct compute *c, const struct attention_shape *a, const struct attention_batch *b,
                        struct attention_in dout, struct attention_in out, const float *lse, struct attention_out dq,
                        struct attention_out dk, struct attention_out dv)
{
    assert(is_float(dout.type) && is_float(dq.type) && is_float(dk.type) && is_float(dv.type));
    struct work w = work_of(c, a, b, (struct attention_out){(void *)out.data, out.ld, out.type}, (float *)lse); /* only read here */
    w.part.dout = dout;
    w.part.dq = dq, w.part.dk = dk, w.part.dv = dv;
    w.part.key_step = plan_key_step(&w);

    int64_t spill = 0; /* words of one key head */
    for (int s = 0; s < b->n_seqs; s++)
        spill += spill_of(&w, b->seq_start[s + 1] - b->seq_start[s]);
    const int64_t fits = spill > 0 ? SPILL_BYTES / 4 / spill : a->n_kv_heads, rows = b->seq_start[b->n_seqs];
    const int heads = fits == 0 || fits > a->n_kv_heads ? a->n_kv_heads : (int)fits; /* 0: not even one head's, so none is kept */
    const int64_t kept = fits > 0 ? spill * heads : 0;
    float *shared = scratch_shared(c, 0, (size_t)(kept + rows * a->n_heads) * sizeof(float));
    w.shared = kept > 0 ? shared : NULL;
    if (spill > 0) { /* in a long sequence every block of keys asks for it */
        w.part.delta = w.delta = shared + kept;
        run(&w, delta_block, pieces((int)(rows - b->seq_start[0]), delta_rows(&w)));
    }
    for (w.first_head = 0; w.first_head < a->n_kv_heads; w.first_head += heads) {
        w.heads = a->n_kv_heads - w.first_head < heads ? a->n_kv_heads - w.first_head : heads;
        run(&w, keys_block, count_blocks(&w, key_blocks));
        run(&w, queries_block, count_blocks(&w, dq_tiles));
    }
}

/* How a request is cut: into tiles of queries, or, if it is one tile against a long cache, into parts of its keys. */
struct cut {
    int tiles, parts;
    int64_t begin, end; /* the keys that it sees */
};
static struct cut cut_of(const struct work *w, const struct attention_request *r)
{
    const struct attention_shape *a = w->part.a;
    struct cut cut = {.tiles = query_tiles(w, r->n_new), .parts = 1, .end = (int64_t)r->n_past + r->n_new};
    if (a->window > 0 && r->n_past >= a->window)
        cut.begin = r->n_past - a->window + 1;
    if (cut.tiles == 1 && w->part.group <= ATTENTION_ROWS)
        cut.parts = pieces((int)(cut.end - cut.begin), CACHED_KEYS);
    return cut;
}

static struct attention_part cached_part(const struct work *w, const struct attention_request *r, int64_t row, int head)
{
    struct work here = *w;
    here.part.k.data = r->k_cache;
    here.part.v.data = r->v_cache;
    return part_of(&here, row, 0, head);
}

static void cached_block(void *arg, int block, int slot)
{
    const struct work *w = arg;
    const struct attention_request *r = w->requests;
    float *partials = w->shared;
    int64_t row = 0;
    struct cut cut;
    for (;; row += r++->n_new) {
        cut = cut_of(w, r);
        const int blocks = cut.tiles * cut.parts * w->heads;
        if (block < blocks)
            break;
        block -= blocks;
        if (cut.parts > 1)
            partials += cut.parts * w->heads * attention_partial_floats(w->part.a->head_dim, r->n_new * w->part.group);
    }
    const struct attention_part p = cached_part(w, r, row, block % w->heads);
    int n, piece = block / w->heads;
    if (cut.parts > 1) {
        const int first = range((int)(cut.end - cut.begin), cut.parts, piece, &n);
        partials += (block % w->heads * cut.parts + piece) * attention_partial_floats(w->part.a->head_dim, r->n_new * w->part.group);
        w->k->forward_partial(&p, r->n_past, r->n_new, cut.begin + first, cut.begin + first + n, partials, scratch_of(w, slot));
    } else {
        const int first = range(r->n_new, cut.tiles, cut.tiles - 1 - piece, &n);
        w->k->forward(&p, r->n_past, first, n, scratch_of(w, slot));
    }
}

static void merge_block(void *arg, int block, int slot)
{
    const struct work *w = arg;
    const float *partials = w->shared;
    int64_t row = 0;
    for (const struct attention_request *r = w->requests;; row += r++->n_new) {
        const struct cut cut = cut_of(w, r);
        if (cut.parts == 1)
            continue;
        const int64_t size = cut.parts * attention_partial_floats(w->part.a->head_dim, r->n_new * w->part.group);
        if (block < w->heads) {
            const struct attention_part p = cached_part(w, r, row, block);
            w->k->merge(&p, r->n_new, cut.parts, partials + block * size, scratch_of(w, slot));
            return;
        }
        block -= w->heads;
        partials += size * w->heads;
    }
}

void attention_cached(const struct compute *c, const struct attention_shape *a, enum dtype type, float *out, const float *q,
                      const struct attention_request *requests, int n_requests)
{
    const int64_t wide = (int64_t)a->n_heads * a->head_dim, narrow = (int64_t)a->n_kv_heads * a->head_dim;
    const struct attention_batch b = {.q = {q, wide, DT_F32}, .k = {NULL, narrow, type}, .v = {NULL, narrow, type}, .n_seqs = n_requests};
    struct work w = work_of(c, a, &b, (struct attention_out){out, wide, DT_F32}, NULL);
    w.requests = requests;
    int64_t blocks = 0, merges = 0, floats = 0;
    for (int i = 0; i < n_requests; i++) {
        const struct cut cut = cut_of(&w, requests + i);
        blocks += (int64_t)cut.tiles * cut.parts * w.heads;
        if (cut.parts > 1) {
            merges += w.heads;
            floats += (int64_t)cut.parts * w.heads * attention_partial_floats(a->head_dim, requests[i].n_new * w.part.group);
        }
    }
    if (floats > 0)
        w.shared = scratch_shared(c, 0, (size_t)floats * sizeof(float));
    run(&w, cached_block, blocks);
    run(&w, merge_block, merges);
}
