/* layer.h - private to the model room: the projections of a layer with their adapters, forward
 * (layer.c) and backward (layer_backward.c), for pass and decoder alike.
 *
 *     y = x Wᵀ + b + u Bᵀ,  u = s x̃ Aᵀ      x̃: x, or x with dropout; u is kept for the backward pass
 *
 * The products of a fused module have one A and consecutive rows of one B: u is made once, in the
 * place of the first of them.
 *
 * and with DoRA the columns of y times m/|V| (dora.h).
 *
 * A decoder runs rows of several adapters at once: spans say which rows belong to which.
 */
#ifndef GM_MODEL_LAYER_H
#define GM_MODEL_LAYER_H

#include "engine/kernel/ops_rows.h"
#include "engine/model/pass.h"

enum part {
    PART_EMBED,
    PART_PRODUCTS,
    PART_LORA,
    PART_ATTENTION,
    PART_ROWS,
    PART_HEAD,
    PART_BACK_PRODUCTS,
    PART_BACK_LORA,
    PART_BACK_ATTENTION,
    PART_BACK_ROWS,
    PART_WEIGHTS,
    PART_COUNT
};
struct part_clock { /* zero: nothing measured yet */
    double seconds[PART_COUNT], flops[PART_COUNT], bytes[PART_COUNT];
    double last;
};
void part_begin(struct part_clock *k); /* from now on */
void part_end(struct part_clock *k, enum part p, double flops,
              double bytes); /* until now; the next part begins */

struct lora_span {
    const struct lora *lora; /* NULL: the base */
    int64_t row0, n;
};
struct dropout { /* p = 0: none */
    float p;
    uint64_t seed, step;
    int64_t row0; /* of the slice in its batch */
    uint64_t *(*kept)[PROJ_COUNT]; /* [n_layers] what survives: left by the forward pass for the way back */
};
struct layer_run {
    const struct compute *c;
    const struct model *m;
    const struct lora_span *spans; /* cover all rows, in order */
    int n_spans;
    struct dropout dropout;   /* of training; one span then */
    struct rows dropped;      /* [T, widest input]; none without dropout */
    float *thin;              /* scratch [LAYER_GROUP, T, rank], where u is bf16 */
    struct part_clock *parts; /* NULL: not measured */
};

enum { LAYER_GROUP = 3 }; /* q|k|v, gate|up, o, down: projections of the same input go together */

/* y[i] [T, out_i] for the n projections `which` of x [T, in]; u[i] [T, rank] is written where the
 * projection is adapted. One span. */
void layer_project_rows(const struct layer_run *r, int layer, const enum proj *which, int n,
                        struct rows x, int64_t T, const struct rows *y, const struct rows *u);
/* u alone: where y is not needed again. */
void layer_adapt_rows(const struct layer_run *r, int layer, const enum proj *which, int n,
                      struct rows x, int64_t T, const struct rows *u);
/* The decoder's: any spans, dense f32. */
void layer_project(const struct layer_run *r, int layer, const enum proj *which, int n,
                   const float *x, int64_t T, float *const *y, float *const *u);

struct layer_grads {
    float *lora;                      /* as lora->set.w; NULL: none */
    float *full;                      /* as model->full.w; NULL: none */
    size_t weight_offset[PROJ_COUNT]; /* into full, of this layer */
    float *bias[PROJ_COUNT];          /* of this layer, in full; NULL: none */
    struct rows du[LAYER_GROUP];      /* [T, rank]; left by layer_backward_input for .._weights */
};
/* The way back through projections of one input: g[i] [T, out_i] are the gradients of their outputs.
 * DoRA also wants the forward pass's y[i], and overwrites g. First the gradient of the input x,
 *     dx [T, in] = sum of g_i W_i + ...         none: not wanted
 * then, x being there, what the weights get. dx may be the place of x. */
struct layer_back {
    const enum proj *which;
    int n;
    int64_t T;
    struct rows g[LAYER_GROUP], u[LAYER_GROUP], y[LAYER_GROUP];
};
void layer_backward_input(const struct layer_run *r, int layer, const struct layer_back *b,
                          const struct layer_grads *grads, struct rows dx);
void layer_backward_weights(const struct layer_run *r, int layer, const struct layer_back *b,
                            const struct layer_grads *grads, struct rows x);

/* sqrt(d) for Gemma: exact in f32 mode, rounded to bf16 in bf16 mode; 1 for the others. */
float layer_embed_scale(const struct model_config *c, enum compute_mode mode);
struct attention_shape;
void layer_attention_shape(const struct model_config *c, int layer, struct attention_shape *a);

/* Private to layer*.c. */
struct mat layer_mat_a(const struct lora *l, const struct lora_pair *pair);
struct mat layer_mat_b(const struct lora *l, const struct lora_pair *pair);
/* Products of one fused module share A, and so u: the index of the group's first product with this A. */
int layer_first_with_a(const struct lora_pair *const *pair, int i);
double layer_product_flops(int64_t T, const struct mat *w);
/* What products read and write: weights as stored, activations as they lie. */
double layer_product_bytes(int64_t T, const struct mat *w, enum dtype in, enum dtype out);
/* y = x with dropout, [T, n]: forward; the same again; y += , backward. */
enum drop_way { DROP_DRAW, DROP_AGAIN, DROP_ADD };
void layer_drop(const struct layer_run *r, int layer, enum proj p, struct rows y, struct rows x,
                int64_t T, int64_t n, enum drop_way way);

#endif
