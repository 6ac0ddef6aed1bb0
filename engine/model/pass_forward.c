/* pass_forward.c - the layers upward. Architecture: one order of steps; options of the
 * configuration say which norms there are. */
#include "engine/model/pass_private.h"

#include "engine/kernel/attention.h"
#include "engine/kernel/matmul.h"
#include "engine/kernel/ops.h"

#include <string.h>

struct rows pass_operand(const struct pass *p, void *data, int64_t n)
{
    return rows_of(data, p->type, matmul_stride(n));
}

double pass_traffic(const struct pass *p, int64_t T, int64_t n, int floats, int activations)
{
    return (double)(T * n) * (4.0 * floats + (p->type == DT_BF16 ? 2.0 : 4.0) * activations);
}

static void adapter_rows(const struct pass *p, void *const *u, int n, struct rows *rows)
{
    for (int i = 0; i < n; i++)
        rows[i] = pass_operand(p, u[i], p->rank);
}

struct heads pass_heads(const struct pass *p, const struct batch *b, int layer)
{
    const struct model_config *c = &p->m->config;
    const struct layer *l = &p->m->layers[layer];
    return (struct heads){.n_parts = 2,
                          .T = b->T,
                          .eps = c->rms_norm_eps,
                          .positions = b->positions,
                          .rotate = true,
                          .part = {{.heads = c->n_heads, .norm = l->norm_q}, {.heads = c->n_kv_heads, .norm = l->norm_k}}};
}

void pass_attention_batch(const struct pass *p, const struct batch *b, const struct kept *k, struct attention_batch *a)
{
    const bool in_place = p->turn_in_place;
    *a = (struct attention_batch){.q = {in_place ? k->q : p->q_turned, p->q, p->type},
                                  .k = {in_place ? k->k : p->k_turned, p->kv, p->type},
                                  .v = {k->v, p->kv, p->type},
                                  .n_seqs = b->n_seqs,
                                  .seq_start = b->seq_start};
}

static void attend(struct pass *p, const struct layer_run *r, const struct batch *b, int layer, const struct kept *k)
{
    const struct model_config *c = &p->m->config;
    struct heads h = pass_heads(p, b, layer);
    struct attention_batch rows;
    struct attention_shape shape;
    pass_attention_batch(p, b, k, &rows);
    h.part[0].x = pass_dense(p, k->q, p->q), h.part[0].to = rows_in(rows.q.data, p->type, p->q);
    h.part[1].x = pass_dense(p, k->k, p->kv), h.part[1].to = rows_in(rows.k.data, p->type, p->kv);
    ropes_turn_heads(p->ropes, c, layer, r->c, &h, b->n_seqs, b->seq_start, false);
    part_end(r->parts, PART_ROWS, 0, pass_traffic(p, b->T, p->q + p->kv, 0, 2));
    layer_attention_shape(c, layer, &shape);
    const struct rows att = pass_operand(p, k->att, p->q);
    attention(r->c, &shape, &rows, (struct attention_out){att.data, att.ld, att.type}, k->lse);
    rows_pad(att, b->T, p->q);
    part_end(r->parts, PART_ATTENTION, attention_flops(&shape, b->n_seqs, b->seq_start),
             pass_traffic(p, b->T, 2 * (p->q + p->kv), 0, 1));
}

void pass_enter(struct pass *p, const struct layer_run *r, const struct batch *b, int layer, float *x, const struct kept *k)
{
    const struct residual in = {.T = b->T, .n = p->d, .eps = p->m->config.rms_norm_eps, .x = x, .sum = pass_dense(p, k->x, p->d),
                                .norm = p->m->layers[layer].norm_in, .normed = pass_operand(p, p->n, p->d)};
    residual(r->c, &in);
}

