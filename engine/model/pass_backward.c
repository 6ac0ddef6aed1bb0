/* pass_backward.c - the layers downward, written by hand. Notation: gN is the gradient of the loss
 * by N.
 *
 * Adapters: down to the lowest adapted layer. Full: all parameters; norm gradients are those of w
 * in x r (1 + w), which are the same as of w.
 */
#include "engine/model/pass_private.h"

#include "engine/kernel/attention.h"
#include "engine/kernel/ops.h"


static const enum proj QKV[] = {PROJ_Q, PROJ_K, PROJ_V}, OUT[] = {PROJ_O},
                       GATE_UP[] = {PROJ_GATE, PROJ_UP}, DOWN[] = {PROJ_DOWN};

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

static bool needs_weights(const struct walk *w, enum proj which)
{
    return w->grads.full || (w->grads.lora && lora_at(w->r->spans[0].lora, w->layer, which));
}

static struct layer_back way_back(const struct walk *w, const enum proj *which, int n)
{
    struct layer_back b = {.which = which, .n = n, .T = w->b->T};
    for (int i = 0; i < n; i++)
        b.u[i] = pass_operand(w->p, w->k->u[which[i]], w->p->rank);
    return b;
}

/* dx goes through the norm of a branch into p->dout, and before that, where a norm's output has a gradient (p->o), through that norm at
 * `sum` into dx. */
static void through_norms(struct walk *w, const float *norm, const void *sum, float *g_norm, const float *norm_branch, const void *branch,
                          float *g_branch)
{
    struct pass *p = w->p;
    const int64_t T = w->b->T, d = p->d;
    const struct residual_backward back = {.T = T, .n = d, .eps = p->m->config.rms_norm_eps, .dx = p->dx,
                                           .d_normed = rows_of(norm ? p->o : NULL, DT_F32, d), .sum = rows_in(sum, p->type, d),
                                           .branch = rows_in(branch, p->type, d), .d_branch = pass_operand(p, p->dout, d),
                                           .norm_branch = norm_branch, .norm = norm, .rstd = p->rstd, .rstd_branch = p->rstd_branch};
    residual_backward(w->r->c, &back);
    if (g_norm)
        norm_weights_backward(w->r->c, g_norm, back.d_normed, back.sum, p->rstd, T, 1, d);
    if (g_branch)
        norm_weights_backward(w->r->c, g_branch, rows_of(p->dx, DT_F32, d), back.branch, p->rstd_branch, T, 1, d);
    part_end(w->r->parts, PART_BACK_ROWS, 0, pass_traffic(p, T, d, norm ? 3 : 1, (norm ? 1 : 0) + (norm_branch ? 2 : 1)));
}

/* p->n (and, with Gemma's norm, p->mid) as the forward pass had them; returns the residual before the MLP. */
static const void *normed_middle(struct walk *w)
{
    struct pass *p = w->p;
    const int64_t d = p->d;
    const bool made = w->k->mid == NULL;
    void *mid = made ? p->mid : w->k->mid;
    const struct residual again = {.T = w->b->T, .n = d, .eps = p->m->config.rms_norm_eps,
                                   .branch = pass_dense(p, made ? w->k->out : NULL, d),
                                   .base = pass_dense(p, made ? w->k->x : NULL, d), .sum = pass_dense(p, mid, d),
                                   .norm_branch = w->l->norm_attn_out, .norm = w->l->norm_mlp_in, .normed = pass_operand(p, p->n, d)};
    residual(w->r->c, &again);
    part_end(w->r->parts, PART_BACK_ROWS, 0, pass_traffic(p, w->b->T, d, 0, made ? 4 : 2));
    return mid;
}

