/* pass_forward.c - the layers upward. Architecture: one order of steps; options of the
 * configuration say which norms there are. */
#include "engine/model/pass_private.h"

#include "engine/kernel/attention.h"
#include "engine/kernel/ops.h"

#include <string.h>

void pass_keep(const struct compute *c, void *to, const float *from, int64_t count)
{
    if (c->mode == GM_COMPUTE_F32)
        memcpy(to, from, (size_t)count * sizeof *from);
    else
        to_bf16(c, to, from, count);
}

void pass_keep_rounding(const struct compute *c, void *to, float *values, int64_t count)
{
    pass_keep(c, to, values, count);
    if (c->mode != GM_COMPUTE_F32)
        from_bf16(c, values, to, count);
}

const float *pass_fetch(const struct compute *c, const void *from, float *tmp, int64_t count)
{
    if (c->mode == GM_COMPUTE_F32)
        return from;
    from_bf16(c, tmp, from, count);
    return tmp;
}

void pass_fetch_copy(const struct compute *c, const void *from, float *to, int64_t count)
{
    if (c->mode == GM_COMPUTE_F32)
        memcpy(to, from, (size_t)count * sizeof *to);
    else
        from_bf16(c, to, from, count);
}

static void attend(struct pass *p, const struct layer_run *r, const struct batch *b, int layer,
                   struct kept *kept)
{
    const struct model_config *c = &p->m->config;
    const struct layer *l = &p->m->layers[layer];
    const int64_t T = b->T;
    if (l->norm_q) {
        rmsnorm(r->c, p->qs, NULL, p->qs, l->norm_q, T * c->n_heads, c->head_dim, c->rms_norm_eps);
        rmsnorm(r->c, p->ks, NULL, p->ks, l->norm_k, T * c->n_kv_heads, c->head_dim,
                c->rms_norm_eps);
    }
    ropes_turn(p->ropes, c, layer, r->c, p->qs, p->q, b->positions, c->n_heads, b->n_seqs,
               b->seq_start, NULL, false);
    ropes_turn(p->ropes, c, layer, r->c, p->ks, p->kv, b->positions, c->n_kv_heads, b->n_seqs,
               b->seq_start, NULL, false);
    part_end(r->parts, PART_ROWS, 0, 0);
    struct attention_shape shape;
    layer_attention_shape(c, layer, &shape);
    const struct attention_batch rows = {.q = {p->qs, p->q, DT_F32}, .k = {p->ks, p->kv, DT_F32}, .v = {p->vs, p->kv, DT_F32},
                                         .n_seqs = b->n_seqs, .seq_start = b->seq_start};
    attention(r->c, &shape, &rows, (struct attention_out){p->att, p->q, DT_F32}, kept ? kept->lse : NULL);
    part_end(r->parts, PART_ATTENTION, attention_flops(&shape, b->n_seqs, b->seq_start), 0);
}

void pass_forward_layer(struct pass *p, const struct layer_run *r, const struct batch *b, int layer,
                        struct kept *kept)
{
    static const enum proj qkv[] = {PROJ_Q, PROJ_K, PROJ_V}, out[] = {PROJ_O},
                           gated[] = {PROJ_GATE, PROJ_UP}, down[] = {PROJ_DOWN};
    const struct compute *c = r->c;
    const struct layer *l = &p->m->layers[layer];
    const float eps = p->m->config.rms_norm_eps;
    const int64_t T = b->T, d = p->d;
    float *const *u = p->u;

    if (kept)
        pass_keep(c, kept->x, p->x, T * d);
    rmsnorm(c, p->n, NULL, p->x, l->norm_in, T, d, eps);
    part_end(r->parts, PART_ROWS, 0, 0);
    layer_project(r, layer, qkv, 3, p->n, T, (float *const[]){p->qs, p->ks, p->vs},
                  kept ? &kept->u[PROJ_Q] : u);
    if (kept) { /* rounded now, so that backward recomputes the very same scores */
        pass_keep_rounding(c, kept->q, p->qs, T * p->q);
        pass_keep_rounding(c, kept->k, p->ks, T * p->kv);
        pass_keep_rounding(c, kept->v, p->vs, T * p->kv);
    }
    attend(p, r, b, layer, kept);
    if (kept)
        pass_keep(c, kept->att, p->att, T * p->q);
    part_end(r->parts, PART_ROWS, 0, 0);
    layer_project(r, layer, out, 1, p->att, T, &p->o, kept ? &kept->u[PROJ_O] : u);
    if (kept && kept->out)
        pass_keep(c, kept->out, p->o, T * d);
    if (l->norm_attn_out) {
        if (kept)
            pass_keep(c, kept->mid, p->o, T * d);
        rmsnorm(c, p->o, NULL, p->o, l->norm_attn_out, T, d, eps);
    }
    add_inplace(c, p->x, p->o, T * d);
    if (kept && !l->norm_attn_out)
        pass_keep(c, kept->mid, p->x, T * d);
    rmsnorm(c, p->n, NULL, p->x, l->norm_mlp_in, T, d, eps);
    part_end(r->parts, PART_ROWS, 0, 0);
    layer_project(r, layer, gated, 2, p->n, T, (float *const[]){p->gate, p->up},
                  kept ? &kept->u[PROJ_GATE] : u);
    if (kept && kept->gate) {
        pass_keep(c, kept->gate, p->gate, T * p->ff);
        pass_keep(c, kept->up, p->up, T * p->ff);
    }
    glu(c, p->h, p->gate, p->up, T * p->ff, p->m->config.act);
    part_end(r->parts, PART_ROWS, 0, 0);
    layer_project(r, layer, down, 1, p->h, T, &p->o, kept ? &kept->u[PROJ_DOWN] : u);
    if (kept && kept->down)
        pass_keep(c, kept->down, p->o, T * d);
    if (l->norm_mlp_out)
        rmsnorm(c, p->o, NULL, p->o, l->norm_mlp_out, T, d, eps);
    add_inplace(c, p->x, p->o, T * d);
    part_end(r->parts, PART_ROWS, 0, 0);
}

void pass_forward(struct pass *p, const struct layer_run *r, const struct batch *b, bool keep,
                  float *layer_outputs)
{
    const size_t row_bytes = (size_t)(b->T * p->d) * sizeof(float);
    part_begin(r->parts);
    embed_rows(r->c, p->x, &p->m->embed, b->ids, b->T,
               layer_embed_scale(&p->m->config, r->c->mode));
    part_end(r->parts, PART_EMBED, 0, 0);
    for (int i = 0; i < p->m->config.n_layers; i++) {
        if (layer_outputs)
            memcpy(layer_outputs + (int64_t)i * b->T * p->d, p->x, row_bytes);
        bool whole =
            keep && i >= p->first_layer; /* with checkpoints the layers overwrite one another: same
                                            numbers, all but x computed again */
        pass_forward_layer(p, r, b, i, whole ? &p->kept[i] : NULL);
    }
    if (layer_outputs)
        memcpy(layer_outputs + (int64_t)p->m->config.n_layers * b->T * p->d, p->x, row_bytes);
}
