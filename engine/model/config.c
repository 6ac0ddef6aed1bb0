/* config.c - config.json of Hugging Face to a model_config and back. GGUF: config_gguf.c. */
#include "engine/model/config_private.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/format/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { GEMMA3_PATTERN = 6 };

void config_gemma3(struct model_config *c)
{
    *c = (struct model_config){.family = "gemma3_text",
                               .n_layers = 26,
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
                               .act = ACT_GELU_TANH,
                               .rope_theta = 1e6,
                               .rope_theta_local = 1e4,
                               .rope_linear_factor = 1,
                               .sliding_window = 4096,
                               .bos_id = 2};
}

void config_llama(struct model_config *c)
{
    *c = (struct model_config){.family = "llama",
                               .n_layers = 32,
                               .d_model = 4096,
                               .n_heads = 32,
                               .d_ff = 11008,
                               .vocab_size = 32000,
                               .max_positions = 2048,
                               .rms_norm_eps = 1e-6f,
                               .act = ACT_SILU,
                               .rope_theta = 1e4,
                               .rope_theta_local = 1e4,
                               .rope_linear_factor = 1,
                               .bos_id = -1};
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
    if (c->head_dim % 2 != 0)
        return error_set(err, GM_E_INPUT, "head dimension %d is odd: rotary positions turn pairs",
                         c->head_dim);
    return true;
}

/* Options of other models and of variants that change the numbers, with the one value that means
 * "not used". */
static const struct neutral {
    const char *key;
    enum { NULL_OR_FALSE, ONE, ZERO, SILENT_WORD } value;
    const char *word;
} NEUTRAL[] = {{"attention_bias", NULL_OR_FALSE, NULL},
               {"mlp_bias", NULL_OR_FALSE, NULL},
               {"rope_interleaved", NULL_OR_FALSE, NULL},
               {"use_bidirectional_attention", NULL_OR_FALSE, NULL},
               {"quantization", NULL_OR_FALSE, NULL},
               {"quantization_config", NULL_OR_FALSE, NULL},
               {"no_rope_layers", NULL_OR_FALSE, NULL},
               {"no_rope_layer_interval", NULL_OR_FALSE, NULL},
               {"use_qk_norm", NULL_OR_FALSE, NULL},
               {"qk_layernorm", NULL_OR_FALSE, NULL},
               {"clip_qkv", NULL_OR_FALSE, NULL},
               {"use_sliding_window", NULL_OR_FALSE, NULL},
               {"attention_k_eq_v", NULL_OR_FALSE, NULL},
               {"kv_lora_rank", NULL_OR_FALSE, NULL},
               {"per_layer_config", NULL_OR_FALSE, NULL},
               {"cla_share_factor", NULL_OR_FALSE, NULL},
               {"use_mrope", NULL_OR_FALSE, NULL},
               {"partial_rotary_factor", ONE, NULL},
               {"embedding_multiplier", ONE, NULL},
               {"residual_multiplier", ONE, NULL},
               {"logits_scaling", ONE, NULL},
               {"logit_scale", ONE, NULL},
               {"num_kv_shared_layers", ZERO, NULL},
               {"num_experts", ZERO, NULL},
               {"num_local_experts", ZERO, NULL},
               {"hidden_size_per_layer_input", ZERO, NULL},
               {"position_embedding_type", SILENT_WORD, "rope"}};

static bool is_neutral(const json_t *v, const struct neutral *n)
{
    if (!v || json_is_null(v))
        return true;
    switch (n->value) {
    case NULL_OR_FALSE:
        return json_is_false(v);
    case ONE:
        return json_is_number(v) && json_number_value(v) == 1;
    case ZERO:
        return json_is_number(v) && json_number_value(v) == 0;
    default:
        return json_is_string(v) && strcmp(json_string_value(v), n->word) == 0;
    }
}

static bool check_neutral(const json_t *o, struct gm_error *err)
{
    static const char *const known[] = {"absent, null or false", "1", "0"};
    for (size_t i = 0; i < sizeof NEUTRAL / sizeof *NEUTRAL; i++) {
        const json_t *v = json_object_get(o, NEUTRAL[i].key);
        if (!is_neutral(v, &NEUTRAL[i]))
            return json_unsupported(v, NEUTRAL[i].key,
                               NEUTRAL[i].word ? NEUTRAL[i].word : known[NEUTRAL[i].value], err);
    }
    return true;
}

