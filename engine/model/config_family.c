/* config_family.c - the families as values of one description. Defaults are those of the published
 * configuration classes: files leave out what equals them. */
#include "engine/model/config_private.h"

#include <string.h>

const char CONFIG_FAMILIES[] = "gemma3_text, gemma3, gemma2, llama, phi3, qwen2, qwen3";
const char CONFIG_ARCHITECTURES[] = "gemma3, gemma2, llama, phi3, qwen2, qwen3";

#define PLAIN_ROPE .rope = {.factor = 1, .attention_factor = 1}

static const struct model_family FAMILIES[] = {
    {.name = "gemma3_text",
     .gguf = "gemma3",
     .architecture = "Gemma3ForCausalLM",
     .slides = SLIDES_PATTERN,
     .pattern = 6,
     .may_attention_bias = true,
     .may_cap = true,
     .defaults = {.n_layers = 26,
                  .d_model = 2304,
                  .n_heads = 8,
                  .n_kv_heads = 4,
                  .head_dim = 256,
                  .d_ff = 9216,
                  .vocab_size = 262208,
                  .max_positions = 131072,
                  .rms_norm_eps = 1e-6f,
                  .norm_plus_one = true,
                  .qk_norm = true,
                  .sandwich_norm = true,
                  .tied_head = true,
                  .scaled_embed = true,
                  .local_rope = true,
                  .act = ACT_GELU_TANH,
                  .rope_theta = 1e6,
                  .rope_theta_local = 1e4,
                  PLAIN_ROPE,
                  .sliding_window = 4096,
                  .bos_id = 2}},
    {.name = "gemma2",
     .gguf = "gemma2",
     .architecture = "Gemma2ForCausalLM",
     .slides = SLIDES_PATTERN,
     .pattern = 2,
     .may_attention_bias = true,
     .may_cap = true,
     .defaults = {.n_layers = 26,
                  .d_model = 2304,
                  .n_heads = 8,
                  .n_kv_heads = 4,
                  .head_dim = 256,
                  .d_ff = 9216,
                  .vocab_size = 256000,
                  .max_positions = 8192,
                  .rms_norm_eps = 1e-6f,
                  .norm_plus_one = true,
                  .sandwich_norm = true,
                  .tied_head = true,
                  .scaled_embed = true,
                  .act = ACT_GELU_TANH,
                  .attn_softcap = 50,
                  .final_softcap = 30,
                  .rope_theta = 1e4,
                  PLAIN_ROPE,
                  .sliding_window = 4096,
                  .bos_id = 2}},
    {.name = "llama",
     .gguf = "llama",
     .architecture = "LlamaForCausalLM",
     .may_attention_bias = true,
     .may_mlp_bias = true,
     .turns_rows = true,
     .defaults = {.n_layers = 32,
                  .d_model = 4096,
                  .n_heads = 32,
                  .d_ff = 11008,
                  .vocab_size = 32000,
                  .max_positions = 2048,
                  .rms_norm_eps = 1e-6f,
                  .act = ACT_SILU,
                  .rope_theta = 1e4,
                  PLAIN_ROPE,
                  .bos_id = -1}},
    {.name = "phi3",
     .gguf = "phi3",
     .architecture = "Phi3ForCausalLM",
     .slides = SLIDES_ALWAYS,
     .may_partial = true,
     .defaults = {.n_layers = 32,
                  .d_model = 3072,
                  .n_heads = 32,
                  .d_ff = 8192,
                  .vocab_size = 32064,
                  .max_positions = 4096,
                  .rms_norm_eps = 1e-5f,
                  .fused = true,
                  .act = ACT_SILU,
                  .rope_theta = 1e4,
                  PLAIN_ROPE,
                  .bos_id = 1}},
    {.name = "qwen2",
     .gguf = "qwen2",
     .architecture = "Qwen2ForCausalLM",
     .slides = SLIDES_ON_TOP,
     .defaults = {.n_layers = 32,
                  .d_model = 4096,
                  .n_heads = 32,
                  .d_ff = 22016,
                  .vocab_size = 151936,
                  .max_positions = 32768,
                  .rms_norm_eps = 1e-6f,
                  .qkv_bias = true,
                  .act = ACT_SILU,
                  .rope_theta = 1e4,
                  PLAIN_ROPE,
                  .bos_id = -1}},
    {.name = "qwen3",
     .gguf = "qwen3",
     .architecture = "Qwen3ForCausalLM",
     .slides = SLIDES_ON_TOP,
     .may_attention_bias = true,
     .defaults = {.n_layers = 32,
                  .d_model = 4096,
                  .n_heads = 32,
                  .head_dim = 128,
                  .d_ff = 22016,
                  .vocab_size = 151936,
                  .max_positions = 32768,
                  .rms_norm_eps = 1e-6f,
                  .qk_norm = true,
                  .act = ACT_SILU,
                  .rope_theta = 1e4,
                  PLAIN_ROPE,
                  .bos_id = -1}}};

