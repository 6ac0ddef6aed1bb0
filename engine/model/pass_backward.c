/* pass_backward.c - the layers downward, written by hand. Notation: gN is the gradient of the loss
 * by N.
 *
 * Adapters: down to the lowest adapted layer. Full: all parameters; norm gradients are those of w
 * in x r (1 + w), which are the same as of w.
 */
#include "engine/model/pass_private.h"

#include "engine/kernel/attention.h"
#include "engine/kernel/ops.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static const enum proj QKV[] = {PROJ_Q, PROJ_K, PROJ_V}, OUT[] = {PROJ_O},
                       GATED[] = {PROJ_GATE, PROJ_UP}, DOWN[] = {PROJ_DOWN};

/* Where the gradients of one layer's vectors stand in the flat array; full training only. */
struct layer_offsets {
    float *norm_in, *norm_attn_out, *norm_mlp_in, *norm_mlp_out, *norm_q, *norm_k;
};

static float *grad_of(const struct model *m, float *grads, const float *master)
{
    return master ? grads + (master - m->full.w) : NULL;
}

static void find_grads(const struct model *m, int layer, float *grads, struct layer_offsets *o,
                       struct layer_grads *g)
{
    const struct layer *l = &m->masters[layer];
    *o = (struct layer_offsets){.norm_in = grad_of(m, grads, l->norm_in),
                                .norm_attn_out = grad_of(m, grads, l->norm_attn_out),
                                .norm_mlp_in = grad_of(m, grads, l->norm_mlp_in),
                                .norm_mlp_out = grad_of(m, grads, l->norm_mlp_out),
                                .norm_q = grad_of(m, grads, l->norm_q),
                                .norm_k = grad_of(m, grads, l->norm_k)};
    for (int p = 0; p < PROJ_COUNT; p++) {
        g->weight_offset[p] = (size_t)((const float *)l->w[p].data - m->full.w);
        g->bias[p] = grad_of(m, grads, l->bias[p]);
    }
}

struct walk {
    struct pass *p;
    const struct layer_run *r;
    const struct batch *b;
    const struct kept *k;
    const struct layer *l;
    int layer;
    struct layer_grads grads;
    struct layer_offsets at; /* all NULL unless full */
    bool below;              /* the gradient of the layer's input is wanted */
};

static bool needs_input(const struct walk *w, enum proj which)
{
    return w->grads.full || (w->grads.lora && lora_at(w->r->spans[0].lora, w->layer, which));
}

/* The gradient of an output that is added to the residual stream: p->dx itself, or a copy where
 * DoRA will write into it. */
static float *own_gradient(const struct walk *w, enum proj which)
{
    struct pass *p = w->p;
    const struct lora *l = w->r->spans[0].lora;
    const struct lora_pair *pair = l ? lora_at(l, w->layer, which) : NULL;
    if (!pair || pair->m < 0)
        return p->dx;
    memcpy(p->dout, p->dx, (size_t)(w->b->T * p->d) * sizeof *p->dx);
    return p->dout;
}

/* gate or up: as kept, or, where the layer has just been computed again and they still stand in `values`, rounded there to what
 * would have been kept. p->h is free meanwhile. */
static const float *gated_input(struct walk *w, const void *kept, float *values)
{
    const int64_t n = w->b->T * w->p->ff;
    if (kept)
        return pass_fetch(w->r->c, kept, values, n);
    pass_keep_rounding(w->r->c, w->p->h, values, n);
    return values;
}

/* p->dx: gradient of the layer's output, becomes that of the residual before the MLP. p->x: that
 * residual, computed again. */