static bool read_int(const json_t *o, const char *key, int64_t max, int *out, struct gm_error *err)
{
    int64_t v = *out;
    if (!json_get_int(o, key, OPTIONAL, 1, max, &v, err))
        return false;
    *out = (int)v;
    return true;
}

static bool read_sizes(struct model_config *c, const json_t *o, struct gm_error *err)
{
    double eps = (double)c->rms_norm_eps;
    bool ok = read_int(o, "vocab_size", MODEL_MAX_VOCAB, &c->vocab_size, err) &&
              read_int(o, "hidden_size", MODEL_MAX_WIDTH, &c->d_model, err) &&
              read_int(o, "intermediate_size", MODEL_MAX_WIDTH, &c->d_ff, err) &&
              read_int(o, "num_hidden_layers", MODEL_MAX_LAYERS, &c->n_layers, err) &&
              read_int(o, "num_attention_heads", MODEL_MAX_HEADS, &c->n_heads, err) &&
              read_int(o, "max_position_embeddings", MODEL_MAX_POSITIONS, &c->max_positions, err) &&
              json_get_double(o, "rms_norm_eps", OPTIONAL, 0, 1, &eps, err);
    if (!ok)
        return false;
    c->rms_norm_eps = (float)eps;
    if (c->n_kv_heads == 0)
        c->n_kv_heads = c->n_heads;
    if (!read_int(o, "num_key_value_heads", MODEL_MAX_HEADS, &c->n_kv_heads, err))
        return false;
    if (c->head_dim == 0 && !json_has(o, "head_dim")) {
        if (c->d_model % c->n_heads != 0)
            return error_set(err, GM_E_INPUT,
                             "hidden_size %d is no multiple of %d heads, and head_dim is not given",
                             c->d_model, c->n_heads);
        c->head_dim = c->d_model / c->n_heads;
    }
    return read_int(o, "head_dim", MODEL_MAX_HEAD_DIM, &c->head_dim, err);
}

static bool read_activation(struct model_config *c, const json_t *o, struct gm_error *err)
{
    static const char *const keys[] = {"hidden_activation", "hidden_act"};
    for (int i = 0; i < 2; i++) {
        const char *name = NULL;
        if (!json_get_string(o, keys[i], OPTIONAL, &name, err))
            return false;
        if (!name)
            continue;
        if (strcmp(name, "silu") == 0 || strcmp(name, "swish") == 0)
            c->act = ACT_SILU;
        else if (strcmp(name, "gelu_pytorch_tanh") == 0 || strcmp(name, "gelu_new") == 0)
            c->act = ACT_GELU_TANH;
        else
            return json_unsupported(json_object_get(o, keys[i]), keys[i], "silu, gelu_pytorch_tanh",
                               err);
        return true;
    }
    return true;
}

/* {rope_type | type, rope_theta, factor}: one rotary table. */
static bool read_rope(const json_t *o, const char *where, double *theta, double *factor,
                      struct gm_error *err)
{
    const char *type = NULL;
    static const char *const keys[] = {"rope_type", "type"};
    for (int i = 0; i < 2 && !type; i++)
        if (!json_get_string(o, keys[i], OPTIONAL, &type, err))
            return error_context(err, "\"%s\"", where);
    if (type && strcmp(type, "default") != 0 && strcmp(type, "linear") != 0)
        return json_unsupported(o, where, "null, rope_type default or linear", err);
    if (json_has(o, "partial_rotary_factor") &&
        json_number_value(json_object_get(o, "partial_rotary_factor")) != 1)
        return json_unsupported(o, where, "partial_rotary_factor 1", err);
    bool linear = type && strcmp(type, "linear") == 0;
    if (!json_get_double(o, "rope_theta", OPTIONAL, 1, 1e15, theta, err) ||
        (linear && !json_get_double(o, "factor", REQUIRED, 1e-3, 1e6, factor, err)))
        return error_context(err, "\"%s\"", where);
    return true;
}

