/* shapes.c - the published configurations that decide the arithmetic, and models of random weights in them. */
#include "src/cli/shapes.h"

#include <string.h>

/* The published config.json values that decide the arithmetic. */
static const struct {
    const char *name, *config;
} SHAPES[] = {
    {"smollm2-135m", "{\"model_type\":\"llama\",\"vocab_size\":49152,\"hidden_size\":576,\"intermediate_size\":1536,\"num_hidden_layers\":30,"
                     "\"num_attention_heads\":9,\"num_key_value_heads\":3,\"hidden_act\":\"silu\",\"rms_norm_eps\":1e-5,\"rope_theta\":100000.0,"
                     "\"max_position_embeddings\":8192,\"tie_word_embeddings\":true,\"bos_token_id\":1,\"eos_token_id\":2}"},
    {"tinyllama", "{\"model_type\":\"llama\",\"vocab_size\":32000,\"hidden_size\":2048,\"intermediate_size\":5632,\"num_hidden_layers\":22,"
                  "\"num_attention_heads\":32,\"num_key_value_heads\":4,\"hidden_act\":\"silu\",\"rms_norm_eps\":1e-5,\"rope_theta\":10000.0,"
                  "\"max_position_embeddings\":2048,\"tie_word_embeddings\":false,\"bos_token_id\":1,\"eos_token_id\":2}"},
    {"gemma3-270m", "{\"model_type\":\"gemma3_text\",\"vocab_size\":262144,\"hidden_size\":640,\"intermediate_size\":2048,\"num_hidden_layers\":18,"
                    "\"num_attention_heads\":4,\"num_key_value_heads\":1,\"head_dim\":256,\"query_pre_attn_scalar\":256,\"sliding_window\":512,"
                    "\"hidden_activation\":\"gelu_pytorch_tanh\",\"rms_norm_eps\":1e-6,\"rope_theta\":1000000.0,\"rope_local_base_freq\":10000.0,"
                    "\"max_position_embeddings\":32768,\"sliding_window_pattern\":6,\"bos_token_id\":2,\"eos_token_id\":1}"},
    {"gemma3-1b", "{\"model_type\":\"gemma3_text\",\"vocab_size\":262144,\"hidden_size\":1152,\"intermediate_size\":6912,\"num_hidden_layers\":26,"
                  "\"num_attention_heads\":4,\"num_key_value_heads\":1,\"head_dim\":256,\"query_pre_attn_scalar\":256,\"sliding_window\":512,"
                  "\"hidden_activation\":\"gelu_pytorch_tanh\",\"rms_norm_eps\":1e-6,\"rope_theta\":1000000.0,\"rope_local_base_freq\":10000.0,"
                  "\"max_position_embeddings\":32768,\"sliding_window_pattern\":6,\"bos_token_id\":2,\"eos_token_id\":1}"},
    {"gemma3-4b", "{\"model_type\":\"gemma3_text\",\"vocab_size\":262208,\"hidden_size\":2560,\"intermediate_size\":10240,\"num_hidden_layers\":34,"
                  "\"num_attention_heads\":8,\"num_key_value_heads\":4,\"head_dim\":256,\"query_pre_attn_scalar\":256,\"sliding_window\":1024,"
                  "\"hidden_activation\":\"gelu_pytorch_tanh\",\"rms_norm_eps\":1e-6,\"rope_theta\":1000000.0,\"rope_local_base_freq\":10000.0,"
                  "\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":8.0},"
                  "\"max_position_embeddings\":131072,\"sliding_window_pattern\":6,\"bos_token_id\":2,\"eos_token_id\":1}"},
};
/* As export's --type spells them; in the order of SHAPE_WEIGHT_CHOICES. */
static const struct {
    const char *name;
    enum dtype type;
} WEIGHTS[] = {{"bf16", DT_BF16}, {"f16", DT_F16}, {"f32", DT_F32}, {"q8_0", DT_Q8_0}, {"q4_0", DT_Q4_0}, {"q4_1", DT_Q4_1},
               {"q5_0", DT_Q5_0}, {"q5_1", DT_Q5_1}, {"q4_k", DT_Q4_K}, {"q5_k", DT_Q5_K}, {"q6_k", DT_Q6_K}, {"iq4_nl", DT_IQ4_NL},
               {"mlx4", DT_MLX4}, {"mlx8", DT_MLX8}};
enum { N_SHAPES = sizeof SHAPES / sizeof *SHAPES, N_WEIGHTS = sizeof WEIGHTS / sizeof *WEIGHTS };

bool shape_known(const char *name)
{
    for (int i = 0; i < N_SHAPES; i++)
        if (strcmp(SHAPES[i].name, name) == 0)
            return true;
    return false;
}

bool shape_config(const char *name, struct model_config *config, struct gm_error *err)
{
    for (int i = 0; i < N_SHAPES; i++)
        if (strcmp(SHAPES[i].name, name) == 0)
            return model_config_parse(config, SHAPES[i].config, strlen(SHAPES[i].config), name, err);
    error_set(err, GM_E_USAGE, "find shape %s: it is not known", name);
    error_remedy(err, SHAPE_NAMES);
    return false;
}

enum dtype shape_weights(int choice)
{
    return WEIGHTS[choice].type;
}

const char *shape_weights_name(enum dtype type)
{
    for (int i = 0; i < N_WEIGHTS; i++)
        if (WEIGHTS[i].type == type)
            return WEIGHTS[i].name;
    return dtype_name(type);
}

struct model *shape_model(const char *name, enum dtype type, struct gm_error *err)
{
    struct model_config config;
    return shape_config(name, &config, err) ? model_random(&config, type, 1, err) : NULL;
}
