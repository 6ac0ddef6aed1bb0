/* config_private.h - private to config*.c: what a family is, and what every reader checks at the
 * end. */
#ifndef GM_MODEL_CONFIG_PRIVATE_H
#define GM_MODEL_CONFIG_PRIVATE_H

#include "engine/model/config.h"

enum {
    MODEL_MAX_WIDTH = 1 << 17,
    MODEL_MAX_VOCAB = 1 << 24,
    MODEL_MAX_POSITIONS = 1 << 24,
    MODEL_MAX_HEADS = 1024
};

/* Everything of a family that no file has to say: its defaults for what a file may leave out, and
 * which options its files may have. */
struct model_family {
    const char *name;         /* config.json's model_type */
    const char *gguf;         /* general.architecture */
    const char *architecture; /* of "architectures" */
    enum {
        SLIDES_NEVER,
        SLIDES_PATTERN, /* all but every n-th layer */
        SLIDES_ALWAYS,
        SLIDES_ON_TOP /* Qwen: the layers from max_window_layers on, if use_sliding_window */
    } slides;
    int pattern;
    bool may_attention_bias, may_mlp_bias; /* the files may say so; else the defaults hold */
    bool may_cap;     /* query_pre_attn_scalar and soft caps are options */
    bool may_partial; /* partial_rotary_factor is one */
    bool turns_rows;  /* GGUF files hold rows of q and k in interleaved order */
    struct model_config defaults;
};
/* By config.json's model_type ("gemma3" is gemma3_text), or by GGUF's architecture; NULL: not known. */
const struct model_family *config_family(const char *model_type);
const struct model_family *config_family_gguf(struct gguf_text architecture);
const struct model_family *config_family_of(const struct model_config *c);
extern const char CONFIG_FAMILIES[], CONFIG_ARCHITECTURES[]; /* for messages */

/* Gemma's 27B models divide scores by sqrt(d/heads) and have no other sign of it in a GGUF. */
bool config_is_27b(const struct model_config *c);
/* Relations between the numbers; ranges were checked while reading. */
bool config_check(const struct model_config *c, struct gm_error *err);
void config_add_eos(struct model_config *c,
                    int64_t id); /* ignores repetitions, and more than MODEL_MAX_EOS */
bool config_read_gguf(struct model_config *c, const struct model_source *source,
                      struct gm_error *err);

/* config_rope.c: rope_theta, rope_scaling, rope_parameters, partial_rotary_factor and back. */
bool config_read_rope(struct model_config *c, const struct model_family *f, const json_t *o,
                      struct gm_error *err);
void config_write_rope(const struct model_config *c, json_t *o);
double config_long_attention_factor(double positions, double original); /* where a file has none */
/* A float as the shortest decimal that gives it back: 1e-06, not 9.9999999747524271e-07. */
double config_tidy(float v);

/* config_keys.c: refuses options of relatives that change the numbers, and numbers and true under
 * names that nobody knows. */
bool config_check_keys(const json_t *o, const struct model_family *f, struct gm_error *err);
void config_list_unknown(const json_t *o, struct str *names); /* keys that are passed over: appends "a", "b" */
bool config_check_quantisation(const json_t *o, struct gm_error *err);

#endif