static bool read_ropes(struct model_config *c, const json_t *o, bool gemma, struct gm_error *err)
{
    const json_t *scaling = NULL, *parameters = NULL;
    if (!json_get_double(o, "rope_theta", OPTIONAL, 1, 1e15, &c->rope_theta, err) ||
        (gemma && !json_get_double(o, "rope_local_base_freq", OPTIONAL, 1, 1e15,
                                   &c->rope_theta_local, err)) ||
        !json_get_object(o, "rope_scaling", OPTIONAL, &scaling, err) ||
        !json_get_object(o, "rope_parameters", OPTIONAL, &parameters, err))
        return false;
    if (scaling && !read_rope(scaling, "rope_scaling", &c->rope_theta, &c->rope_linear_factor, err))
        return false;
    if (!parameters)
        return true;
    const json_t *full = json_object_get(parameters, "full_attention"),
                 *local = json_object_get(parameters, "sliding_attention");
    if (!gemma || (!full && !local))
        return read_rope(parameters, "rope_parameters", &c->rope_theta, &c->rope_linear_factor,
                         err);
    double unscaled = 1;
    if ((full && !read_rope(full, "rope_parameters.full_attention", &c->rope_theta,
                            &c->rope_linear_factor, err)) ||
        (local && !read_rope(local, "rope_parameters.sliding_attention", &c->rope_theta_local,
                             &unscaled, err)))
        return false;
    return unscaled == 1 || json_unsupported(local, "rope_parameters.sliding_attention",
                                        "no scaling on sliding layers", err);
}

/* Which layers slide: layer_types wins, else every n-th layer is full. */
static bool read_layer_types(struct model_config *c, const json_t *o, bool gemma,
                             struct gm_error *err)
{
    const json_t *types = NULL;
    int pattern = GEMMA3_PATTERN;
    if (!json_get_array(o, "layer_types", OPTIONAL, &types, err))
        return false;
    if (gemma && (!read_int(o, "_sliding_window_pattern", 1 << 20, &pattern, err) ||
                  !read_int(o, "sliding_window_pattern", 1 << 20, &pattern, err)))
        return false;
    if (types && json_array_size(types) != (size_t)c->n_layers)
        return error_set(err, GM_E_INPUT, "\"layer_types\" has %zu entries for %d layers",
                         json_array_size(types), c->n_layers);
    for (int i = 0; i < c->n_layers; i++) {
        if (!types) {
            c->sliding[i] = gemma && (i + 1) % pattern != 0;
            continue;
        }
        const char *type = json_string_value(json_array_get(types, (size_t)i));
        if (type && strcmp(type, "full_attention") == 0)
            c->sliding[i] = 0;
        else if (type && gemma && strcmp(type, "sliding_attention") == 0)
            c->sliding[i] = 1;
        else
            return json_unsupported(json_array_get(types, (size_t)i), "layer_types",
                               gemma ? "full_attention, sliding_attention" : "full_attention", err);
    }
    return true;
}

static bool read_gemma(struct model_config *c, const json_t *o, struct gm_error *err)
{
    double scalar = 256, caps[2] = {0, 0};
    if (!json_get_double(o, "query_pre_attn_scalar", OPTIONAL, 1e-6, 1e9, &scalar, err) ||
        !json_get_double(o, "attn_logit_softcapping", OPTIONAL, 0, 1e9, &caps[0], err) ||
        !json_get_double(o, "final_logit_softcapping", OPTIONAL, 0, 1e9, &caps[1], err) ||
        !read_int(o, "sliding_window", MODEL_MAX_POSITIONS, &c->sliding_window, err))
        return false;
    const json_t *window = json_object_get(o, "sliding_window");
    if (window && json_is_null(window))
        c->sliding_window = 0;
    c->attn_scale = (float)(1 / sqrt(scalar));
    c->attn_softcap = (float)caps[0];
    c->final_softcap = (float)caps[1];
    return true;
}

