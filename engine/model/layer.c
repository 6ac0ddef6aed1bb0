/* layer.c - see layer.h: forward, and what both ways share. */
#include "engine/model/layer.h"

#include "engine/base/file.h"
#include "engine/base/rng.h"
#include "engine/kernel/attention.h"
#include "engine/kernel/matmul.h"
#include "engine/kernel/ops.h"
#include "engine/kernel/pieces.h"
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

void layer_drop(const struct layer_run *r, int layer, enum proj p, struct rows y, struct rows x,
                int64_t T, int64_t n, enum drop_way way)
{
    struct rng stream = rng_stream(
        r->dropout.seed, "dropout",
        (r->dropout.step * MODEL_MAX_LAYERS + (uint64_t)layer) * PROJ_COUNT + (uint64_t)p);
    const struct drop d = {.key = {stream.key[0], stream.key[1]},
                           .stream = {stream.stream[0], stream.stream[1]},
                           .slice = (uint32_t)r->dropout.row0,
                           .least = (uint32_t)((double)r->dropout.p * 4294967296.0),
                           .scale = 1 / (1 - r->dropout.p),
                           .kept = r->dropout.kept[layer][p],
                           .draw = way == DROP_DRAW};
    rows_drop(r->c, y, x, T, n, &d, way == DROP_ADD);
}

struct mat layer_mat_a(const struct lora *l, const struct lora_pair *pair)
{
    return mat_f32(l->set.w + pair->a, l->options.rank, pair->in);
}

struct mat layer_mat_b(const struct lora *l, const struct lora_pair *pair)
{
    return mat_f32(l->set.w + pair->b, pair->out, l->options.rank);
}

int layer_first_with_a(const struct lora_pair *const *pair, int i)
{
    int k = i;
    while (k > 0 && pair[k - 1] && pair[k - 1]->a == pair[i]->a)
        k--;
    return k;
}

double layer_product_flops(int64_t T, const struct mat *w)
{
    return 2.0 * (double)T * (double)w->rows * (double)w->cols;
}

double layer_product_bytes(int64_t T, const struct mat *w, enum dtype in, enum dtype out)
{
    return (double)mat_bytes(w) + (double)T * ((double)w->cols * (in == DT_BF16 ? 2 : 4) +
                                               (double)w->rows * (out == DT_BF16 ? 2 : 4));
}

/* Which projections of a group are adapted; those that share an A are made once, with the first. */
static void find_pairs(const struct lora *l, int layer, const enum proj *which, int n,
                       const struct lora_pair **pair, int *first)
{
    for (int i = 0; i < n; i++)
        pair[i] = l ? lora_at(l, layer, which[i]) : NULL;
    for (int i = 0; i < n; i++)
        first[i] = pair[i] ? layer_first_with_a(pair, i) : -1;
}

void layer_adapt_rows(const struct layer_run *r, int layer, const enum proj *which, int n,
                      struct rows x, int64_t T, const struct rows *u)
{
    const struct lora *l = r->spans[0].lora;
    const struct lora_pair *pair[LAYER_GROUP];
    int first[LAYER_GROUP], at[LAYER_GROUP], n_z = 0;
    struct mat a[LAYER_GROUP];
    struct matmul_output z[LAYER_GROUP];
    double flops = 0, bytes = 0;
    find_pairs(l, layer, which, n, pair, first);
    for (int i = 0; i < n; i++) {
        if (first[i] != i)
            continue;
        const int64_t rank = l->options.rank;
        const bool direct = u[i].type == DT_F32;
        a[i] = layer_mat_a(l, pair[i]);
        z[n_z] = (struct matmul_output){
            .y = direct ? u[i].data : r->thin + n_z * T * rank,
            .ldy = direct ? u[i].ld : rank,
            .n_terms = 1,
            .terms = {{.a = x.data, .lda = x.ld, .a_type = x.type, .w = &a[i]}}};
        flops += layer_product_flops(T, &a[i]);
        bytes += layer_product_bytes(T, &a[i], x.type, u[i].type);
        if (r->dropout.p > 0) { /* each has a mask of its own */
            struct rows dropped = r->dropped;
            layer_drop(r, layer, which[i], dropped, x, T, pair[i]->in, DROP_DRAW);
            z[n_z].terms[0].a = dropped.data;
            z[n_z].terms[0].lda = dropped.ld;
            matmul_nt_joined(r->c, &z[n_z], 1, T);
        }
        at[n_z++] = i;
    }
    if (n_z == 0)
        return;
    if (r->dropout.p == 0)
        matmul_nt_joined(r->c, z, n_z, T);
    for (int k = 0; k < n_z; k++)
        rows_scale(r->c, u[at[k]], rows_of(z[k].y, DT_F32, z[k].ldy), l->options.scale, T, l->options.rank);
    part_end(r->parts, PART_LORA, flops, bytes);
}