static void mlp_backward(struct walk *w)
{
    struct pass *p = w->p;
    const struct compute *c = w->r->c;
    const struct model_config *config = &p->m->config;
    const int64_t T = w->b->T, d = p->d;
    const float eps = config->rms_norm_eps;
    const float *gate = gated_input(w, w->k->gate, p->gate), *up = gated_input(w, w->k->up, p->up);
    float *g_down;
    if (w->l->norm_mlp_out) {
        const float *down = pass_fetch(c, w->k->down, p->o, T * d);
        rmsnorm(c, p->n, p->rstd, down, w->l->norm_mlp_out, T, d, eps); /* for rstd */
        rmsnorm_backward(c, p->dout, w->at.norm_mlp_out, p->dx, down, p->rstd, w->l->norm_mlp_out,
                         T, d, false);
        g_down = p->dout;
    } else {
        g_down = own_gradient(w, PROJ_DOWN);
    }
    if (needs_input(w, PROJ_DOWN))
        glu(c, p->h, gate, up, T * p->ff, config->act);
    part_end(w->r->parts, PART_BACK_ROWS, 0, 0);
    layer_project_backward(w->r, w->layer, DOWN, 1, p->h, &w->k->u[PROJ_DOWN],
                           (const void *const[]){w->k->down}, &g_down, T, &w->grads, p->h);
    glu_backward(c, p->h, p->dup, p->h, gate, up, T * p->ff, config->act);

    const float *mid;
    if (w->l->norm_attn_out) {
        const float *out = pass_fetch(c, w->k->mid, p->o, T * d);
        pass_fetch_copy(c, w->k->x, p->x, T * d);
        rmsnorm(c, p->n, p->rstd_out, out, w->l->norm_attn_out, T, d, eps);
        add_inplace(c, p->x, p->n, T * d);
        mid = p->x;
    } else {
        mid = pass_fetch(c, w->k->mid, p->x, T * d);
    }
    rmsnorm(c, p->n, p->rstd, mid, w->l->norm_mlp_in, T, d, eps);
    part_end(w->r->parts, PART_BACK_ROWS, 0, 0);
    layer_project_backward(w->r, w->layer, GATED, 2, p->n, &w->k->u[PROJ_GATE],
                           (const void *const[]){w->k->gate, w->k->up},
                           (float *const[]){p->h, p->dup}, T, &w->grads, p->dn);
    rmsnorm_backward(c, p->dx, w->at.norm_mlp_in, p->dn, mid, p->rstd, w->l->norm_mlp_in, T, d,
                     true);
    part_end(w->r->parts, PART_BACK_ROWS, 0, 0);
}

/* q or k: normed (Gemma) and rotated as in the forward pass, into `turned`. */
static void turn(struct walk *w, const void *kept, const float *raw, const float *norm,
                 float *turned, int heads)
{
    const struct model_config *config = &w->p->m->config;
    const int64_t T = w->b->T;
    if (norm)
        rmsnorm(w->r->c, turned, NULL, raw, norm, T * heads, config->head_dim,
                config->rms_norm_eps);
    else
        pass_fetch_copy(w->r->c, kept, turned, T * heads * config->head_dim);
    ropes_turn(w->p->ropes, config, w->layer, w->r->c, turned, (int64_t)heads * config->head_dim,
               w->b->positions, heads, w->b->n_seqs, w->b->seq_start, NULL, false);
}

static void turn_back(struct walk *w, float *g, const float *raw, const float *norm, float *g_norm,
                      float *scratch, int heads)
{
    const struct model_config *config = &w->p->m->config;
    const int64_t T = w->b->T;
    ropes_turn(w->p->ropes, config, w->layer, w->r->c, g, (int64_t)heads * config->head_dim,
               w->b->positions, heads, w->b->n_seqs, w->b->seq_start, NULL, true);
    if (!norm)
        return;
    rmsnorm(w->r->c, scratch, w->p->rstd_heads, raw, norm, T * heads, config->head_dim,
            config->rms_norm_eps); /* for rstd */
    rmsnorm_backward(w->r->c, g, g_norm, g, raw, w->p->rstd_heads, norm, T * heads,
                     config->head_dim, false);
}

