/* layer.c - see layer.h. */
#include "engine/model/layer.h"

#include "engine/base/file.h"
#include "engine/base/rng.h"
#include "engine/kernel/attention.h"
#include "engine/kernel/matmul.h"
#include "engine/kernel/ops.h"

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
    *a = (struct attention_shape){.n_heads = c->n_heads, .n_kv_heads = c->n_kv_heads, .head_dim = c->head_dim,
                                  .window = c->sliding[layer] ? c->sliding_window : 0, .scale = c->attn_scale, .softcap = c->attn_softcap};
}

static double mat_bytes(const struct mat *w) { return (double)w->rows * (double)w->row_bytes; }

/* Inverted dropout: element e of row-major x survives when its number of the stream is large enough. */
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
    int64_t end = (int64_t)(block + 1) * DROP_BLOCK < j->n ? (int64_t)(block + 1) * DROP_BLOCK : j->n;
    for (int64_t e = (int64_t)block * DROP_BLOCK; e < end; e += 4) {
        uint64_t number = (uint64_t)e / 4;
        const uint32_t counter[4] = {(uint32_t)number, (uint32_t)(number >> 32) ^ j->slice, j->stream[0], j->stream[1]};
        uint32_t out[4];
        rng_philox(counter, j->key, out);
        for (int k = 0; k < 4 && e + k < end; k++) {
            float v = out[k] >= j->least ? j->scale * j->x[e + k] : 0;
            j->y[e + k] = j->add ? j->y[e + k] + v : v;
        }
    }
}

static void drop(const struct layer_run *r, int layer, enum proj p, float *y, const float *x, int64_t n, bool add)
{
    struct rng stream = rng_stream(r->dropout.seed, "dropout", (r->dropout.step * MODEL_MAX_LAYERS + (uint64_t)layer) * PROJ_COUNT + (uint64_t)p);
    uint32_t slice = (uint32_t)r->dropout.row0;
    struct drop_job j = {.key = {stream.key[0], stream.key[1]}, .stream = {stream.stream[0], stream.stream[1]}, .slice = slice, .x = x, .y = y, .n = n, .add = add};
    j.least = (uint32_t)((double)r->dropout.p * 4294967296.0);
    j.scale = 1 / (1 - r->dropout.p);
    pool_run(r->c->pool, r->c->role, drop_block, &j, (int)((n + DROP_BLOCK - 1) / DROP_BLOCK));
}

static struct mat mat_a(const struct lora *l, const struct lora_pair *pair) { return mat_f32(l->set.w + pair->a, l->options.rank, pair->in); }
static struct mat mat_b(const struct lora *l, const struct lora_pair *pair) { return mat_f32(l->set.w + pair->b, pair->out, l->options.rank); }

/* The common case: one adapter for all rows, no dropout. Base and A together read (and convert) x once. */
static void project_together(const struct layer_run *r, int layer, const enum proj *which, int n, const float *x, int64_t T, float *const *y,
                             float *const *u)
{
    const struct lora *l = r->spans[0].lora;
    struct mat a[3];
    const struct mat *w[6];
    float *out[6];
    int64_t ld[6];
    int count = 0;
    double flops = 0, bytes = 0;
    for (int i = 0; i < n; i++) {
        w[count] = &r->m->layers[layer].w[which[i]];
        out[count] = y[i];
        ld[count] = w[count]->rows;
        flops += 2.0 * (double)T * (double)w[count]->rows * (double)w[count]->cols;
        bytes += mat_bytes(w[count++]);
    }
    for (int i = 0; l && i < n; i++) {
        const struct lora_pair *pair = lora_at(l, layer, which[i]);
        if (!pair)
            continue;
        a[i] = mat_a(l, pair);
        w[count] = &a[i];
        out[count] = u[i];
        ld[count] = l->options.rank;
        flops += 2.0 * (double)T * (double)l->options.rank * (double)pair->in;
        count++;
    }
    if (count == 1)
        matmul_nt(r->c, out[0], ld[0], x, w[0]->cols, T, w[0], false);
    else
        matmul_nt_multi(r->c, count, out, ld, x, w[0]->cols, T, w);
    part_end(r->parts, PART_PRODUCTS, flops, bytes);
}

