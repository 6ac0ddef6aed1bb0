/* layer.c - see layer.h. */
#include "engine/model/layer.h"

#include "engine/base/file.h"
#include "engine/base/rng.h"
#include "engine/kernel/attention.h"
#include "engine/kernel/matmul.h"
#include "engine/kernel/ops.h"
#include "engine/model/dora.h"

#include <assert.h>
#include <math.h>

void part_begin(struct part_clock *k)
{
    if (k)
        k->last = clock_seconds();
}

void part_end(struct part_clock *k, enum part p, double flops, double bytes)
{
    if (!k)
        return;
    double now = clock_seconds();
    k->seconds[p] += now - k->last;
    k->flops[p] += flops;
    k->bytes[p] += bytes;
    k->last = now;
}

float layer_embed_scale(const struct model_config *c, enum compute_mode mode)
{
    if (!c->scaled_embed)
        return 1;
    float exact = (float)sqrt((double)c->d_model);
    return mode == GM_COMPUTE_F32 ? exact : bf16_to_f32(f32_to_bf16(exact));
}

void layer_attention_shape(const struct model_config *c, int layer, struct attention_shape *a)
{
    *a = (struct attention_shape){.n_heads = c->n_heads,
                                  .n_kv_heads = c->n_kv_heads,
                                  .head_dim = c->head_dim,
                                  .window = c->sliding[layer] ? c->sliding_window : 0,
                                  .scale = c->attn_scale,
                                  .softcap = c->attn_softcap};
}

/* Inverted dropout: element e of row-major x survives when its number of the stream is large
 * enough. */
struct drop_job {
    uint32_t key[2], stream[2], slice, least;
    const float *x;
    float *y;
    int64_t n;
    float scale;
    bool add; /* y += instead of y = */
};

enum { DROP_BLOCK = 16384 };
static void drop_block(void *arg, int block, int slot)
{
    (void)slot;
    const struct drop_job *j = arg;
    int64_t end =
        (int64_t)(block + 1) * DROP_BLOCK < j->n ? (int64_t)(block + 1) * DROP_BLOCK : j->n;
    for (int64_t e = (int64_t)block * DROP_BLOCK; e < end; e += 4) {
        uint64_t number = (uint64_t)e / 4;
        const uint32_t counter[4] = {(uint32_t)number, (uint32_t)(number >> 32) ^ j->slice,
                                     j->stream[0], j->stream[1]};
        uint32_t out[4];
        rng_philox(counter, j->key, out);
        for (int k = 0; k < 4 && e + k < end; k++) {
            float v = out[k] >= j->least ? j->scale * j->x[e + k] : 0;
            j->y[e + k] = j->add ? j->y[e + k] + v : v;
        }
    }
}

static void drop(const struct layer_run *r, int layer, enum proj p, float *y, const float *x,
                 int64_t n, bool add)
{
    struct rng stream = rng_stream(
        r->dropout.seed, "dropout",
        (r->dropout.step * MODEL_MAX_LAYERS + (uint64_t)layer) * PROJ_COUNT + (uint64_t)p);
    uint32_t slice = (uint32_t)r->dropout.row0;
    struct drop_job j = {.key = {stream.key[0], stream.key[1]},
                         .stream = {stream.stream[0], stream.stream[1]},
                         .slice = slice,
                         .x = x,
                         .y = y,
                         .n = n,
                         .add = add};
    j.least = (uint32_t)((double)r->dropout.p * 4294967296.0);
    j.scale = 1 / (1 - r->dropout.p);
    pool_run(r->c->pool, r->c->role, drop_block, &j, (int)((n + DROP_BLOCK - 1) / DROP_BLOCK));
}

static struct mat mat_a(const struct lora *l, const struct lora_pair *pair)
{
    return mat_f32(l->set.w + pair->a, l->options.rank, pair->in);
}
static struct mat mat_b(const struct lora *l, const struct lora_pair *pair)
{
    return mat_f32(l->set.w + pair->b, pair->out, l->options.rank);
}

