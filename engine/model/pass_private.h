/* pass_private.h - private to pass*.c: the workspace of a pass.
 *
 * "Kept" is what the backward pass needs of a layer: bf16 in BF16 mode, f32 in F32 mode. Norms,
 * rotations and the gated unit are computed again instead of kept.
 */
#ifndef GM_MODEL_PASS_PRIVATE_H
#define GM_MODEL_PASS_PRIVATE_H

#include "engine/base/mem.h"
#include "engine/model/layer.h"
#include "engine/model/ropes.h"

/* Values as kept: T rows each. q and k stand before their norm and rotation. */
struct kept {
    void *x; /* [d] the input of the layer */
    void *q, *k, *v;
    void *att; /* attention's output */
    void *mid; /* [d] residual before the MLP; Gemma: output of o_proj before its norm */
    void *gate, *up;      /* [ff] where all are recomputed DoRA only: else they still stand in p->gate, p->up */
    void *out;            /* [d] DoRA without Gemma's norms: output of o_proj */
    void *down;           /* [d] Gemma, DoRA: output of down_proj (before its norm) */
    float *lse;           /* [n_heads] */
    float *u[PROJ_COUNT]; /* [rank] s x̃ Aᵀ */
};

enum { PASS_SLICE = 1024 };

struct pass {
    const struct model *m;
    struct pass_limits limits;
    int rank, first_layer; /* of the adapters that may come; first_layer: lowest that keeps
                              activations and is walked back */
    int first_kept;        /* lowest that keeps more than its input; below it layers are recomputed */
    unsigned keys;
    bool dropout, dora;
    int64_t d, q, kv, ff;
    size_t kept_size;                  /* bytes of a kept number */
    int64_t rows, targets;             /* that the buffers have room for */
    int32_t *slice_start, *slice_rows; /* a slice's own borders and target rows */

    struct arena arena;
    /* f32, [max_tokens, ...] */
    float *x, *n, *o;
    float *qs, *ks, *vs, *att, *gate, *up, *h;
    float *u[3]; /* adapters of layers that keep nothing */
    float *dropped;
    /* backward */
    float *dx, *dn, *dout; /* dout: Gemma and DoRA */
    float *dq, *dk, *dv, *datt, *dup;
    float *q_turned, *k_turned;
    float *rstd, *rstd_out, *rstd_heads, *du[LAYER_GROUP];
    struct kept *kept; /* [n_layers]; recomputed layers share all but x with the topmost */
    /* the head: [max_targets, d] */
    float *head_x, *head_h, *head_dh, *head_rstd;
    void *head_work;
    const struct ropes *ropes; /* the model's, or: */
    struct ropes long_ropes;   /* for more positions than those have */
    struct part_clock clock;
};

/* The residual stream from the embedding to the last layer, left in p->x. layer_outputs: see
 * pass_hidden, may be NULL. */
void pass_forward(struct pass *p, const struct layer_run *r, const struct batch *b, bool keep,
                  float *layer_outputs);
void pass_forward_layer(struct pass *p, const struct layer_run *r, const struct batch *b, int layer,
                        struct kept *kept);
/* dx (gradient of the last layer's output) down to the lowest layer with gradients; what reaches
 * the embedding stays in p->dx. */
void pass_backward(struct pass *p, const struct layer_run *r, const struct batch *b,
                   const struct lora *lora, float *grads);

/* Kept numbers. fetch gives the kept f32 itself, or bf16 expanded into tmp. */
void pass_keep(const struct compute *c, void *to, const float *from, int64_t count);
void pass_keep_rounding(const struct compute *c, void *to, float *values,
                        int64_t count); /* values become what fetch will give */
const float *pass_fetch(const struct compute *c, const void *from, float *tmp, int64_t count);
void pass_fetch_copy(const struct compute *c, const void *from, float *to, int64_t count);

#endif
