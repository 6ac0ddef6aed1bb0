/* decode.c - see decode.h. Rows of all requests go through the layers together; attention reads
 * each row's own cache.
 *
 * Cache: [layer][slot][max_tokens, kv] of keys (normed and rotated) and of values.
 */
#include "engine/model/decode.h"

#include "engine/base/mem.h"
#include "engine/kernel/attention.h"
#include "engine/kernel/head.h"
#include "engine/kernel/ops.h"
#include "engine/kernel/panels.h"
#include "engine/model/layer.h"
#include "engine/model/ropes.h"

#include <assert.h>
#include <string.h>

enum { BLOCK_ROWS = 256 }; /* rows of a block: prompts are cut */

struct slot {
    bool taken;
    int length;
};

struct decoder {
    const struct model *m;
    int n_slots, max_tokens, block_rows;
    enum dtype type;
    size_t row_bytes; /* of a cached row of one layer */
    int64_t d, q, kv, ff;
    struct slot *slots;
    unsigned char *keys, *values;
    struct arena arena;
    float *x, *n, *o, *qs, *ks, *vs, *att, *gate, *up, *h;
    float *hidden;          /* [n_slots, d] */
    float **logits;         /* [n_slots]: where the rows of hidden want theirs */
    struct head_want *wants; /* [n_slots]: and which of them exactly */
    const struct head_int8 *head;
    bool (*go_on)(void *arg); /* NULL: always */
    void *go_on_arg;
    float *u[3];            /* grows with the largest rank seen */
    int rank;
    int32_t *ids, *positions;
    struct attention_request *requests;
    struct lora_span *spans;
    struct chunk *chunks;
    int32_t *chunk_start, *lengths; /* [n_slots + 1], [n_slots]: rows of a block and lengths of their
                                       sequences with all that is asked for */
    const struct ropes *ropes;      /* the model's, or: */
    struct ropes long_ropes;        /* for more positions than those have */
};

/* A piece of one request in a block of rows. */
struct chunk {
    const struct decode_item *item;
    int64_t row0;
    int n;
    bool last; /* ends the request */
};

static size_t layer_slot_bytes(const struct decoder *d)
{
    return (size_t)d->max_tokens * d->row_bytes;
}

/* A sequence lies in one stretch, all its layers: a chat in one of many slots touches few pages for the first time. */
static unsigned char *cached(const struct decoder *d, unsigned char *base, int layer, int slot)
{
    return base + ((size_t)slot * (size_t)d->m->config.n_layers + (size_t)layer) * layer_slot_bytes(d);
}

static size_t take_floats(struct decoder *d, float **to, int64_t rows, int64_t cols)
{
    size_t bytes = (size_t)rows * (size_t)cols * sizeof **to;
    if (d->arena.base)
        *to = arena_take(&d->arena, bytes);
    return arena_cost(bytes);
}

static size_t plan(struct decoder *d)
{
    int64_t T = d->block_rows;
    return take_floats(d, &d->x, T, d->d) + take_floats(d, &d->n, T, d->d) +
           take_floats(d, &d->o, T, d->d) + take_floats(d, &d->qs, T, d->q) +
           take_floats(d, &d->ks, T, d->kv) + take_floats(d, &d->vs, T, d->kv) +
           take_floats(d, &d->att, T, d->q) + take_floats(d, &d->gate, T, d->ff) +
           take_floats(d, &d->up, T, d->ff) + take_floats(d, &d->h, T, d->ff) +
           take_floats(d, &d->hidden, d->n_slots, d->d);
}

static void describe(struct decoder *d, const struct model *m, int n_slots, int max_tokens,
                     bool f32_cache)
{
    const struct model_config *c = &m->config;
    *d = (struct decoder){.m = m,
                          .n_slots = n_slots,
                          .max_tokens = max_tokens,
                          .type = f32_cache ? DT_F32 : DT_BF16,
                          .d = c->d_model,
                          .q = (int64_t)c->n_heads * c->head_dim,
                          .kv = (int64_t)c->n_kv_heads * c->head_dim,
                          .ff = c->d_ff};
    d->row_bytes = (size_t)d->kv * (f32_cache ? 4 : 2);
    d->block_rows = BLOCK_ROWS > n_slots ? BLOCK_ROWS : n_slots;
}

static size_t cache_bytes(const struct decoder *d)
{
    return (size_t)d->m->config.n_layers * (size_t)d->n_slots * layer_slot_bytes(d);
}

static bool make_ropes(struct decoder *d, struct gm_error *err)
{
    d->ropes = d->m->ropes;
    if (d->max_tokens <= d->ropes->n_positions)
        return true;
    d->ropes = &d->long_ropes;
    return ropes_init(&d->long_ropes, &d->m->config, d->max_tokens, err);
}