/* p->dout: gradient of down_proj's output; becomes that of o_proj's, and p->dx that of the residual before the MLP. */
static void mlp_backward(struct walk *w)
{
    struct pass *p = w->p;
    const struct kept *k = w->k;
    struct gated g = {.T = w->b->T, .n = p->ff, .act = p->m->config.act, .gate = pass_operand(p, k->gate, p->ff),
                      .up = pass_operand(p, k->up, p->ff), .dh = pass_operand(p, p->h, p->ff),
                      .dgate = pass_operand(p, p->dora ? p->dgate : k->gate, p->ff),
                      .dup = pass_operand(p, p->dora ? p->dup : k->up, p->ff)};
    struct layer_back down = way_back(w, DOWN, 1), gate_up = way_back(w, GATE_UP, 2);
    down.g[0] = pass_operand(p, p->dout, p->d);
    down.y[0] = pass_dense(p, k->down, p->d);
    layer_backward_input(w->r, w->layer, &down, &w->grads, g.dh);
    if (needs_weights(w, PROJ_DOWN))
        g.h = g.dh;
    gated_backward(w->r->c, &g);
    part_end(w->r->parts, PART_BACK_ROWS, 0, pass_traffic(p, g.T, g.n, 0, g.h.data ? 6 : 5));
    if (g.h.data)
        layer_backward_weights(w->r, w->layer, &down, &w->grads, g.h);
    const void *mid = normed_middle(w);
    gate_up.g[0] = g.dgate, gate_up.g[1] = g.dup;
    gate_up.y[0] = g.gate, gate_up.y[1] = g.up;
    layer_backward_input(w->r, w->layer, &gate_up, &w->grads, rows_of(p->o, DT_F32, p->d));
    layer_backward_weights(w->r, w->layer, &gate_up, &w->grads, pass_operand(p, p->n, p->d));
    through_norms(w, w->l->norm_mlp_in, mid, w->at.norm_mlp_in, w->l->norm_attn_out, k->out, w->at.norm_attn_out);
}

/* The gradients of q and k before their rotation and norm; in full training also those of the norms. */
static void turn_back(struct walk *w, struct rows *dq, struct rows *dk)
{
    struct pass *p = w->p;
    const struct model_config *config = &p->m->config;
    struct heads h = pass_heads(p, w->b, w->layer);
    struct rows *g[] = {dq, dk};
    h.part[0].x = pass_dense(p, w->k->q, p->q), h.part[1].x = pass_dense(p, w->k->k, p->kv);
    for (int i = 0; i < 2; i++)
        h.part[i].g = h.part[i].to = *g[i];
    if (!w->at.norm_q) {
        ropes_turn_heads(p->ropes, config, w->layer, w->r->c, &h, w->b->n_seqs, w->b->seq_start, true);
        return;
    }
    const float *norms[] = {h.part[0].norm, h.part[1].norm};
    float *g_norms[] = {w->at.norm_q, w->at.norm_k}, *rstd = p->rstd_heads;
    h.part[0].norm = h.part[1].norm = NULL; /* the norm's gradient wants what comes between */
    ropes_turn_heads(p->ropes, config, w->layer, w->r->c, &h, w->b->n_seqs, w->b->seq_start, true);
    h.rotate = false;
    h.part[0].to = pass_dense(p, p->q_turned, p->q), h.part[1].to = pass_dense(p, p->k_turned, p->kv);
    for (int i = 0; i < 2; i++) {
        h.part[i].norm = norms[i];
        h.part[i].rstd = rstd;
        rstd += w->b->T * h.part[i].heads;
    }
    ropes_turn_heads(p->ropes, config, w->layer, w->r->c, &h, w->b->n_seqs, w->b->seq_start, true);
    for (int i = 0; i < 2; i++) {
        norm_weights_backward(w->r->c, g_norms[i], h.part[i].g, h.part[i].x, h.part[i].rstd, w->b->T, h.part[i].heads,
                              config->head_dim);
        *g[i] = h.part[i].to;
    }
}

static struct attention_in attention_rows(struct rows r)
{
    return (struct attention_in){r.data, r.ld, r.type};
}

static struct attention_out attention_gradient(struct rows r)
{
    return (struct attention_out){r.data, r.ld, r.type};
}