static bool read_llama(struct model_config *c, const json_t *o, struct gm_error *err)
{
    static const char *const none[] = {"attn_logit_softcapping", "final_logit_softcapping",
                                       "attention_multiplier", "query_pre_attn_scalar"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        if (json_has(o, none[i]))
            return json_unsupported(json_object_get(o, none[i]), none[i], "absent in model_type llama",
                               err);
    c->attn_scale = (float)(1 / sqrt((double)c->head_dim));
    return true;
}

static bool read_eos(struct model_config *c, const json_t *o, struct gm_error *err)
{
    const json_t *v = json_object_get(o, "eos_token_id");
    if (json_is_integer(v))
        config_add_eos(c, json_integer_value(v));
    size_t n = json_array_size(v);
    for (size_t i = 0; i < n; i++) {
        if (!json_is_integer(json_array_get(v, i)))
            return error_set(err, GM_E_INPUT, "\"eos_token_id\": entry %zu is no integer", i);
        config_add_eos(c, json_integer_value(json_array_get(v, i)));
    }
    return true;
}

static bool config_from_json(struct model_config *c, const json_t *o, struct gm_error *err)
{
    const char *family = NULL;
    if (!json_is_object(o))
        return error_set(err, GM_E_INPUT, "no JSON object");
    if (!json_get_string(o, "model_type", REQUIRED, &family, err))
        return false;
    bool gemma = strcmp(family, "gemma3_text") == 0;
    if (!gemma && strcmp(family, "llama") != 0)
        return json_unsupported(json_object_get(o, "model_type"), "model_type", CONFIG_FAMILIES, err);
    (gemma ? config_gemma3 : config_llama)(c);
    int64_t bos = c->bos_id;
    if (!check_neutral(o, err) || !read_sizes(c, o, err) || !read_activation(c, o, err) ||
        !read_ropes(c, o, gemma, err) || !read_layer_types(c, o, gemma, err) ||
        !(gemma ? read_gemma : read_llama)(c, o, err) ||
        !json_get_bool(o, "tie_word_embeddings", OPTIONAL, &c->tied_head, err) ||
        (json_is_integer(json_object_get(o, "bos_token_id")) &&
         !json_get_int(o, "bos_token_id", OPTIONAL, -1, MODEL_MAX_VOCAB, &bos, err)) ||
        !read_eos(c, o, err))
        return false;
    c->bos_id = (int32_t)bos;
    return config_check(c, err);
}

bool model_config_parse(struct model_config *c, const char *json, size_t n, const char *label,
                        struct gm_error *err)
{
    json_t *o = json_parse(json, n, label, err);
    if (!o)
        return false;
    bool ok = config_from_json(c, o, err) || error_context(err, "read %s", label);
    json_decref(o);
    return ok;
}

/* generation_config.json knows the ends of a turn, which config.json often does not. */
static bool read_generation(struct model_config *c, const struct model_source *source,
                            struct gm_error *err)
{
    enum { MAX_BYTES = 1 << 20 };
    if (!model_source_has_file(source, "generation_config.json"))
        return true;
    json_t *o = model_source_read_json(source, "generation_config.json", MAX_BYTES, err);
    if (!o)
        return false;
    bool ok =
        read_eos(c, o, err) || error_context(err, "read %s/generation_config.json", source->path);
    json_decref(o);
    return ok;
}

bool model_config_read(struct model_config *c, const struct model_source *source,
                       struct gm_error *err)
{
    if (source->kind == SOURCE_GGUF)
        return config_read_gguf(c, source, err) || error_context(err, "read %s", source->path);
    if (!source->config)
        return error_set(err, GM_E_INPUT,
                         "read %s: there is no config.json (a model folder has one)", source->path);
    if (!config_from_json(c, source->config, err))
        return error_context(err, "read %s/config.json", source->path);
    return read_generation(c, source, err);
}

static void set_layer_types(json_t *o, const struct model_config *c)
{
    json_t *types = json_array();
    for (int i = 0; i < c->n_layers; i++)
        json_array_append_new(types,
                              json_string(c->sliding[i] ? "sliding_attention" : "full_attention"));
    json_object_set_new(o, "layer_types", types);
}

static json_t *positive_or_null(double v)
{
    return v > 0 ? json_real(v) : json_null();
}

/* A float as the shortest decimal that gives it back: 1e-06, not 9.9999999747524271e-07. */
static double tidy(float v)
{
    char text[32];
    double d = (double)v;
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)v);
        if (sscanf(text, "%lf", &d) == 1 && (float)d == v)
            return d;
    }
    return (double)v;
}