static void attention_part_backward(struct walk *w)
{
    struct pass *p = w->p;
    const struct compute *c = w->r->c;
    const struct model_config *config = &p->m->config;
    const int64_t T = w->b->T, d = p->d;
    float *g_out;
    if (w->l->norm_attn_out) { /* rstd_out was computed with the residual before the MLP */
        const float *out = pass_fetch(c, w->k->mid, p->o, T * d);
        rmsnorm_backward(c, p->dout, w->at.norm_attn_out, p->dx, out, p->rstd_out,
                         w->l->norm_attn_out, T, d, false);
        g_out = p->dout;
    } else {
        g_out = own_gradient(w, PROJ_O);
    }
    const float *att = pass_fetch(c, w->k->att, p->att, T * p->q);
    part_end(w->r->parts, PART_BACK_ROWS, 0, 0);
    layer_project_backward(w->r, w->layer, OUT, 1, att, &w->k->u[PROJ_O],
                           (const void *const[]){w->k->out ? w->k->out : w->k->mid}, &g_out, T,
                           &w->grads, p->datt);

    const bool norms =
        w->l->norm_q != NULL; /* without them the numbers before the rotation are not needed */
    const float *q = norms ? pass_fetch(c, w->k->q, p->qs, T * p->q) : NULL,
                *k = norms ? pass_fetch(c, w->k->k, p->ks, T * p->kv) : NULL;
    const float *v = pass_fetch(c, w->k->v, p->vs, T * p->kv);
    turn(w, w->k->q, q, w->l->norm_q, p->q_turned, config->n_heads);
    turn(w, w->k->k, k, w->l->norm_k, p->k_turned, config->n_kv_heads);
    part_end(w->r->parts, PART_BACK_ROWS, 0, 0);
    struct attention_shape shape;
    layer_attention_shape(config, w->layer, &shape);
    const struct attention_batch rows = {.q = {p->q_turned, p->q, DT_F32}, .k = {p->k_turned, p->kv, DT_F32}, .v = {v, p->kv, DT_F32},
                                         .n_seqs = w->b->n_seqs, .seq_start = w->b->seq_start};
    attention_backward(c, &shape, &rows, (struct attention_in){p->datt, p->q, DT_F32}, (struct attention_in){att, p->q, DT_F32},
                       w->k->lse, (struct attention_out){p->dq, p->q, DT_F32}, (struct attention_out){p->dk, p->kv, DT_F32},
                       (struct attention_out){p->dv, p->kv, DT_F32});
    part_end(w->r->parts, PART_BACK_ATTENTION, 2.5 * attention_flops(&shape, w->b->n_seqs, w->b->seq_start), 0);
    turn_back(w, p->dq, q, w->l->norm_q, w->at.norm_q, p->q_turned, config->n_heads);
    turn_back(w, p->dk, k, w->l->norm_k, w->at.norm_k, p->k_turned, config->n_kv_heads);

    const float *x = pass_fetch(c, w->k->x, p->x, T * d);
    rmsnorm(c, p->n, p->rstd, x, w->l->norm_in, T, d, config->rms_norm_eps);
    part_end(w->r->parts, PART_BACK_ROWS, 0, 0);
    layer_project_backward(w->r, w->layer, QKV, 3, p->n, &w->k->u[PROJ_Q],
                           (const void *const[]){w->k->q, w->k->k, w->k->v},
                           (float *const[]){p->dq, p->dk, p->dv}, T, &w->grads,
                           w->below ? p->dn : NULL);
    if (w->below)
        rmsnorm_backward(c, p->dx, w->at.norm_in, p->dn, x, p->rstd, w->l->norm_in, T, d, true);
    part_end(w->r->parts, PART_BACK_ROWS, 0, 0);
}

void pass_backward(struct pass *p, const struct layer_run *r, const struct batch *b,
                   const struct lora *lora, float *grads)
{
    bool full = p->limits.kind == PASS_FULL;
    for (int layer = p->m->config.n_layers - 1; layer >= p->first_layer; layer--) {
        struct walk w = {.p = p,
                         .r = r,
                         .b = b,
                         .k = &p->kept[layer],
                         .l = &p->m->layers[layer],
                         .layer = layer,
                         .below = full || layer > p->first_layer};
        w.grads = (struct layer_grads){.lora = lora ? grads : NULL,
                                       .full = full ? grads : NULL,
                                       .du = {p->du[0], p->du[1], p->du[2]}};
        if (full)
            find_grads(p->m, layer, grads, &w.at, &w.grads);
        if (layer < p->first_kept) {
            pass_fetch_copy(r->c, w.k->x, p->x, b->T * p->d);
            pass_forward_layer(p, r, b, layer, &p->kept[layer]);
        }
        mlp_backward(&w);
        attention_part_backward(&w);
    }
    if (!full)
        return;
    const struct param *embed = &p->m->full.params[0];
    embed_backward(grads + embed->offset, p->dx, b->ids, b->T, p->d,
                   layer_embed_scale(&p->m->config, r->c->mode));
    part_end(r->parts, PART_EMBED, 0, 0);
}