/* p->dout: gradient of o_proj's output. Leaves that of the layer's normed input in p->o, where it is wanted. */
static void attention_part_backward(struct walk *w)
{
    struct pass *p = w->p;
    const struct compute *c = w->r->c;
    const struct kept *k = w->k;
    const struct model_config *config = &p->m->config;
    const int64_t T = w->b->T;
    const struct rows att = pass_operand(p, k->att, p->q), datt = pass_dense(p, p->datt, p->q);
    struct layer_back out = way_back(w, OUT, 1), qkv = way_back(w, QKV, 3);
    out.g[0] = pass_operand(p, p->dout, p->d);
    out.y[0] = pass_dense(p, k->out, p->d);
    layer_backward_input(w->r, w->layer, &out, &w->grads, datt);
    layer_backward_weights(w->r, w->layer, &out, &w->grads, att);

    struct attention_batch rows;
    struct attention_shape shape;
    pass_attention_batch(p, w->b, k, &rows);
    if (!p->turn_in_place) {
        struct heads h = pass_heads(p, w->b, w->layer);
        h.part[0].x = pass_dense(p, k->q, p->q), h.part[0].to = pass_dense(p, p->q_turned, p->q);
        h.part[1].x = pass_dense(p, k->k, p->kv), h.part[1].to = pass_dense(p, p->k_turned, p->kv);
        ropes_turn_heads(p->ropes, config, w->layer, c, &h, w->b->n_seqs, w->b->seq_start, false);
        part_end(w->r->parts, PART_BACK_ROWS, 0, pass_traffic(p, T, p->q + p->kv, 0, 2));
    }
    layer_attention_shape(config, w->layer, &shape);
    struct rows dq = pass_operand(p, p->dq, p->q), dk = pass_operand(p, p->dk, p->kv), dv = pass_operand(p, p->dv, p->kv);
    attention_backward(c, &shape, &rows, attention_rows(datt), attention_rows(att), k->lse, attention_gradient(dq),
                       attention_gradient(dk), attention_gradient(dv));
    rows_pad(dv, T, p->kv);
    part_end(w->r->parts, PART_BACK_ATTENTION, 2.5 * attention_flops(&shape, w->b->n_seqs, w->b->seq_start),
             pass_traffic(p, T, 4 * (p->q + p->kv), 0, 1));
    turn_back(w, &dq, &dk);
    pass_enter(p, w->r, w->b, w->layer, NULL, k);
    part_end(w->r->parts, PART_BACK_ROWS, 0, pass_traffic(p, T, p->q + p->kv, 0, w->l->norm_q ? 3 : 2) + pass_traffic(p, T, p->d, 0, 2));
    qkv.g[0] = dq, qkv.g[1] = dk, qkv.g[2] = dv;
    qkv.y[0] = pass_dense(p, k->q, p->q), qkv.y[1] = pass_dense(p, k->k, p->kv), qkv.y[2] = pass_dense(p, k->v, p->kv);
    layer_backward_input(w->r, w->layer, &qkv, &w->grads, rows_of(w->below ? p->o : NULL, DT_F32, p->d));
    layer_backward_weights(w->r, w->layer, &qkv, &w->grads, pass_operand(p, p->n, p->d));
}

static struct walk walk_at(struct pass *p, const struct layer_run *r, const struct batch *b, const struct lora *lora, float *grads, int layer)
{
    const bool full = p->limits.kind == PASS_FULL;
    struct walk w = {.p = p, .r = r, .b = b, .k = &p->kept[layer], .l = &p->m->layers[layer], .layer = layer,
                     .below = full || layer > p->first_layer};
    w.grads = (struct layer_grads){.lora = lora ? grads : NULL, .full = full ? grads : NULL};
    for (int i = 0; i < LAYER_GROUP; i++)
        w.grads.du[i] = pass_operand(p, p->du[i], p->rank);
    if (full)
        find_grads(p->m, layer, grads, &w.at, &w.grads);
    return w;
}

void pass_backward(struct pass *p, const struct layer_run *r, const struct batch *b,
                   const struct lora *lora, float *grads)
{
    bool entered = false; /* p->dout is there */
    struct walk w = walk_at(p, r, b, lora, grads, p->m->config.n_layers - 1);
    for (;;) {
        if (w.layer < p->first_kept)
            pass_recompute(p, r, b, w.layer);
        if (!entered)
            through_norms(&w, NULL, NULL, NULL, w.l->norm_mlp_out, w.k->down, w.at.norm_mlp_out);
        mlp_backward(&w);
        attention_part_backward(&w);
        if (w.layer == p->first_layer)
            break;
        /* On into the branch of the layer below: in one pass over dx, where what that needs is kept. */
        struct walk lower = walk_at(p, r, b, lora, grads, w.layer - 1);
        const bool on = lower.layer >= p->first_kept;
        through_norms(&w, w.l->norm_in, w.k->x, w.at.norm_in, on ? lower.l->norm_mlp_out : NULL, on ? lower.k->down : NULL,
                      on ? lower.at.norm_mlp_out : NULL);
        entered = on || !lower.l->norm_mlp_out;
        w = lower;
    }
    if (!w.below)
        return;
    through_norms(&w, w.l->norm_in, w.k->x, w.at.norm_in, NULL, NULL, NULL);
    const struct param *embed = &p->m->full.params[0];
    embed_backward(grads + embed->offset, p->dx, b->ids, b->T, p->d,
                   layer_embed_scale(&p->m->config, r->c->mode));
    part_end(r->parts, PART_EMBED, 0, 0);
}
