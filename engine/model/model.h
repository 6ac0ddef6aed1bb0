/* model.h - the weights of a decoder, bound to where they are stored.
 *
 * Matrices stay in their storage type in the mapped file (GGUF q/k rows of Llama files are copied
 * once into Hugging Face's rotate-half order); norm weights and biases are f32 copies, norms already
 * hold Gemma's +1. Read-only after opening, shared by trainer and taster. Memory: model_free gives all
 * back; the model owns its source. Threads: any may read.
 *
 *     struct model *m = model_open("nano", &err);
 *     ...
 *     model_free(m);
 *
 * Full fine-tuning: model_make_trainable() copies every parameter into one flat f32 master; the
 * matrices then point into it.
 */
#ifndef GM_MODEL_MODEL_H
#define GM_MODEL_MODEL_H

#include "engine/model/config.h"
#include "engine/text/tokenizer.h"

/* The seven products of a layer. Phi-3 stores q, k, v as one matrix and gate, up as another: the
 * products see views of its rows. */
enum proj { PROJ_Q, PROJ_K, PROJ_V, PROJ_O, PROJ_GATE, PROJ_UP, PROJ_DOWN, PROJ_COUNT };
const char *proj_name(enum proj p);              /* "self_attn.q_proj" */
void proj_shape(const struct model_config *c, enum proj p, int64_t *out,
                int64_t *in); /* [out, in] */

/* A linear module as files, adapters and --keys name it: one product, or the fused ones. */
struct module {
    const char *name; /* "self_attn.q_proj", "mlp.gate_up_proj" */
    const char *gguf; /* "attn_q", "ffn_up" */
    enum proj first;
    int n;
    int64_t out, in; /* of all its products together */
};
static inline unsigned module_bits(const struct module *m)
{
    return ((1u << m->n) - 1) << m->first;
}
enum { MODULE_COUNT_MAX = PROJ_COUNT };
int model_modules(const struct model_config *c, struct module modules[MODULE_COUNT_MAX]);
/* The module of this model that is called so (as in `name` above), or that begins with product p; false:
 * there is none. */
bool module_find(const struct model_config *c, const char *name, struct module *m);
bool module_of(const struct model_config *c, enum proj p, struct module *m);
/* The products that a name stands for, as bits 1 << PROJ_x: "q_proj", "self_attn.qkv_proj". */
bool module_parse(const char *name, unsigned *keys);

struct layer {
    struct mat w[PROJ_COUNT];
    const float *bias[PROJ_COUNT]; /* [out], f32 copies; NULL where the family has none */
    const float *norm_in, *norm_attn_out, *norm_mlp_in, *norm_mlp_out, *norm_q,
        *norm_k; /* NULL where the family has none */
};

/* One trainable tensor: a slice of a flat f32 array. */
struct param {
    char name[96];      /* Hugging Face name, as stored: "model.layers.0.self_attn.q_proj.weight" */
    size_t offset;      /* in floats */
    int64_t rows, cols; /* norms and biases: 1 x n */
};
struct param_set {
    struct param *params;
    int n_params;
    float *w;     /* the values; norms as stored in a Hugging Face file (without +1) */
    size_t count; /* floats in all */
};

struct ropes;
struct model {
    struct model_config config;
    struct model_source *source; /* NULL: random weights */
    struct mat embed, head;      /* [vocab, d]; the same when tied */
    struct layer *layers;
    const float *norm_final;
    struct ropes *ropes;     /* for sequences of ordinary length */
    struct param_set full;   /* count 0 unless trainable */
    struct layer *masters;   /* trainable: the same layers, pointing into full.w; else NULL */
    size_t weight_bytes;     /* as stored */
    const char *prefix;      /* of the tensor names in the files: "model.", "language_model.model." */
    char **notes;            /* what a person should know: parts of the file that are not used */
    int n_notes;
    void *owned;             /* private: copies, norms */
};

struct model *
model_open(const char *name,
           struct gm_error *err); /* dir, .gguf, hub id, builtin; refuses NaN and infinities */
struct model *model_open_source(struct model_source *source,
                                struct gm_error *err); /* takes the source on success */
/* Random weights in any storage type that quantise.h writes, MLX codes (groups of 64) included, made without a full f32 copy
 * (bench; F32 for --init random, as Hugging Face initialises: normal, 0.02; norms 1). */
struct model *model_random(const struct model_config *c, enum dtype type, uint64_t seed,
                           struct gm_error *err);
/* The tokenizer that stands beside the weights; refuses one with more pieces than the model has rows. `name`: the model, as told. */
struct tokenizer *model_tokenizer(const struct model *m, const struct model_source *source, const char *name, struct gm_error *err);
void model_free(struct model *m);
bool model_make_trainable(struct model *m, struct gm_error *err);
void model_norms_changed(
    struct model *m); /* after an update of m->full.w: refreshes the copies of norms (+1) and biases */

#endif
