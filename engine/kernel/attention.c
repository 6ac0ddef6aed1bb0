/* attention.c - attention, first version: one block per (sequence, key head), through the plain twins. */
#include "engine/kernel/attention.h"

#include "engine/base/mem.h"

#include <math.h>
#include <string.h>

struct work {
    const struct attention_shape *a;
    float *out, *lse, *dq, *dk, *dv;
    const float *dout, *q, *k, *v;
    int64_t ldq, ldk, ldv;
    const int32_t *seq_start;
    const struct attention_request *requests;
    enum dtype type;
};

static void run(const struct compute *c, pool_fn fn, struct work *w, int n_blocks)
{
    if (n_blocks > 0 && c->pool)
        pool_run(c->pool, c->role, fn, w, n_blocks);
    else
        for (int b = 0; b < n_blocks; b++)
            fn(w, b, 0);
}

static void forward_block(void *arg, int block, int slot)
{
    (void)slot;
    const struct work *w = arg;
    plain_attention(w->a, w->out, w->lse, w->q, w->ldq, w->k, w->ldk, w->v, w->ldv, 1, w->seq_start + block);
}

void attention(const struct compute *c, const struct attention_shape *a, float *out, float *lse, const float *q, int64_t ldq,
               const float *k, int64_t ldk, const float *v, int64_t ldv, int n_seqs, const int32_t *seq_start)
{
    struct work w = {.a = a, .out = out, .lse = lse, .q = q, .k = k, .v = v, .ldq = ldq, .ldk = ldk, .ldv = ldv, .seq_start = seq_start};
    run(c, forward_block, &w, n_seqs);
}

static void backward_block(void *arg, int block, int slot)
{
    (void)slot;
    const struct work *w = arg;
    plain_attention_backward(w->a, w->dq, w->dk, w->dv, w->dout, w->q, w->ldq, w->k, w->ldk, w->v, w->ldv, 1, w->seq_start + block);
}

void attention_backward(const struct compute *c, const struct attention_shape *a, float *dq, float *dk, float *dv,
                        const float *dout, const float *out, const float *lse, const float *q, int64_t ldq, const float *k,
                        int64_t ldk, const float *v, int64_t ldv, int n_seqs, const int32_t *seq_start)
{
    struct work w = {.a = a, .dq = dq, .dk = dk, .dv = dv, .dout = dout, .q = q, .k = k, .v = v, .ldq = ldq, .ldk = ldk, .ldv = ldv,
                     .seq_start = seq_start};
    run(c, backward_block, &w, n_seqs);
}

static void cached_block(void *arg, int block, int slot)
{
    (void)slot;
    const struct work *w = arg;
    const struct attention_shape *a = w->a;
    const struct attention_request *r = w->requests + block;
    const int64_t wide = (int64_t)a->n_heads * a->head_dim, narrow = (int64_t)a->n_kv_heads * a->head_dim;
    const int64_t total = r->n_past + r->n_new;
    int64_t before = 0;
    for (int i = 0; i < block; i++)
        before += w->requests[i].n_new;
    float *k = mem_new((size_t)(total * narrow), sizeof(float)), *v = mem_new((size_t)(total * narrow), sizeof(float));
    float *q = mem_new((size_t)(total * wide), sizeof(float)), *out = mem_new((size_t)(total * wide), sizeof(float));
    for (int64_t i = 0; i < total * narrow; i++) {
        k[i] = w->type == DT_BF16 ? bf16_to_f32(((const uint16_t *)r->k_cache)[i]) : ((const float *)r->k_cache)[i];
        v[i] = w->type == DT_BF16 ? bf16_to_f32(((const uint16_t *)r->v_cache)[i]) : ((const float *)r->v_cache)[i];
    }
    memcpy(q + r->n_past * wide, w->q + before * wide, (size_t)(r->n_new * wide) * sizeof(float));
    int32_t starts[2] = {0, (int32_t)total};
    plain_attention(a, out, NULL, q, wide, k, narrow, v, narrow, 1, starts);
    memcpy(w->out + before * wide, out + r->n_past * wide, (size_t)(r->n_new * wide) * sizeof(float));
    mem_free(k);
    mem_free(v);
    mem_free(q);
    mem_free(out);
}

void attention_cached(const struct compute *c, const struct attention_shape *a, enum dtype type, float *out, const float *q,
                      const struct attention_request *requests, int n_requests)
{
    struct work w = {.a = a, .out = out, .q = q, .requests = requests, .type = type};
    run(c, cached_block, &w, n_requests);
}