struct decoder *decoder_new(const struct model *m, int n_slots, int max_tokens, bool f32_cache,
                            struct gm_error *err)
{
    if (n_slots < 1 || max_tokens < 1 || n_slots > 1 << 16 || max_tokens > 1 << 24) {
        error_set(err, GM_E_USAGE, "make decoder: %d sequences of %d tokens", n_slots, max_tokens);
        return NULL;
    }
    struct decoder *d = mem_new(1, sizeof *d);
    describe(d, m, n_slots, max_tokens, f32_cache);
    if (!arena_init(&d->arena, plan(d) + 64, "decoder", err) ||
        !(d->keys = mem_alloc(cache_bytes(d), "key cache", err)) ||
        !(d->values = mem_alloc(cache_bytes(d), "value cache", err)) || !make_ropes(d, err)) {
        decoder_free(d);
        return NULL;
    }
    plan(d);
    d->slots = mem_new((size_t)n_slots, sizeof *d->slots);
    d->ids = mem_new((size_t)d->block_rows, sizeof *d->ids);
    d->positions = mem_new((size_t)d->block_rows, sizeof *d->positions);
    d->requests = mem_new((size_t)n_slots, sizeof *d->requests);
    d->spans = mem_new((size_t)n_slots, sizeof *d->spans);
    d->chunks = mem_new((size_t)n_slots, sizeof *d->chunks);
    d->chunk_start = mem_new((size_t)n_slots + 1, sizeof *d->chunk_start);
    d->logits = mem_new((size_t)n_slots, sizeof *d->logits);
    d->lengths = mem_new((size_t)n_slots, sizeof *d->lengths);
    d->wants = mem_new((size_t)n_slots, sizeof *d->wants);
    return d;
}

void decoder_free(struct decoder *d)
{
    if (!d)
        return;
    ropes_free(&d->long_ropes);
    arena_free(&d->arena);
    for (int i = 0; i < 3; i++)
        mem_free(d->u[i]);
    mem_free(d->keys);
    mem_free(d->values);
    mem_free(d->slots);
    mem_free(d->ids);
    mem_free(d->positions);
    mem_free(d->requests);
    mem_free(d->spans);
    mem_free(d->chunks);
    mem_free(d->chunk_start);
    mem_free(d->lengths);
    mem_free(d->logits);
    mem_free(d->wants);
    mem_free(d);
}

void decoder_use(struct decoder *d, const struct model *m)
{
    assert(m->config.n_layers == d->m->config.n_layers && m->config.d_model == d->m->config.d_model && m->ropes == d->m->ropes);
    d->m = m;
}

void decoder_head(struct decoder *d, const struct head_int8 *head)
{
    d->head = head;
}

void decoder_between(struct decoder *d, bool (*go_on)(void *arg), void *arg)
{
    d->go_on = go_on;
    d->go_on_arg = arg;
}

int decoder_take(struct decoder *d)
{
    for (int i = 0; i < d->n_slots; i++)
        if (!d->slots[i].taken) {
            d->slots[i] = (struct slot){.taken = true};
            return i;
        }
    return -1;
}

void decoder_release(struct decoder *d, int slot)
{
    assert(slot >= 0 && slot < d->n_slots && d->slots[slot].taken);
    d->slots[slot] = (struct slot){0};
}

void decoder_truncate(struct decoder *d, int slot, int n)
{
    assert(d->slots[slot].taken && n >= 0 && n <= d->slots[slot].length);
    d->slots[slot].length = n;
}

void decoder_copy(struct decoder *d, int to, int from, int n)
{
    assert(to != from && d->slots[to].taken && d->slots[from].taken && n >= 0 && n <= d->slots[from].length);
    size_t bytes = (size_t)n * d->row_bytes;
    for (int i = 0; i < d->m->config.n_layers; i++) {
        memcpy(cached(d, d->keys, i, to), cached(d, d->keys, i, from), bytes);
        memcpy(cached(d, d->values, i, to), cached(d, d->values, i, from), bytes);
    }
    d->slots[to].length = n;
}

int decoder_length(const struct decoder *d, int slot)
{
    return d->slots[slot].length;
}

/* New keys and values of a block of rows into the caches of their sequences. */
static void store(struct decoder *d, const struct compute *c, int layer, int n_chunks)
{
    for (int i = 0; i < n_chunks; i++) {
        const struct chunk *k = &d->chunks[i];
        int slot = k->item->slot;
        size_t at = (size_t)d->positions[k->row0] * d->row_bytes;
        unsigned char *keys = cached(d, d->keys, layer, slot),
                      *values = cached(d, d->values, layer, slot);
        int64_t count = k->n * d->kv;
        if (d->type == DT_F32) {
            memcpy(keys + at, d->ks + k->row0 * d->kv, (size_t)count * sizeof(float));
            memcpy(values + at, d->vs + k->row0 * d->kv, (size_t)count * sizeof(float));
        } else {
            to_bf16(c, (uint16_t *)(void *)(keys + at), d->ks + k->row0 * d->kv, count);
            to_bf16(c, (uint16_t *)(void *)(values + at), d->vs + k->row0 * d->kv, count);
        }
        d->requests[i] = (struct attention_request){
            .k_cache = keys, .v_cache = values, .n_past = d->positions[k->row0], .n_new = k->n};
    }
}