/* Products of one fused module share A, and so u: the index of the group's first product with this A. */
static int first_with_a(const struct lora_pair *const *pair, int i)
{
    int k = i;
    while (k > 0 && pair[k - 1] && pair[k - 1]->a == pair[i]->a)
        k--;
    return k;
}

static double product_flops(int64_t T, const struct mat *w)
{
    return 2.0 * (double)T * (double)w->rows * (double)w->cols;
}

/* DoRA, for the rows of one span. */
static void scale_rows(const struct layer_run *r, const struct lora_span *s, int layer, enum proj p,
                       float *y)
{
    const struct lora_pair *pair = s->lora ? lora_at(s->lora, layer, p) : NULL;
    if (!pair || pair->m < 0)
        return;
    dora_forward(r->c, s->lora, pair, y + s->row0 * pair->out, s->n);
    part_end(r->parts, PART_LORA, 0, 0);
}

/* The common case: one adapter for all rows, no dropout. u of all adapted ones first, then each
 * weight joined with its B. */
static void project_together(const struct layer_run *r, int layer, const enum proj *which, int n,
                             const float *x, int64_t T, float *const *y, float *const *u)
{
    const struct lora *l = r->spans[0].lora;
    const struct lora_pair *pair[LAYER_GROUP];
    struct mat a[LAYER_GROUP], b[LAYER_GROUP];
    struct matmul_output z[LAYER_GROUP], out[LAYER_GROUP];
    int n_z = 0;
    double flops = 0, bytes = 0, lora_flops = 0;
    assert(n >= 1 && n <= LAYER_GROUP);
    for (int i = 0; i < n; i++) {
        const struct mat *w = &r->m->layers[layer].w[which[i]];
        pair[i] = l ? lora_at(l, layer, which[i]) : NULL;
        out[i] = (struct matmul_output){
            .y = y[i], .ldy = w->rows, .n_terms = 1, .terms = {{.a = x, .lda = w->cols, .w = w}}};
        flops += product_flops(T, w);
        bytes += (double)mat_bytes(w);
        if (!pair[i])
            continue;
        int first = first_with_a(pair, i);
        b[i] = mat_b(l, pair[i]);
        out[i].terms[out[i].n_terms++] =
            (struct matmul_term){.a = u[first], .lda = b[i].cols, .w = &b[i]};
        flops += product_flops(T, &b[i]);
        if (first != i)
            continue;
        a[i] = mat_a(l, pair[i]);
        z[n_z++] = (struct matmul_output){.y = u[i],
                                          .ldy = a[i].rows,
                                          .n_terms = 1,
                                          .terms = {{.a = x, .lda = w->cols, .w = &a[i]}}};
        lora_flops += product_flops(T, &a[i]);
    }
    if (n_z > 0) {
        matmul_nt_joined(r->c, z, n_z, T);
        for (int i = 0; i < n_z; i++)
            scale_inplace(r->c, z[i].y, l->options.scale, T * z[i].ldy);
        part_end(r->parts, PART_LORA, lora_flops, 0);
    }
    matmul_nt_joined(r->c, out, n, T);
    part_end(r->parts, PART_PRODUCTS, flops, bytes);
    for (int i = 0; i < n; i++)
        scale_rows(r, &r->spans[0], layer, which[i], y[i]);
}

