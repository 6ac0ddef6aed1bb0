/* config.h - what a model is: one description with options, not a file per family.
 *
 * Filled from config.json (Hugging Face) or GGUF metadata. An option in the file that changes the
 * numbers and that is not known here is an error, never ignored. Memory: a plain value. Threads:
 * any.
 *
 *     struct model_config c;
 *     if (!model_config_read(&c, &source, err)) ...
 */
#ifndef GM_MODEL_CONFIG_H
#define GM_MODEL_CONFIG_H

#include "engine/format/model_source.h"
#include "engine/kernel/ops.h"

enum { MODEL_MAX_LAYERS = 256, MODEL_MAX_EOS = 8, MODEL_MAX_HEAD_DIM = 1024 };

/* How the frequencies theta^(-2i/n) are changed. */
enum rope_kind {
    ROPE_PLAIN,
    ROPE_LINEAR,  /* f / factor */
    ROPE_LLAMA3,  /* long waves / factor, short ones as they are, a ramp between */
    ROPE_LONG     /* f / short_factors[i] for sequences up to original_positions, else f /
                     long_factors[i]; cos and sin times attention_factor */
};
struct rope_scaling {
    enum rope_kind kind;
    double factor, low_freq_factor, high_freq_factor; /* factor 1 unless linear or llama3 */
    int original_positions;
    double attention_factor; /* 1 unless long */
    float short_factors[MODEL_MAX_HEAD_DIM / 2], long_factors[MODEL_MAX_HEAD_DIM / 2];
};

struct model_config {
    char family[24]; /* config.json's model_type: "gemma3_text", "llama" */
    int n_layers, d_model, n_heads, n_kv_heads, head_dim, d_ff, vocab_size, max_positions;
    float rms_norm_eps;
    bool norm_plus_one; /* Gemma: Hugging Face files store w and multiply by 1 + w; GGUF files store
                           1 + w */
    bool qk_norm;       /* RMSNorm of q and k per head, before RoPE */
    bool sandwich_norm; /* Gemma: the outputs of attention and MLP are normalised too */
    bool tied_head;     /* logits = h Eᵀ */
    bool scaled_embed;  /* Gemma: x0 = sqrt(d) E[id]; sqrt(d) rounded to the compute type */
    bool fused;         /* Phi-3: one matrix for q, k, v and one for gate, up */
    bool qkv_bias, o_bias, mlp_bias;
    bool local_rope; /* Gemma 3: sliding layers rotate by a base of their own, unscaled */
    enum activation act;
    float attn_scale, attn_softcap, final_softcap; /* caps: 0 = none */
    int rotary_dim;                                /* first numbers of a head that are rotated */
    double rope_theta, rope_theta_local;           /* local: sliding layers where local_rope */
    struct rope_scaling rope;
    int sliding_window;                            /* keys incl. the token itself; 0 = none */
    uint8_t sliding[MODEL_MAX_LAYERS]; /* 1: the layer sees the window only */
    int32_t bos_id, eos_ids[MODEL_MAX_EOS];
    int n_eos;
};

bool model_config_read(struct model_config *c, const struct model_source *source,
                       struct gm_error *err);
/* From the text of a config.json alone (train --init random, bench shapes). label: for errors. */
bool model_config_parse(struct model_config *c, const char *json, size_t n, const char *label,
                        struct gm_error *err);
json_t *
model_config_to_json(const struct model_config *c); /* config.json of an export; caller decrefs */
int64_t model_config_parameters(const struct model_config *c);

/* GGUF: general.architecture and every key ARCH.*; what the format cannot say to llama.cpp is an error. */
struct gguf_out;
bool model_config_to_gguf(const struct model_config *c, struct gguf_out *g, struct gm_error *err);
const char *model_config_architecture(const struct model_config *c); /* "gemma3" */
/* Tensors of a GGUF that follow from the configuration (rope_freqs, rope_factors), f32 [n]; returns how many. */
struct config_tensor {
    const char *name;
    int n;
    float values[MODEL_MAX_HEAD_DIM / 2];
};
int model_config_tensors(const struct model_config *c, struct config_tensor tensors[2]);
/* Where llama.cpp will compute something else than we do, in words; returns how many. */
enum { CONFIG_CAVEATS_MAX = 8 };
int model_config_gguf_caveats(const struct model_config *c, const char *caveats[CONFIG_CAVEATS_MAX]);

#endif