/* What a step with few rows reads after the projections at hand: the n matrices `which` of a layer; before them, with attention, what is cached of a single
 * sequence. */
static void read_ahead(const struct decoder *d, const struct compute *c, int layer, const enum proj *which, int n, int64_t T, bool attention)
{
    const struct mat *w[LAYER_GROUP] = {&d->m->head};
    struct pool_bytes caches[2];
    int n_caches = 0;
    if (layer < d->m->config.n_layers)
        for (int i = 0; i < n; i++)
            w[i] = &d->m->layers[layer].w[which[i]];
    else
        n = 1;
    if (attention && T == 1) {
        const int past = d->positions[0], window = d->m->config.sliding[layer] ? d->m->config.sliding_window : 0,
                  begin = window > 0 && past >= window ? past - window + 1 : 0, slot = d->chunks[0].item->slot;
        const size_t at = (size_t)begin * d->row_bytes, bytes = (size_t)(past - begin) * d->row_bytes;
        caches[n_caches++] = (struct pool_bytes){cached(d, d->keys, layer, slot) + at, bytes};
        caches[n_caches++] = (struct pool_bytes){cached(d, d->values, layer, slot) + at, bytes};
    }
    panels_ahead(c, w, n, caches, n_caches);
}

static void run_layer(struct decoder *d, const struct layer_run *r, int layer, int64_t T,
                      int n_chunks)
{
    static const enum proj qkv[] = {PROJ_Q, PROJ_K, PROJ_V}, out[] = {PROJ_O},
                           gated[] = {PROJ_GATE, PROJ_UP}, down[] = {PROJ_DOWN};
    const struct compute *c = r->c;
    const struct model_config *config = &d->m->config;
    const struct layer *l = &d->m->layers[layer];
    const float eps = config->rms_norm_eps;
    rmsnorm(c, d->n, NULL, d->x, l->norm_in, T, d->d, eps);
    read_ahead(d, c, layer, out, 1, T, true);
    layer_project(r, layer, qkv, 3, d->n, T, (float *const[]){d->qs, d->ks, d->vs}, d->u);
    if (l->norm_q) {
        rmsnorm(c, d->qs, NULL, d->qs, l->norm_q, T * config->n_heads, config->head_dim, eps);
        rmsnorm(c, d->ks, NULL, d->ks, l->norm_k, T * config->n_kv_heads, config->head_dim, eps);
    }
    ropes_turn(d->ropes, config, layer, c, d->qs, d->q, d->positions, config->n_heads, n_chunks,
               d->chunk_start, d->lengths, false);
    ropes_turn(d->ropes, config, layer, c, d->ks, d->kv, d->positions, config->n_kv_heads, n_chunks,
               d->chunk_start, d->lengths, false);
    store(d, c, layer, n_chunks);
    struct attention_shape shape;
    layer_attention_shape(config, layer, &shape);
    attention_cached(c, &shape, d->type, d->att, d->qs, d->requests, n_chunks);
    read_ahead(d, c, layer, gated, 2, T, false);
    layer_project(r, layer, out, 1, d->att, T, &d->o, d->u);
    if (l->norm_attn_out)
        rmsnorm(c, d->o, NULL, d->o, l->norm_attn_out, T, d->d, eps);
    add_inplace(c, d->x, d->o, T * d->d);
    rmsnorm(c, d->n, NULL, d->x, l->norm_mlp_in, T, d->d, eps);
    read_ahead(d, c, layer, down, 1, T, false);
    layer_project(r, layer, gated, 2, d->n, T, (float *const[]){d->gate, d->up}, d->u);
    glu(c, d->h, d->gate, d->up, T * d->ff, config->act);
    read_ahead(d, c, layer + 1, qkv, 3, T, false);
    layer_project(r, layer, down, 1, d->h, T, &d->o, d->u);
    if (l->norm_mlp_out)
        rmsnorm(c, d->o, NULL, d->o, l->norm_mlp_out, T, d->d, eps);
    add_inplace(c, d->x, d->o, T * d->d);
}

static int make_spans(struct decoder *d, int n_chunks)
{
    int n = 0;
    for (int i = 0; i < n_chunks; i++) {
        const struct lora *l = d->chunks[i].item->lora;
        if (n > 0 && d->spans[n - 1].lora == l)
            d->spans[n - 1].n += d->chunks[i].n;
        else
            d->spans[n++] =
                (struct lora_span){.lora = l, .row0 = d->chunks[i].row0, .n = d->chunks[i].n};
    }
    return n;
}