/* y += u Bᵀ with u = s x̃ Aᵀ, for the rows of one span. */
static void add_adapters(const struct layer_run *r, const struct lora_span *s, int layer,
                         const enum proj *which, int n, const float *x, float *const *y,
                         float *const *u)
{
    const struct lora *l = s->lora;
    const struct lora_pair *pair[LAYER_GROUP];
    for (int i = 0; i < n && l && s->n > 0; i++) {
        pair[i] = lora_at(l, layer, which[i]);
        if (!pair[i])
            continue;
        const int64_t rank = l->options.rank;
        const int first = first_with_a(pair, i);
        struct mat a = mat_a(l, pair[i]), b = mat_b(l, pair[i]);
        const float *from = x + s->row0 * pair[i]->in;
        float *us = u[first] + s->row0 * rank;
        if (first == i) {
            if (r->dropout.p > 0) {
                drop(r, layer, which[i], r->dropped, from, s->n * pair[i]->in, false);
                from = r->dropped;
            }
            matmul_nt(r->c, us, rank, from, pair[i]->in, s->n, &a, false);
            scale_inplace(r->c, us, l->options.scale, s->n * rank);
        }
        matmul_nt(r->c, y[i] + s->row0 * pair[i]->out, pair[i]->out, us, rank, s->n, &b, true);
        part_end(r->parts, PART_LORA, product_flops(s->n, &a) + product_flops(s->n, &b), 0);
        scale_rows(r, s, layer, which[i], y[i]);
    }
}

void layer_project(const struct layer_run *r, int layer, const enum proj *which, int n,
                   const float *x, int64_t T, float *const *y, float *const *u)
{
    if (r->n_spans == 1 && r->dropout.p == 0) {
        project_together(r, layer, which, n, x, T, y, u);
    } else {
        struct lora_span base = {.n = T};
        struct layer_run plain = *r;
        plain.spans = &base;
        project_together(&plain, layer, which, n, x, T, y, u);
        for (int s = 0; s < r->n_spans; s++)
            add_adapters(r, &r->spans[s], layer, which, n, x, y, u);
    }
    const struct layer *l = &r->m->layers[layer];
    for (int i = 0; i < n; i++)
        if (l->bias[which[i]])
            add_bias(r->c, y[i], l->bias[which[i]], T, l->w[which[i]].rows);
}

/* Which projections of a group are adapted and trained, with their factors. */
struct adapted {
    const struct lora *l;
    const struct lora_pair *pair[LAYER_GROUP]; /* NULL: not adapted */
    int first[LAYER_GROUP];                    /* of those that share its A: it stands for them */
    struct mat a[LAYER_GROUP], b[LAYER_GROUP];
};

static void find_adapted(const struct layer_run *r, int layer, const enum proj *which, int n,
                         const struct layer_grads *grads, struct adapted *f)
{
    *f = (struct adapted){.l = r->spans[0].lora};
    for (int i = 0; i < n && grads->lora && f->l; i++) {
        f->pair[i] = lora_at(f->l, layer, which[i]);
        if (f->pair[i]) {
            f->first[i] = first_with_a(f->pair, i);
            f->a[i] = mat_a(f->l, f->pair[i]);
            f->b[i] = mat_b(f->l, f->pair[i]);
        }
    }
}

/* du = s g B (a sum over those that share A), then gB += gᵀ u and gA += duᵀ x̃. */
static void adapters_backward(const struct layer_run *r, int layer, const enum proj *which, int n,
                              const struct adapted *f, const float *x, float *const *u,
                              float *const *g, int64_t T, const struct layer_grads *grads)
{
    const int64_t rank = f->l->options.rank;
    struct matmul_output du[LAYER_GROUP];
    int n_du = 0;
    double flops = 0;
    for (int i = 0; i < n; i++) {
        if (!f->pair[i])
            continue;
        if (f->first[i] == i)
            du[n_du++] = (struct matmul_output){.y = grads->du[i], .ldy = rank};
        struct matmul_output *sum = &du[n_du - 1];
        sum->terms[sum->n_terms++] =
            (struct matmul_term){.a = g[i], .lda = f->pair[i]->out, .w = &f->b[i]};
        flops += 2 * product_flops(T, &f->b[i]) + product_flops(T, &f->a[i]);
    }
    if (n_du == 0)
        return;
    matmul_nn_joined(r->c, du, n_du, T);
    for (int i = 0; i < n; i++) {
        const struct lora_pair *pair = f->pair[i];
        if (!pair)
            continue;
        const float *input = x;
        matmul_tn(r->c, grads->lora + pair->b, rank, g[i], pair->out, pair->out, u[f->first[i]],
                  rank, rank, T, 1, true);
        if (f->first[i] != i)
            continue;
        scale_inplace(r->c, grads->du[i], f->l->options.scale, T * rank);
        if (r->dropout.p > 0) {
            drop(r, layer, which[i], r->dropped, x, T * pair->in, false);
            input = r->dropped;
        }
        matmul_tn(r->c, grads->lora + pair->a, pair->in, grads->du[i], rank, rank, input, pair->in,
                  pair->in, T, 1, true);
    }
    part_end(r->parts, PART_BACK_LORA, flops, 0);
}