/* y += u Bᵀ with u = s x̃ Aᵀ, for the rows of one span. have_u: x Aᵀ is already there. */
static void add_adapter(const struct layer_run *r, const struct lora_span *s, int layer, enum proj p, const float *x, float *y, float *u, bool have_u)
{
    const struct lora *l = s->lora;
    const struct lora_pair *pair = l ? lora_at(l, layer, p) : NULL;
    if (!pair || s->n == 0)
        return;
    int64_t rank = l->options.rank;
    struct mat a = mat_a(l, pair), b = mat_b(l, pair);
    u += s->row0 * rank;
    if (!have_u) {
        const float *from = x + s->row0 * pair->in;
        if (r->dropout.p > 0) {
            drop(r, layer, p, r->dropped, from, s->n * pair->in, false);
            from = r->dropped;
        }
        matmul_nt(r->c, u, rank, from, pair->in, s->n, &a, false);
    }
    scale_inplace(r->c, u, l->options.scale, s->n * rank);
    matmul_nt(r->c, y + s->row0 * pair->out, pair->out, u, rank, s->n, &b, true);
    part_end(r->parts, PART_LORA, 2.0 * (double)s->n * (double)rank * (double)(pair->out + (have_u ? 0 : pair->in)), 0);
}

void layer_project(const struct layer_run *r, int layer, const enum proj *which, int n, const float *x, int64_t T, float *const *y, float *const *u)
{
    assert(n <= 3);
    if (r->n_spans == 1 && r->dropout.p == 0) {
        project_together(r, layer, which, n, x, T, y, u);
        for (int i = 0; i < n; i++)
            add_adapter(r, r->spans, layer, which[i], x, y[i], u[i], true);
        return;
    }
    struct lora_span base = {.n = T};
    struct layer_run plain = *r;
    plain.spans = &base;
    project_together(&plain, layer, which, n, x, T, y, u);
    for (int s = 0; s < r->n_spans; s++)
        for (int i = 0; i < n; i++)
            add_adapter(r, &r->spans[s], layer, which[i], x, y[i], u[i], false);
}

static void adapter_backward(const struct layer_run *r, int layer, enum proj p, const float *x, const float *u, const float *g, int64_t T,
                             const struct layer_grads *grads)
{
    const struct lora *l = r->spans[0].lora;
    const struct lora_pair *pair = lora_at(l, layer, p);
    int64_t rank = l->options.rank;
    struct mat b = mat_b(l, pair);
    matmul_tn(r->c, grads->lora + pair->b, rank, g, pair->out, pair->out, u, rank, rank, T, 1, true);
    matmul_nn(r->c, grads->du, rank, g, pair->out, T, &b, false);
    scale_inplace(r->c, grads->du, l->options.scale, T * rank);
    if (r->dropout.p > 0) {
        drop(r, layer, p, r->dropped, x, T * pair->in, false);
        x = r->dropped;
    }
    matmul_tn(r->c, grads->lora + pair->a, pair->in, grads->du, rank, rank, x, pair->in, pair->in, T, 1, true);
    part_end(r->parts, PART_BACK_LORA, 2.0 * (double)T * (double)rank * (2.0 * (double)pair->out + (double)pair->in), 0);
}

static void adapter_to_input(const struct layer_run *r, int layer, enum proj p, int64_t T, const float *du, float *dx)
{
    const struct lora *l = r->spans[0].lora;
    const struct lora_pair *pair = lora_at(l, layer, p);
    struct mat a = mat_a(l, pair);
    if (r->dropout.p > 0) {
        matmul_nn(r->c, r->dropped, pair->in, du, l->options.rank, T, &a, false);
        drop(r, layer, p, dx, r->dropped, T * pair->in, true);
    } else {
        matmul_nn(r->c, dx, pair->in, du, l->options.rank, T, &a, true);
    }
    part_end(r->parts, PART_BACK_LORA, 2.0 * (double)T * (double)l->options.rank * (double)pair->in, 0);
}

void layer_project_backward(const struct layer_run *r, int layer, enum proj p, const float *x, const float *u, const float *g, int64_t T,
                            const struct layer_grads *grads, float *dx, bool accumulate)
{
    const struct mat *w = &r->m->layers[layer].w[p];
    const struct lora *l = r->spans[0].lora;
    bool adapted = grads->lora && l && lora_at(l, layer, p);
    double flops = 2.0 * (double)T * (double)w->rows * (double)w->cols;
    if (grads->full) {
        matmul_tn(r->c, grads->full + grads->weight_offset[p], w->cols, g, w->rows, w->rows, x, w->cols, w->cols, T, 1, true);
        part_end(r->parts, PART_WEIGHTS, flops, 0);
    }
    if (adapted)
        adapter_backward(r, layer, p, x, u, g, T, grads);
    if (!dx)
        return;
    matmul_nn(r->c, dx, w->cols, g, w->rows, T, w, accumulate);
    part_end(r->parts, PART_BACK_PRODUCTS, flops, mat_bytes(w));
    if (adapted)
        adapter_to_input(r, layer, p, T, grads->du, dx);
}
