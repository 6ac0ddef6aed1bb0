/* lora.h - low-rank adapters: y = W x + s B (A x)  (Hu et al. 2021), A [rank, in], B [out, rank],
 * f32.
 *
 * All parameters stand in one flat array, so that the optimiser, the checkpoint and a copy for
 * tasting are one loop each. Memory: the caller frees. Threads: the trainer writes its own; others
 * get copies (lora_copy_from at a step border).
 *
 *     struct lora *l = lora_new(&model->config, &options, seed, &err);
 */
#ifndef GM_MODEL_LORA_H
#define GM_MODEL_LORA_H

#include "engine/model/model.h"

struct lora_options {
    int rank;
    float alpha, scale; /* scale is what multiplies; alpha is told to PEFT */
    float dropout;
    bool rslora;
    unsigned keys;  /* bit 1 << PROJ_x */
    int num_layers; /* the last N layers; <= 0: all */
};

struct lora_pair { /* one adapted projection; offset < 0: none. A rows first, then B. */
    int64_t a, b;  /* offsets in floats into set.w */
    int in, out;
};
struct lora {
    struct lora_options options;
    struct param_set set;    /* names "model.layers.0.self_attn.q_proj.lora_a" ("... .lora_b"); A as
                                [rank, in], B as [out, rank] here */
    struct lora_pair *pairs; /* [n_layers * PROJ_COUNT] */
    int n_layers, first_layer;
};

/* A uniform(-1/sqrt(in), 1/sqrt(in)) from stream "lora-init", B zero. */
struct lora *lora_new(const struct model_config *c, const struct lora_options *o, uint64_t seed,
                      struct gm_error *err);
void lora_free(struct lora *l);
struct lora *lora_copy(const struct lora *l);
void lora_copy_from(struct lora *dst, const struct lora *src); /* same shape */
static inline const struct lora_pair *lora_at(const struct lora *l, int layer, enum proj p)
{
    const struct lora_pair *pair = &l->pairs[layer * PROJ_COUNT + p];
    return pair->a < 0 ? 0 : pair;
}
/* MLX layout (lora_a [in, rank], lora_b [rank, out], raw scale) or PEFT layout, recognised by
 * content; a folder or the safetensors file. Checks every shape against the model; an unknown
 * tensor is an error. */
struct lora *lora_load(const char *path, const struct model_config *c, struct gm_error *err);
/* The same for an adapter that a person named: an error says both names. */
struct lora *lora_load_for(const char *path, const char *called, const char *model, const struct model_config *c, struct gm_error *err);
/* Writes adapters.safetensors + adapter_config.json (MLX layout) into an existing folder. */
bool lora_save_mlx(const struct lora *l, const char *dir, const char *model_name,
                   struct gm_error *err);

#endif
