/* layer_backward.c - see layer.h: the projections of a layer backward. */
#include "engine/kernel/matmul.h"
#include "engine/model/dora.h"
#include "engine/model/layer.h"

#include <assert.h>

/* Which projections of a group are adapted and trained, with their factors. */
struct adapted {
    const struct lora *l;
    const struct lora_pair *pair[LAYER_GROUP]; /* NULL: not adapted */
    int first[LAYER_GROUP];                    /* of those that share its A: it stands for them */
    struct mat a[LAYER_GROUP], b[LAYER_GROUP];
};

static void find_adapted(const struct layer_run *r, int layer, const struct layer_back *b,
                         const struct layer_grads *grads, struct adapted *f)
{
    *f = (struct adapted){.l = r->spans[0].lora};
    for (int i = 0; i < b->n && grads->lora && f->l; i++) {
        f->pair[i] = lora_at(f->l, layer, b->which[i]);
        if (f->pair[i]) {
            f->first[i] = layer_first_with_a(f->pair, i);
            f->a[i] = layer_mat_a(f->l, f->pair[i]);
            f->b[i] = layer_mat_b(f->l, f->pair[i]);
        }
    }
}

static struct matmul_term term(struct rows a, const struct mat *w)
{
    return (struct matmul_term){.a = a.data, .lda = a.ld, .a_type = a.type, .w = w};
}

/* du = s g B, a sum over those that share A. */
static void inner_gradients(const struct layer_run *r, const struct layer_back *b, const struct adapted *f,
                          const struct layer_grads *grads)
{
    struct matmul_output du[LAYER_GROUP];
    int at[LAYER_GROUP], n_du = 0;
    double flops = 0, bytes = 0;
    for (int i = 0; i < b->n; i++) {
        if (!f->pair[i])
            continue;
        const int64_t rank = f->l->options.rank;
        if (f->first[i] == i) {
            const struct rows to = grads->du[i];
            const bool direct = to.type == DT_F32;
            at[n_du] = i;
            du[n_du] = (struct matmul_output){.y = direct ? to.data : r->thin + n_du * b->T * rank,
                                              .ldy = direct ? to.ld : rank};
            n_du++;
        }
        struct matmul_output *sum = &du[n_du - 1];
        sum->terms[sum->n_terms++] = term(b->g[i], &f->b[i]);
        flops += layer_product_flops(b->T, &f->b[i]);
        bytes += layer_product_bytes(b->T, &f->b[i], b->u[i].type, b->g[i].type);
    }
    if (n_du == 0)
        return;
    matmul_nn_joined(r->c, du, n_du, b->T);
    for (int k = 0; k < n_du; k++)
        rows_scale(r->c, grads->du[at[k]], rows_of(du[k].y, DT_F32, du[k].ldy), f->l->options.scale, b->T,
                   f->l->options.rank);
    part_end(r->parts, PART_BACK_LORA, flops, bytes);
}

/* dx = sum of g_i W_i + dropout'(du_i A_i) */
static void to_input(const struct layer_run *r, int layer, const struct layer_back *b, const struct adapted *f,
                     const struct layer_grads *grads, struct rows dx)
{
    const bool drops = r->dropout.p > 0;
    struct matmul_output out = {.y = dx.data, .ldy = dx.ld, .y_type = dx.type};
    double flops = 0, bytes = 0;
    for (int i = 0; i < b->n; i++) {
        const struct mat *w = &r->m->layers[layer].w[b->which[i]];
        out.terms[out.n_terms++] = term(b->g[i], w);
        flops += layer_product_flops(b->T, w);
        bytes += layer_product_bytes(b->T, w, i == 0 ? dx.type : DT_BF16, b->g[i].type);
        if (f->pair[i] && f->first[i] == i && !drops) {
            out.terms[out.n_terms++] = term(grads->du[i], &f->a[i]);
            flops += layer_product_flops(b->T, &f->a[i]);
            bytes += (double)mat_bytes(&f->a[i]);
        }
    }
    matmul_nn_joined(r->c, &out, 1, b->T);
    part_end(r->parts, PART_BACK_PRODUCTS, flops, bytes);
    for (int i = 0; i < b->n && drops; i++)
        if (f->pair[i] && f->first[i] == i) {
            struct matmul_output d = {.y = r->dropped.data, .ldy = r->dropped.ld, .y_type = r->dropped.type, .n_terms = 1,
                                      .terms = {term(grads->du[i], &f->a[i])}};
            matmul_nn_joined(r->c, &d, 1, b->T);
            layer_drop(r, layer, b->which[i], dx, r->dropped, b->T, f->pair[i]->in, DROP_ADD);
            part_end(r->parts, PART_BACK_LORA, layer_product_flops(b->T, &f->a[i]), 0);
        }
}

