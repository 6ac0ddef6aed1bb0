/* lora.h - low-rank adapters: y = W x + s B (A x)  (Hu et al. 2021), A [rank, in], B [out, rank],
 * f32; and DoRA (Liu et al. 2024), which learns the length of every row as well:
 *
 *     y = m/|V| (W x + s B (A x)),  V = W + s B A      |V|: per row, a constant to the gradient
 *
 * All parameters stand in one flat array, so that the optimiser, the checkpoint and a copy for
 * tasting are one loop each. Memory: the caller frees. Threads: the trainer writes its own; others
 * get copies (lora_copy at a step border).
 *
 *     struct lora *l = lora_new(&model->config, &options, seed, &err);
 *     lora_bind(l, model, &compute);     // before its first use; plain LoRA does not mind
 */
#ifndef GM_MODEL_LORA_H
#define GM_MODEL_LORA_H

#include "engine/kernel/compute.h"
#include "engine/model/model.h"

struct lora_options {
    int rank;
    float alpha, scale; /* scale is what multiplies; alpha is told to PEFT */
    float dropout; /* in front of A only, for DoRA too */
    bool rslora, dora;
    unsigned keys;  /* bit 1 << PROJ_x */
    int num_layers; /* the last N layers; <= 0: all */
};

struct lora_pair { /* one adapted projection; offset < 0: none. A rows first, then B. */
    int64_t a, b;  /* offsets in floats into set.w */
    int64_t m;     /* DoRA: magnitudes [out]; < 0: plain LoRA */
    int in, out;
};
/* Where an adapter comes from: written into its file, kept through export. "": not known. */
struct lora_origin {
    char base[128], base_fingerprint[65], base_sha256[65]; /* model_source_fingerprint, model_source_hash */
    char data_sha256[65], template_sha256[65], system_sha256[65], parent_sha256[65];
    char run_id[33]; /* of all that decides the weights; runs of one id give one adapter */
    char run[64];    /* name; only where an adapter leaves its run: files of equal runs are equal */
    char step[16], program[48];
};
enum { LORA_ORIGIN_PAIRS = 16 };

struct lora {
    struct lora_options options;
    struct lora_origin origin;
    struct param_set set;    /* names "model.layers.0.self_attn.q_proj.lora_a" ("... .lora_b"); A as
                                [rank, in], B as [out, rank] here */
    struct lora_pair *pairs; /* [n_layers * PROJ_COUNT] */
    int n_layers, first_layer;
    bool multimodal; /* the base is the text part of such a model: MLX files name its layers so; of lora_bind */
    struct { /* DoRA: what follows from W, A, B and m. Magnitudes are the last n_rows of set.w */
        size_t n_rows;
        const struct model *base; /* NULL: lora_bind has yet to come */
        bool m_is_length;         /* of a new adapter: m shall be the lengths of the rows of W */
        float *length2, *gain;    /* [n_rows] |W|² and m/|V|, per row */
        float *work;              /* of lora_changed; not of copies */
    } dora;
};

/* A uniform(-1/sqrt(in), 1/sqrt(in)) from stream "lora-init", B zero; m follows with lora_bind. */
struct lora *lora_new(const struct model_config *c, const struct lora_options *o, uint64_t seed,
                      struct gm_error *err);
void lora_free(struct lora *l);
struct lora *lora_copy(const struct lora *l);
/* Tells it what it is for. DoRA: reads W once, for the lengths of its rows. The model stays the caller's and has to outlive the adapter. */
void lora_bind(struct lora *l, const struct model *m, const struct compute *c);
/* DoRA: after every change of set.w. Costs a product of A with W; holds no V. */
void lora_changed(struct lora *l, const struct compute *c);
static inline bool lora_is_bound(const struct lora *l)
{
    return !l->options.dora || l->dora.base;
}
static inline const struct lora_pair *lora_at(const struct lora *l, int layer, enum proj p)
{
    const struct lora_pair *pair = &l->pairs[layer * PROJ_COUNT + p];
    return pair->a < 0 ? 0 : pair;
}
int lora_first_layer(const struct model_config *c, const struct lora_options *o); /* that options.num_layers reaches down to */
/* alpha / rank, rsLoRA: alpha / sqrt(rank). Everybody who reads or writes an alpha calls this. */
double lora_scale_of(double alpha, int rank, bool rslora);
/* MLX layout, PEFT layout or GGUF LoRA, recognised by content; a folder or the file. Checks every shape against the model; what would
 * change the numbers and is not known is an error. DoRA: lora_bind has to follow. */
struct lora *lora_load(const char *path, const struct model_config *c, struct gm_error *err);
char *lora_find_file(const char *path, struct gm_error *err); /* the weights that lora_load would read; mem_free */
/* "gemmaiku.base", value, ... of what is known, for a file's metadata (`pairs` points into `o`); returns how many pairs. */
int lora_origin_pairs(const struct lora_origin *o, const char *pairs[2 * LORA_ORIGIN_PAIRS]);
json_t *lora_origin_json(const struct lora_origin *o); /* the same as an object, without the prefix; NULL: nothing is known */
/* False, with a sentence in `why`, when the adapter says that it was made on other weights than these. Costs a fingerprint. */
bool lora_fits(const struct lora *l, const struct model_source *source, struct str *why);
/* The same for an adapter that a person named: an error says both names. */
struct lora *lora_load_for(const char *path, const char *called, const char *model, const struct model_config *c, struct gm_error *err);
/* Writes adapters.safetensors + adapter_config.json (MLX layout) into an existing folder. */
bool lora_save_mlx(const struct lora *l, const char *dir, const char *model_name,
                   struct gm_error *err);

#endif