json_t *model_config_to_json(const struct model_config *c)
{
    bool gemma = strcmp(c->family, "gemma3_text") == 0;
    json_t *o = json_object(), *eos = json_array();
    for (int i = 0; i < c->n_eos; i++)
        json_array_append_new(eos, json_integer(c->eos_ids[i]));
    json_object_set_new(o, "architectures",
                        json_pack("[s]", gemma ? "Gemma3ForCausalLM" : "LlamaForCausalLM"));
    json_object_set_new(o, "model_type", json_string(c->family));
    json_object_set_new(o, "vocab_size", json_integer(c->vocab_size));
    json_object_set_new(o, "hidden_size", json_integer(c->d_model));
    json_object_set_new(o, "intermediate_size", json_integer(c->d_ff));
    json_object_set_new(o, "num_hidden_layers", json_integer(c->n_layers));
    json_object_set_new(o, "num_attention_heads", json_integer(c->n_heads));
    json_object_set_new(o, "num_key_value_heads", json_integer(c->n_kv_heads));
    json_object_set_new(o, "head_dim", json_integer(c->head_dim));
    json_object_set_new(o, gemma ? "hidden_activation" : "hidden_act",
                        json_string(c->act == ACT_SILU ? "silu" : "gelu_pytorch_tanh"));
    json_object_set_new(o, "rms_norm_eps", json_real(tidy(c->rms_norm_eps)));
    json_object_set_new(o, "max_position_embeddings", json_integer(c->max_positions));
    json_object_set_new(o, "rope_theta", json_real(c->rope_theta));
    json_object_set_new(o, "rope_scaling",
                        c->rope_linear_factor == 1 ? json_null()
                                                   : json_pack("{s:s, s:f}", "rope_type", "linear",
                                                               "factor", c->rope_linear_factor));
    json_object_set_new(o, "tie_word_embeddings", json_boolean(c->tied_head));
    json_object_set_new(o, "attention_bias", json_false());
    if (gemma) {
        double scalar = 1 / ((double)c->attn_scale * (double)c->attn_scale), whole = round(scalar);
        json_object_set_new(o, "query_pre_attn_scalar",
                            json_real(fabs(scalar - whole) < 1e-4 * whole ? whole : scalar));
        json_object_set_new(o, "rope_local_base_freq", json_real(c->rope_theta_local));
        json_object_set_new(o, "sliding_window",
                            c->sliding_window > 0 ? json_integer(c->sliding_window) : json_null());
        json_object_set_new(o, "attn_logit_softcapping", positive_or_null(tidy(c->attn_softcap)));
        json_object_set_new(o, "final_logit_softcapping", positive_or_null(tidy(c->final_softcap)));
        set_layer_types(o, c);
    } else {
        json_object_set_new(o, "mlp_bias", json_false());
    }
    json_object_set_new(o, "bos_token_id", c->bos_id >= 0 ? json_integer(c->bos_id) : json_null());
    if (c->n_eos == 1) {
        json_object_set_new(o, "eos_token_id", json_integer(c->eos_ids[0]));
        json_decref(eos);
    } else {
        json_object_set_new(o, "eos_token_id", eos);
    }
    return o;
}

int64_t model_config_parameters(const struct model_config *c)
{
    int64_t d = c->d_model, q = (int64_t)c->n_heads * c->head_dim,
            kv = (int64_t)c->n_kv_heads * c->head_dim;
    int64_t layer = 2 * d * q + 2 * d * kv + 3 * d * c->d_ff + 2 * d;
    layer += (c->sandwich_norm ? 2 * d : 0) + (c->qk_norm ? 2 * c->head_dim : 0);
    return c->n_layers * layer + d + (int64_t)c->vocab_size * d * (c->tied_head ? 1 : 2);
}