/* From the normed input to the gated unit; x: the stream, NULL: computed again, for what is kept alone. */
static void up_to_gated(struct pass *p, const struct layer_run *r, const struct batch *b, int layer, const struct kept *k, float *x)
{
    static const enum proj qkv[] = {PROJ_Q, PROJ_K, PROJ_V}, out[] = {PROJ_O}, gate_up[] = {PROJ_GATE, PROJ_UP};
    const struct model_config *config = &p->m->config;
    const struct layer *l = &p->m->layers[layer];
    const struct rows n = pass_operand(p, p->n, p->d), o = rows_of(p->o, DT_F32, p->d);
    const int64_t T = b->T;
    struct rows u[LAYER_GROUP];

    adapter_rows(p, &k->u[PROJ_Q], 3, u);
    layer_project_rows(r, layer, qkv, 3, n, T,
                       (struct rows[]){pass_dense(p, k->q, p->q), pass_dense(p, k->k, p->kv), pass_dense(p, k->v, p->kv)}, u);
    attend(p, r, b, layer, k);
    adapter_rows(p, &k->u[PROJ_O], 1, u);
    layer_project_rows(r, layer, out, 1, pass_operand(p, k->att, p->q), T, &o, u);
    const struct residual middle = {.T = T, .n = p->d, .eps = config->rms_norm_eps, .x = x, .branch = o,
                                    .rounded = pass_dense(p, k->out, p->d), .norm_branch = l->norm_attn_out,
                                    .base = pass_dense(p, k->x, p->d), .sum = pass_dense(p, k->mid ? k->mid : p->mid, p->d),
                                    .norm = l->norm_mlp_in, .normed = n};
    residual(r->c, &middle);
    part_end(r->parts, PART_ROWS, 0, pass_traffic(p, T, p->d, 3, k->out ? 4 : 3));
    adapter_rows(p, &k->u[PROJ_GATE], 2, u);
    layer_project_rows(r, layer, gate_up, 2, n, T,
                       (struct rows[]){pass_operand(p, k->gate, p->ff), pass_operand(p, k->up, p->ff)}, u);
    const struct gated g = {.T = T, .n = p->ff, .act = config->act, .gate = pass_operand(p, k->gate, p->ff),
                            .up = pass_operand(p, k->up, p->ff), .h = pass_operand(p, p->h, p->ff)};
    gated(r->c, &g);
    part_end(r->parts, PART_ROWS, 0, pass_traffic(p, T, p->ff, 0, 3));
}

static const enum proj DOWN[] = {PROJ_DOWN};

/* The layer, and the entrance of the next one (NULL: there is none). */
static void forward_layer(struct pass *p, const struct layer_run *r, const struct batch *b, int layer, const struct kept *k,
                          const struct kept *next)
{
    const struct rows o = rows_of(p->o, DT_F32, p->d);
    struct rows u;
    up_to_gated(p, r, b, layer, k, p->x);
    adapter_rows(p, &k->u[PROJ_DOWN], 1, &u);
    layer_project_rows(r, layer, DOWN, 1, pass_operand(p, p->h, p->ff), b->T, &o, &u);
    const struct residual end = {.T = b->T, .n = p->d, .eps = p->m->config.rms_norm_eps, .x = p->x, .branch = o,
                                 .rounded = pass_dense(p, k->down, p->d), .norm_branch = p->m->layers[layer].norm_mlp_out,
                                 .sum = pass_dense(p, next ? next->x : NULL, p->d),
                                 .norm = next ? p->m->layers[layer + 1].norm_in : NULL, .normed = pass_operand(p, p->n, p->d)};
    residual(r->c, &end);
    part_end(r->parts, PART_ROWS, 0, pass_traffic(p, b->T, p->d, 3, (k->down != NULL) + (next ? 2 : 0)));
}

void pass_recompute(struct pass *p, const struct layer_run *r, const struct batch *b, int layer)
{
    const struct kept *k = &p->kept[layer];
    const struct rows h = pass_operand(p, p->h, p->ff), o = rows_of(p->o, DT_F32, p->d);
    struct rows u;
    pass_enter(p, r, b, layer, NULL, k);
    part_end(r->parts, PART_ROWS, 0, pass_traffic(p, b->T, p->d, 0, 2));
    up_to_gated(p, r, b, layer, k, NULL);
    adapter_rows(p, &k->u[PROJ_DOWN], 1, &u);
    if (!k->down) { /* what the layer adds is not wanted */
        layer_adapt_rows(r, layer, DOWN, 1, h, b->T, &u);
        return;
    }
    layer_project_rows(r, layer, DOWN, 1, h, b->T, &o, &u);
    rows_scale(r->c, pass_dense(p, k->down, p->d), o, 1, b->T, p->d);
    part_end(r->parts, PART_ROWS, 0, pass_traffic(p, b->T, p->d, 1, 1));
}

void pass_forward(struct pass *p, const struct layer_run *r, const struct batch *b, bool keep, float *layer_outputs)
{
    const int n_layers = p->m->config.n_layers;
    const size_t row_bytes = (size_t)(b->T * p->d) * sizeof(float);
    part_begin(r->parts);
    embed_rows(r->c, p->x, &p->m->embed, b->ids, b->T, layer_embed_scale(&p->m->config, r->c->mode));
    part_end(r->parts, PART_EMBED, 0, pass_traffic(p, b->T, p->d, 1, 1));
    const struct kept *k = &p->kept[keep ? 0 : n_layers - 1];
    pass_enter(p, r, b, 0, p->x, k);
    part_end(r->parts, PART_ROWS, 0, pass_traffic(p, b->T, p->d, 1, 2));
    for (int i = 0; i < n_layers; i++) {
        if (layer_outputs)
            memcpy(layer_outputs + (int64_t)i * b->T * p->d, p->x, row_bytes);
        const struct kept *next = i + 1 == n_layers ? NULL : keep ? &p->kept[i + 1] : k;
        forward_layer(p, r, b, i, k, next);
        k = next;
    }
    if (layer_outputs)
        memcpy(layer_outputs + (int64_t)n_layers * b->T * p->d, p->x, row_bytes);
}