/* Logits of the requests that end in this block and want them; those whose places lie one behind another are made together. */
static void give_logits(struct decoder *d, const struct compute *c, int n_chunks)
{
    const struct model *m = d->m;
    const int64_t vocab = m->config.vocab_size;
    int n = 0, done = 0;
    for (int i = 0; i < n_chunks; i++) {
        const struct chunk *k = &d->chunks[i];
        if (!k->last || !k->item->logits)
            continue;
        memcpy(d->hidden + n * d->d, d->x + (k->row0 + k->n - 1) * d->d, (size_t)d->d * sizeof(float));
        d->wants[n] = k->item->want;
        d->logits[n++] = k->item->logits;
    }
    if (n == 0)
        return;
    rmsnorm(c, d->hidden, NULL, d->hidden, m->norm_final, n, d->d, m->config.rms_norm_eps);
    for (int i = 1; i <= n; i++)
        if (i == n || d->logits[i] != d->logits[i - 1] + vocab) {
            if (d->head)
                head_int8_logits(d->head, c, &m->head, m->config.final_softcap, d->logits[done], d->hidden + done * d->d, i - done, d->wants + done);
            else
                head_logits(c, &m->head, m->config.final_softcap, d->logits[done], d->hidden + done * d->d, i - done);
            done = i;
        }
}

static void run_block(struct decoder *d, const struct compute *c, int64_t T, int n_chunks)
{
    struct layer_run r = {.c = c, .m = d->m, .spans = d->spans, .n_spans = make_spans(d, n_chunks)};
    embed_rows(c, d->x, &d->m->embed, d->ids, T, layer_embed_scale(&d->m->config, c->mode));
    for (int i = 0; i < d->m->config.n_layers; i++)
        run_layer(d, &r, i, T, n_chunks);
    give_logits(d, c, n_chunks);
    for (int i = 0; i < n_chunks; i++)
        d->slots[d->chunks[i].item->slot].length += d->chunks[i].n;
}

static bool check_items(struct decoder *d, const struct decode_item *items, int n_items,
                        struct gm_error *err)
{
    int rank = d->rank;
    assert(n_items <= d->n_slots);
    for (int i = 0; i < n_items; i++) {
        const struct decode_item *item = &items[i];
        assert(item->slot >= 0 && item->slot < d->n_slots && d->slots[item->slot].taken &&
               item->n >= 1 && (!item->lora || lora_is_bound(item->lora)));
        for (int k = 0; k < i; k++)
            assert(items[k].slot != item->slot);
        for (int k = 0; k < item->n; k++)
            assert(item->ids[k] >= 0 && item->ids[k] < d->m->config.vocab_size);
        int length = d->slots[item->slot].length;
        if (item->n > d->max_tokens - length)
            return error_set(
                err, GM_E_USAGE,
                "decode: %d tokens and %d new ones are more than the %d there is room for", length,
                item->n, d->max_tokens);
        rank = item->lora && item->lora->options.rank > rank ? item->lora->options.rank : rank;
    }
    for (int i = 0; i < 3 && rank > d->rank; i++) {
        mem_free(d->u[i]);
        d->u[i] = mem_new((size_t)d->block_rows * (size_t)rank, sizeof(float));
    }
    d->rank = rank;
    return true;
}

bool decoder_run(struct decoder *d, const struct compute *c, const struct decode_item *items,
                 int n_items, struct gm_error *err)
{
    if (!check_items(d, items, n_items, err))
        return false;
    int at = 0, done = 0; /* item, and how many of its tokens went through */
    while (at < n_items) {
        int64_t T = 0;
        int n_chunks = 0;
        while (at < n_items && T < d->block_rows) {
            const struct decode_item *item = &items[at];
            int n = item->n - done < d->block_rows - T ? item->n - done : (int)(d->block_rows - T);
            int past = d->slots[item->slot].length;
            for (int k = 0; k < n; k++) {
                d->ids[T + k] = item->ids[done + k];
                d->positions[T + k] = past + k;
            }
            d->lengths[n_chunks] = past + item->n - done;
            d->chunks[n_chunks++] =
                (struct chunk){.item = item, .row0 = T, .n = n, .last = done + n == item->n};
            T += n;
            d->chunk_start[n_chunks] = (int32_t)T;
            done += n;
            if (done == item->n) {
                at++;
                done = 0;
            }
        }
        run_block(d, c, T, n_chunks);
        if (at < n_items && d->go_on && !d->go_on(d->go_on_arg))
            return error_set(err, GM_E_CANCELLED, "decode: stopped within a prompt");
    }
    return true;
}
