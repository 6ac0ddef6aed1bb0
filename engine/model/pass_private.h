/* pass_private.h - private to pass*.c: the workspace of a pass.
 *
 * Activations between operators are `struct rows` of one type: bf16 in BF16 mode, f32 in F32 mode. The
 * residual stream and its gradient are f32 in both. What products take as operands lies in rows of
 * matmul_stride.
 *
 * "Kept" is what the backward pass needs of a layer; operators write it where it is kept. Norms,
 * rotations and the gated unit are computed again instead, always from what was kept, and the forward
 * pass goes on from the kept (rounded) values, too: so a layer that is computed again from its input
 * gives the same bits.
 */
#ifndef GM_MODEL_PASS_PRIVATE_H
#define GM_MODEL_PASS_PRIVATE_H

#include "engine/base/mem.h"
#include "engine/model/layer.h"
#include "engine/model/ropes.h"

/* T rows each. The gradients of gate and up take their places on the way back (not with DoRA). */
struct kept {
    void *x;         /* [d] the input of the layer */
    void *q, *k, *v; /* q and k before their norm and rotation; where there is no norm (nor DoRA), after it */
    void *att;       /* attention's output */
    void *out;       /* [d] Gemma, DoRA: output of o_proj, before its norm */
    void *mid;       /* [d] the residual before the MLP; Gemma: made again from x and out */
    void *gate, *up; /* [ff] */
    void *down;      /* [d] Gemma, DoRA: output of down_proj, before its norm */
    float *lse;      /* [n_heads] */
    void *u[PROJ_COUNT]; /* [rank] s x̃ Aᵀ */
};

enum { PASS_SLICE = 1024 };

struct pass {
    const struct model *m;
    struct pass_limits limits;
    int rank, first_layer; /* of the adapters that may come; first_layer: lowest that keeps
                              activations and is walked back */
    int first_kept;        /* lowest that keeps more than its input; below it layers are recomputed */
    unsigned keys;
    bool dropout, dora, turn_in_place;
    int64_t d, q, kv, ff, widest;
    size_t number;                     /* bytes of an activation at most */
    enum dtype type;                   /* of activations, in this call */
    int64_t rows, targets;             /* that the buffers have room for */
    int32_t *slice_start, *slice_rows; /* a slice's own borders and target rows */

    struct arena arena;
    float *x;  /* [d] the residual stream */
    float *o;  /* [d] what a branch adds to it; backward: the gradient of a norm's output */
    float *dx; /* [d] gradient of the stream */
    /* activations */
    void *n;                 /* [d] normed input of products */
    void *h;                 /* [ff] gated; backward: its gradient, then itself */
    void *mid;               /* [d] Gemma: see kept */
    void *q_turned, *k_turned;
    void *dout;              /* [d] gradient of a branch's output */
    void *datt, *dq, *dk, *dv;
    void *dgate, *dup;       /* [ff] DoRA only */
    void *du[LAYER_GROUP];   /* [rank] */
    void *dropped;           /* [widest] */
    float *thin;             /* see layer.h */
    float *rstd, *rstd_branch, *rstd_heads; /* full training: for the gradients of norm weights */
    struct kept *kept; /* [n_layers]; layers below first_kept share all but x with the topmost, layers that
                          are not walked back (and passes that do not go back) share x, too */
    uint64_t *(*survives)[PROJ_COUNT]; /* [n_layers] kept likewise, with dropout: a bit for each element of a projection's input (ops_rows.h) */
    /* the head: [max_targets, d] */
    float *head_x, *head_h, *head_dh, *head_rstd;
    void *head_work;
    const struct ropes *ropes; /* the model's, or: */
    struct ropes long_ropes;   /* for more positions than those have */
    struct part_clock clock;
};

/* Rows of activations: dense, and as operands of products. */
static inline struct rows pass_dense(const struct pass *p, void *data, int64_t n)
{
    return rows_of(data, p->type, n);
}
struct rows pass_operand(const struct pass *p, void *data, int64_t n);

/* The residual stream from the embedding to the last layer, left in p->x. layer_outputs: see
 * pass_hidden, may be NULL. */
void pass_forward(struct pass *p, const struct layer_run *r, const struct batch *b, bool keep,
                  float *layer_outputs);
/* p->n = norm of the input of a layer: of the stream x, which is kept (rounded) first, or of what was kept (x NULL). */
void pass_enter(struct pass *p, const struct layer_run *r, const struct batch *b, int layer, float *x, const struct kept *k);
/* What is kept of a layer, again from its input; leaves p->x alone. */
void pass_recompute(struct pass *p, const struct layer_run *r, const struct batch *b, int layer);
/* How q and k of a layer are normed and rotated, all but where they lie; and what attention reads. */
struct heads pass_heads(const struct pass *p, const struct batch *b, int layer);
struct attention_batch;
void pass_attention_batch(const struct pass *p, const struct batch *b, const struct kept *k, struct attention_batch *a);
/* dx (gradient of the last layer's output) down to the lowest layer with gradients; what reaches
 * the embedding stays in p->dx. */
void pass_backward(struct pass *p, const struct layer_run *r, const struct batch *b,
                   const struct lora *lora, float *grads);
/* Bytes that an element-wise operator moves: so many f32 and so many activations for each of T x n. */
double pass_traffic(const struct pass *p, int64_t T, int64_t n, int floats, int activations);

#endif