enum { N_FAMILIES = sizeof FAMILIES / sizeof *FAMILIES };

const struct model_family *config_family(const char *model_type)
{
    if (strcmp(model_type, "gemma3") == 0)
        model_type = "gemma3_text";
    for (int i = 0; i < N_FAMILIES; i++)
        if (strcmp(FAMILIES[i].name, model_type) == 0)
            return &FAMILIES[i];
    return NULL;
}

const struct model_family *config_family_gguf(struct gguf_text architecture)
{
    for (int i = 0; i < N_FAMILIES; i++)
        if (gguf_text_is(architecture, FAMILIES[i].gguf))
            return &FAMILIES[i];
    return NULL;
}

const struct model_family *config_family_of(const struct model_config *c)
{
    return config_family(c->family);
}

void config_add_eos(struct model_config *c, int64_t id)
{
    for (int i = 0; i < c->n_eos; i++)
        if (c->eos_ids[i] == id)
            return;
    if (id >= 0 && id < c->vocab_size && c->n_eos < MODEL_MAX_EOS)
        c->eos_ids[c->n_eos++] = (int32_t)id;
}

bool config_check(const struct model_config *c, struct gm_error *err)
{
    if (c->n_heads % c->n_kv_heads != 0)
        return error_set(err, GM_E_INPUT,
                         "%d attention heads cannot share %d key/value heads evenly", c->n_heads,
                         c->n_kv_heads);
    if (c->head_dim > MODEL_MAX_HEAD_DIM) /* where it is not given, but follows from the width */
        return error_set(err, GM_E_INPUT, "head dimension %d is too large (at most %d)", c->head_dim,
                         MODEL_MAX_HEAD_DIM);
    if (c->head_dim % 2 != 0)
        return error_set(err, GM_E_INPUT, "head dimension %d is odd: rotary positions turn pairs",
                         c->head_dim);
    if (c->rotary_dim % 2 != 0 || c->rotary_dim < 2 || c->rotary_dim > c->head_dim)
        return error_set(err, GM_E_INPUT, "%d of %d dimensions of a head cannot be rotated in pairs",
                         c->rotary_dim, c->head_dim);
    return true;
}

int64_t model_config_parameters(const struct model_config *c)
{
    int64_t d = c->d_model, q = (int64_t)c->n_heads * c->head_dim,
            kv = (int64_t)c->n_kv_heads * c->head_dim;
    int64_t layer = 2 * d * q + 2 * d * kv + 3 * d * c->d_ff + 2 * d;
    layer += (c->sandwich_norm ? 2 * d : 0) + (c->qk_norm ? 2 * c->head_dim : 0);
    layer += (c->qkv_bias ? q + 2 * kv : 0) + (c->o_bias ? d : 0) +
             (c->mlp_bias ? 2 * (int64_t)c->d_ff + d : 0);
    return c->n_layers * layer + d + (int64_t)c->vocab_size * d * (c->tied_head ? 1 : 2);
}