void layer_backward_input(const struct layer_run *r, int layer, const struct layer_back *b,
                          const struct layer_grads *grads, struct rows dx)
{
    struct adapted f;
    find_adapted(r, layer, b, grads, &f);
    for (int i = 0; i < b->n; i++)
        if (f.pair[i] && f.pair[i]->m >= 0)
            dora_backward(r->c, f.l, f.pair[i], b->g[i], b->y[i], r->m->layers[layer].bias[b->which[i]], b->T,
                          grads->lora + f.pair[i]->m);
    inner_gradients(r, b, &f, grads);
    if (dx.data)
        to_input(r, layer, b, &f, grads, dx);
}

/* gradient [m, n] += aᵀ b, with the others of the list. */
struct gradients {
    struct matmul_gradient list[2 * LAYER_GROUP];
    int n;
    double flops, bytes;
};

static void add_gradient(struct gradients *g, float *gradient, struct rows a, int64_t m, struct rows b, int64_t n, int64_t T)
{
    struct mat shape = {.data = gradient, .type = DT_F32, .rows = m, .cols = n, .row_bytes = (size_t)n * sizeof(float)};
    g->list[g->n++] = (struct matmul_gradient){.dw = gradient, .lddw = n, .a = a.data, .a_type = a.type, .lda = a.ld, .m = m,
                                               .b = b.data, .b_type = b.type, .ldb = b.ld, .n = n, .scale = 1};
    g->flops += layer_product_flops(T, &shape);
    g->bytes += layer_product_bytes(T, &shape, b.type, a.type);
}

static void multiply(const struct layer_run *r, struct gradients *g, int64_t T, enum part part)
{
    if (g->n > 0)
        matmul_tn_joined(r->c, g->list, g->n, T, true);
    if (g->n > 0)
        part_end(r->parts, part, g->flops, g->bytes);
    *g = (struct gradients){0};
}

void layer_backward_weights(const struct layer_run *r, int layer, const struct layer_back *b,
                            const struct layer_grads *grads, struct rows x)
{
    struct adapted f;
    struct gradients g = {0};
    find_adapted(r, layer, b, grads, &f);
    for (int i = 0; i < b->n && grads->full; i++) {
        const struct mat *w = &r->m->layers[layer].w[b->which[i]];
        add_gradient(&g, grads->full + grads->weight_offset[b->which[i]], b->g[i], w->rows, x, w->cols, b->T);
        if (grads->bias[b->which[i]])
            rows_sum(r->c, grads->bias[b->which[i]], b->g[i], b->T, w->rows);
    }
    multiply(r, &g, b->T, PART_WEIGHTS);
    for (int i = 0; i < b->n; i++) { /* gB += gᵀ u, gA += duᵀ x̃ */
        const struct lora_pair *pair = f.pair[i];
        if (!pair)
            continue;
        const int64_t rank = f.l->options.rank;
        struct rows input = x;
        add_gradient(&g, grads->lora + pair->b, b->g[i], pair->out, b->u[f.first[i]], rank, b->T);
        if (f.first[i] != i)
            continue;
        if (r->dropout.p > 0) {
            input = r->dropped;
            layer_drop(r, layer, b->which[i], input, x, b->T, pair->in, DROP_AGAIN);
        }
        add_gradient(&g, grads->lora + pair->a, grads->du[i], rank, input, pair->in, b->T);
        if (r->dropout.p > 0) /* the next one has a mask of its own */
            multiply(r, &g, b->T, PART_BACK_LORA);
    }
    multiply(r, &g, b->T, PART_BACK_LORA);
}