/* dx = sum of g_i W_i + dropout'(du_i A_i) */
static void to_input(const struct layer_run *r, int layer, const enum proj *which, int n,
                     const struct adapted *f, float *const *g, int64_t T,
                     const struct layer_grads *grads, float *dx)
{
    struct matmul_output out = {.y = dx, .ldy = r->m->layers[layer].w[which[0]].cols};
    double flops = 0, bytes = 0;
    for (int i = 0; i < n; i++) {
        const struct mat *w = &r->m->layers[layer].w[which[i]];
        out.terms[out.n_terms++] = (struct matmul_term){.a = g[i], .lda = w->rows, .w = w};
        flops += product_flops(T, w);
        bytes += (double)mat_bytes(w);
        if (f->pair[i] && f->first[i] == i && r->dropout.p == 0) {
            out.terms[out.n_terms++] =
                (struct matmul_term){.a = grads->du[i], .lda = f->a[i].rows, .w = &f->a[i]};
            flops += product_flops(T, &f->a[i]);
        }
    }
    matmul_nn_joined(r->c, &out, 1, T);
    part_end(r->parts, PART_BACK_PRODUCTS, flops, bytes);
    for (int i = 0; i < n && r->dropout.p > 0; i++)
        if (f->pair[i] && f->first[i] == i) {
            matmul_nn(r->c, r->dropped, f->pair[i]->in, grads->du[i], f->a[i].rows, T, &f->a[i],
                      false);
            drop(r, layer, which[i], dx, r->dropped, T * f->pair[i]->in, true);
            part_end(r->parts, PART_BACK_LORA, product_flops(T, &f->a[i]), 0);
        }
}

void layer_project_backward(const struct layer_run *r, int layer, const enum proj *which, int n,
                            const float *x, float *const *u, const void *const *y,
                            float *const *g, int64_t T, const struct layer_grads *grads, float *dx)
{
    struct adapted f;
    find_adapted(r, layer, which, n, grads, &f);
    for (int i = 0; i < n && grads->full; i++) {
        const struct mat *w = &r->m->layers[layer].w[which[i]];
        matmul_tn(r->c, grads->full + grads->weight_offset[which[i]], w->cols, g[i], w->rows,
                  w->rows, x, w->cols, w->cols, T, 1, true);
        if (grads->bias[which[i]])
            add_columns(r->c, grads->bias[which[i]], g[i], T, w->rows);
        part_end(r->parts, PART_WEIGHTS, product_flops(T, w), 0);
    }
    for (int i = 0; i < n; i++)
        if (f.pair[i] && f.pair[i]->m >= 0)
            dora_backward(r->c, f.l, f.pair[i], g[i], y[i], r->m->layers[layer].bias[which[i]], T,
                          grads->lora + f.pair[i]->m);
    if (f.l && grads->lora)
        adapters_backward(r, layer, which, n, &f, x, u, g, T, grads);
    if (dx)
        to_input(r, layer, which, n, &f, g, T, grads, dx);
}