/* y = x Wᵀ + u Bᵀ: each weight joined with its B. */
static void multiply(const struct layer_run *r, int layer, const enum proj *which, int n,
                     struct rows x, int64_t T, const struct rows *y, const struct rows *u)
{
    const struct layer *weights = &r->m->layers[layer];
    const struct lora *l = r->spans[0].lora;
    const struct lora_pair *pair[LAYER_GROUP];
    int first[LAYER_GROUP];
    struct mat b[LAYER_GROUP];
    struct matmul_output out[LAYER_GROUP];
    double flops = 0, bytes = 0;
    assert(n >= 1 && n <= LAYER_GROUP && r->n_spans == 1);
    find_pairs(l, layer, which, n, pair, first);
    for (int i = 0; i < n; i++) {
        const struct mat *w = &weights->w[which[i]];
        out[i] = (struct matmul_output){
            .y = y[i].data, .ldy = y[i].ld, .y_type = y[i].type, .n_terms = 1,
            .terms = {{.a = x.data, .lda = x.ld, .a_type = x.type, .w = w}}};
        flops += layer_product_flops(T, w);
        bytes += layer_product_bytes(T, w, x.type, y[i].type);
        if (!pair[i])
            continue;
        const struct rows *from = &u[first[i]];
        b[i] = layer_mat_b(l, pair[i]);
        out[i].terms[out[i].n_terms++] = (struct matmul_term){
            .a = from->data, .lda = from->ld, .a_type = from->type, .w = &b[i]};
        flops += layer_product_flops(T, &b[i]);
        bytes += (double)mat_bytes(&b[i]);
    }
    matmul_nt_joined(r->c, out, n, T);
    part_end(r->parts, PART_PRODUCTS, flops, bytes);
}

/* y = y gain + bias: DoRA's gain of the one span, and what the family has. */
static void finish(const struct layer_run *r, int layer, const enum proj *which, int n, int64_t T, const struct rows *y)
{
    const struct layer *weights = &r->m->layers[layer];
    const struct lora *l = r->n_spans == 1 ? r->spans[0].lora : NULL;
    for (int i = 0; i < n; i++) {
        const struct lora_pair *pair = l ? lora_at(l, layer, which[i]) : NULL;
        const float *gain = pair ? dora_gain(l, pair) : NULL, *bias = weights->bias[which[i]];
        if (gain || bias)
            rows_affine(r->c, y[i], gain, bias, T, weights->w[which[i]].rows);
    }
}

void layer_project_rows(const struct layer_run *r, int layer, const enum proj *which, int n,
                        struct rows x, int64_t T, const struct rows *y, const struct rows *u)
{
    layer_adapt_rows(r, layer, which, n, x, T, u);
    multiply(r, layer, which, n, x, T, y, u);
    finish(r, layer, which, n, T, y);
}

/* y += u Bᵀ with u = s x Aᵀ, for the rows of each span: the products of up to SPANS_AT_ONCE adapters go as one job. */
enum { SPANS_AT_ONCE = 32 };
static void add_adapters(const struct layer_run *r, const struct lora_span *spans, int n_spans, int layer, const enum proj *which, int n,
                         const float *x, float *const *y, float *const *u)
{
    const struct lora_pair *pair[SPANS_AT_ONCE][LAYER_GROUP];
    struct mat a[SPANS_AT_ONCE][LAYER_GROUP], b[SPANS_AT_ONCE][LAYER_GROUP];
    struct piece down[SPANS_AT_ONCE * LAYER_GROUP], up[SPANS_AT_ONCE * LAYER_GROUP];
    int n_down = 0, n_up = 0, first[LAYER_GROUP];
    int64_t widest = 0; /* ranks may differ: a row of u has room for the largest */
    assert(n_spans <= SPANS_AT_ONCE);
    for (int s = 0; s < n_spans; s++)
        widest = spans[s].lora && spans[s].lora->options.rank > widest ? spans[s].lora->options.rank : widest;
    for (int s = 0; s < n_spans; s++) {
        const struct lora *l = spans[s].lora;
        const int64_t row0 = spans[s].row0, rows = spans[s].n;
        if (!l || rows == 0)
            continue;
        find_pairs(l, layer, which, n, pair[s], first);
        for (int i = 0; i < n; i++) {
            if (!pair[s][i])
                continue;
            const int64_t rank = l->options.rank, in = pair[s][i]->in, out = pair[s][i]->out;
            a[s][i] = layer_mat_a(l, pair[s][i]), b[s][i] = layer_mat_b(l, pair[s][i]);
            if (first[i] == i)
                down[n_down++] = (struct piece){.w = &a[s][i], .a = x + row0 * in, .lda = in, .y = u[i] + row0 * widest, .ldy = rank, .rows = rows};
            up[n_up++] = (struct piece){.w = &b[s][i], .a = u[first[i]] + row0 * widest, .lda = rank, .y = y[i] + row0 * out, .ldy = out, .rows = rows,
                                        .accumulate = true};
        }
    }
    matmul_nt_pieces(r->c, down, n_down);
    for (int k = 0, s = 0; s < n_spans; s++)
        for (int i = 0; spans[s].lora && spans[s].n > 0 && i < n; i++)
            if (k < n_down && down[k].w == &a[s][i]) {
                scale_inplace(r->c, down[k].y, spans[s].lora->options.scale, down[k].rows * down[k].ldy);
                k++;
            }
    matmul_nt_pieces(r->c, up, n_up);
    for (int s = 0; s < n_spans; s++)
        for (int i = 0; spans[s].lora && spans[s].n > 0 && i < n; i++)
            if (pair[s][i] && dora_gain(spans[s].lora, pair[s][i]))
                rows_affine(r->c, rows_of(y[i] + spans[s].row0 * pair[s][i]->out, DT_F32, pair[s][i]->out), dora_gain(spans[s].lora, pair[s][i]), NULL,
                            spans[s].n, pair[s][i]->out);
}

void layer_project(const struct layer_run *r, int layer, const enum proj *which, int n,
                   const float *x, int64_t T, float *const *y, float *const *u)
{
    const struct layer *weights = &r->m->layers[layer];
    struct rows y_rows[LAYER_GROUP], u_rows[LAYER_GROUP];
    const struct rows input = rows_in(x, DT_F32, weights->w[which[0]].cols);
    for (int i = 0; i < n; i++) {
        y_rows[i] = rows_of(y[i], DT_F32, weights->w[which[i]].rows);
        u_rows[i] = rows_of(u[i], DT_F32, r->spans[0].lora ? r->spans[0].lora->options.rank : 0);
    }
    if (r->n_spans == 1) {
        layer_project_rows(r, layer, which, n, input, T, y_rows, u_rows);
        return;
    }
    const struct lora_span base = {.n = T};
    struct layer_run plain = *r;
    plain.spans = &base;
    plain.n_spans = 1;
    multiply(&plain, layer, which, n, input, T, y_rows, u_rows);
    for (int s = 0; s < r->n_spans; s += SPANS_AT_ONCE)
        add_adapters(r, r->spans + s, r->n_spans - s < SPANS_AT_ONCE ? r->n_spans - s : SPANS_AT_ONCE, layer, which, n, x, y, u);
    finish(r, layer, which, n, T, y_rows);
}
