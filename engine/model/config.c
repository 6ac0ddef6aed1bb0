/* config.c - config.json of Hugging Face to a model_config and back. Families: config_family.c;
 * rotary positions: config_rope.c; what nobody reads: config_keys.c; GGUF: config_gguf.c. */
#include "engine/model/config_private.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/format/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

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

/* Which layers see a window only: layer_types wins over the family's rule. */
static bool read_layer_types(struct model_config *c, const struct model_family *f, const json_t *o,
                             struct gm_error *err)
{
    const json_t *types = NULL;
    bool on_top = false;
    int pattern = f->pattern, full_below = c->n_layers;
    if (!json_get_array(o, "layer_types", OPTIONAL, &types, err) ||
        !read_int(o, "_sliding_window_pattern", 1 << 20, &pattern, err) ||
        !read_int(o, "sliding_window_pattern", 1 << 20, &pattern, err) ||
        !json_get_bool(o, "use_sliding_window", OPTIONAL, &on_top, err))
        return false;
    if (pattern != f->pattern && !c->local_rope) /* an option of Gemma 3 alone */
        return error_set(err, GM_E_UNSUPPORTED, "\"sliding_window_pattern\" is %d, which is not supported in a model of type %s",
                         pattern, f->name);
    if (f->slides == SLIDES_ON_TOP) {
        int64_t below = 28;
        if (!json_get_int(o, "max_window_layers", OPTIONAL, 0, 1 << 20, &below, err))
            return false;
        if (!on_top)
            c->sliding_window = 0;
        if (c->sliding_window > 0 && below < c->n_layers)
            full_below = (int)below;
    }
    if (types && json_array_size(types) != (size_t)c->n_layers)
        return error_set(err, GM_E_INPUT, "\"layer_types\" has %zu entries for %d layers",
                         json_array_size(types), c->n_layers);
    for (int i = 0; i < c->n_layers; i++) {
        if (!types) {
            c->sliding[i] = f->slides == SLIDES_PATTERN  ? (i + 1) % pattern != 0
                            : f->slides == SLIDES_ALWAYS ? c->sliding_window > 0
                                                         : i >= full_below;
            continue;
        }
        const char *type = json_string_value(json_array_get(types, (size_t)i));
        bool may_slide = f->slides == SLIDES_PATTERN || c->sliding_window > 0;
        if (type && strcmp(type, "full_attention") == 0)
            c->sliding[i] = 0;
        else if (type && may_slide && strcmp(type, "sliding_attention") == 0)
            c->sliding[i] = 1;
        else
            return json_unsupported(
                json_array_get(types, (size_t)i), "layer_types",
                may_slide ? "full_attention, sliding_attention" : "full_attention", err);
    }
    return true;
}

/* null means no window, an absent key the family's own. */
static bool read_window(struct model_config *c, const struct model_family *f, const json_t *o,
                        struct gm_error *err)
{
    const json_t *v = json_object_get(o, "sliding_window");
    if (f->slides == SLIDES_ON_TOP && !v)
        c->sliding_window = 4096;
    if (json_is_null(v))
        c->sliding_window = 0;
    int window = c->sliding_window;
    if (!read_int(o, "sliding_window", MODEL_MAX_POSITIONS, &window, err))
        return false;
    if (f->slides == SLIDES_NEVER && window > 0 && window < c->max_positions)
        return json_unsupported(v, "sliding_window", "null in this family", err);
    c->sliding_window = f->slides == SLIDES_NEVER ? 0 : window;
    return true;
}

/* An explicit null takes a cap away. */
static bool read_cap(const json_t *o, const char *key, float *cap, struct gm_error *err)
{
    double v = json_is_null(json_object_get(o, key)) ? 0 : (double)*cap;
    if (!json_get_double(o, key, OPTIONAL, 0, 1e9, &v, err))
        return false;
    *cap = (float)v;
    return true;
}

static bool read_attention(struct model_config *c, const struct model_family *f, const json_t *o,
                           struct gm_error *err)
{
    double scalar = f->may_cap ? 256 : c->head_dim;
    bool attention_bias = false;
    if (f->may_cap && (!json_get_double(o, "query_pre_attn_scalar", OPTIONAL, 1e-6, 1e9, &scalar, err) ||
                       !read_cap(o, "attn_logit_softcapping", &c->attn_softcap, err) ||
                       !read_cap(o, "final_logit_softcapping", &c->final_softcap, err)))
        return false;
    c->attn_scale = (float)(1 / sqrt(scalar));
    if ((f->may_attention_bias &&
         !json_get_bool(o, "attention_bias", OPTIONAL, &attention_bias, err)) ||
        (f->may_mlp_bias && !json_get_bool(o, "mlp_bias", OPTIONAL, &c->mlp_bias, err)))
        return false;
    c->qkv_bias = c->qkv_bias || attention_bias;
    c->o_bias = attention_bias;
    return true;
}

static bool read_eos(struct model_config *c, const json_t *o, struct gm_error *err)
{
    const json_t *v = json_object_get(o, "eos_token_id");
    if (json_is_integer(v))
        config_add_eos(c, json_integer_value(v));
    else if (v && !json_is_null(v) && !json_is_array(v))
        return error_set(err, GM_E_INPUT, "\"eos_token_id\" is neither an integer nor a list of them");
    size_t n = json_array_size(v);
    for (size_t i = 0; i < n; i++) {
        if (!json_is_integer(json_array_get(v, i)))
            return error_set(err, GM_E_INPUT, "\"eos_token_id\": entry %zu is no integer", i);
        config_add_eos(c, json_integer_value(json_array_get(v, i)));
    }
    return true;
}

/* Identities of tokens; a multimodal file has them outside, other files know no outside. */
static bool read_tokens(struct model_config *c, const json_t *o, struct gm_error *err)
{
    int64_t bos = c->bos_id;
    if (json_is_integer(json_object_get(o, "bos_token_id")) &&
        !json_get_int(o, "bos_token_id", OPTIONAL, -1, MODEL_MAX_VOCAB, &bos, err))
        return false;
    c->bos_id = (int32_t)bos;
    return read_eos(c, o, err);
}

static bool config_from_json(struct model_config *c, const json_t *o, struct gm_error *err)
{
    const char *type = NULL;
    const json_t *text = NULL;
    if (!json_is_object(o))
        return error_set(err, GM_E_INPUT, "no JSON object");
    if (!json_get_string(o, "model_type", REQUIRED, &type, err) ||
        !json_get_object(o, "text_config", OPTIONAL, &text, err))
        return false;
    const struct model_family *f = config_family(type);
    if (!f)
        return json_unsupported(json_object_get(o, "model_type"), "model_type", CONFIG_FAMILIES, err);
    if (text && strcmp(type, "gemma3") != 0)
        return json_unsupported(text, "text_config", "absent unless model_type is gemma3", err);
    if (!config_check_keys(o, f, err) || (text && !config_check_keys(text, f, err)))
        return false;
    *c = f->defaults;
    snprintf(c->family, sizeof c->family, "%s", f->name);
    const json_t *inner = text ? text : o;
    if (!read_sizes(c, inner, err) || !read_activation(c, inner, err) ||
        !config_read_rope(c, f, inner, err) || !read_window(c, f, inner, err) ||
        !read_layer_types(c, f, inner, err) || !read_attention(c, f, inner, err) ||
        !json_get_bool(inner, "tie_word_embeddings", OPTIONAL, &c->tied_head, err) ||
        !read_tokens(c, inner, err))
        return false;
    return !text || (json_get_bool(o, "tie_word_embeddings", OPTIONAL, &c->tied_head, err) &&
                     read_tokens(c, o, err));
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

static json_t *layer_types(const struct model_config *c)
{
    json_t *types = json_array();
    for (int i = 0; i < c->n_layers; i++)
        json_array_append_new(types,
                              json_string(c->sliding[i] ? "sliding_attention" : "full_attention"));
    return types;
}

static json_t *positive_or_null(double v)
{
    return v > 0 ? json_real(v) : json_null();
}

static void write_window(const struct model_config *c, const struct model_family *f, json_t *o)
{
    if (f->slides == SLIDES_NEVER)
        return;
    json_object_set_new(o, "sliding_window",
                        c->sliding_window > 0 ? json_integer(c->sliding_window) : json_null());
    if (f->slides == SLIDES_ALWAYS)
        return;
    json_object_set_new(o, "layer_types", layer_types(c));
    if (f->slides == SLIDES_ON_TOP) {
        json_object_set_new(o, "use_sliding_window", json_boolean(c->sliding_window > 0));
        json_object_set_new(o, "max_window_layers", json_integer(c->n_layers));
    }
}

static void write_caps(const struct model_config *c, json_t *o)
{
    double scalar = 1 / ((double)c->attn_scale * (double)c->attn_scale), whole = round(scalar);
    json_object_set_new(o, "query_pre_attn_scalar",
                        fabs(scalar - whole) < 1e-4 * whole ? json_integer((json_int_t)whole)
                                                            : json_real(scalar));
    json_object_set_new(o, "attn_logit_softcapping", positive_or_null(config_tidy(c->attn_softcap)));
    json_object_set_new(o, "final_logit_softcapping",
                        positive_or_null(config_tidy(c->final_softcap)));
}

static json_t *eos(const struct model_config *c)
{
    if (c->n_eos == 1)
        return json_integer(c->eos_ids[0]);
    json_t *list = json_array();
    for (int i = 0; i < c->n_eos; i++)
        json_array_append_new(list, json_integer(c->eos_ids[i]));
    return list;
}

json_t *model_config_to_json(const struct model_config *c)
{
    const struct model_family *f = config_family_of(c);
    json_t *o = json_object();
    json_object_set_new(o, "architectures", json_pack("[s]", f->architecture));
    json_object_set_new(o, "model_type", json_string(c->family));
    json_object_set_new(o, "vocab_size", json_integer(c->vocab_size));
    json_object_set_new(o, "hidden_size", json_integer(c->d_model));
    json_object_set_new(o, "intermediate_size", json_integer(c->d_ff));
    json_object_set_new(o, "num_hidden_layers", json_integer(c->n_layers));
    json_object_set_new(o, "num_attention_heads", json_integer(c->n_heads));
    json_object_set_new(o, "num_key_value_heads", json_integer(c->n_kv_heads));
    json_object_set_new(o, "head_dim", json_integer(c->head_dim));
    json_object_set_new(o, f->may_cap ? "hidden_activation" : "hidden_act",
                        json_string(c->act == ACT_SILU ? "silu" : "gelu_pytorch_tanh"));
    json_object_set_new(o, "rms_norm_eps", json_real(config_tidy(c->rms_norm_eps)));
    json_object_set_new(o, "max_position_embeddings", json_integer(c->max_positions));
    config_write_rope(c, o);
    write_window(c, f, o);
    if (f->may_cap)
        write_caps(c, o);
    json_object_set_new(o, "tie_word_embeddings", json_boolean(c->tied_head));
    if (f->may_attention_bias)
        json_object_set_new(o, "attention_bias", json_boolean(c->o_bias));
    if (f->may_mlp_bias)
        json_object_set_new(o, "mlp_bias", json_boolean(c->mlp_bias));
    json_object_set_new(o, "bos_token_id", c->bos_id >= 0 ? json_integer(c->bos_id) : json_null());
    json_object_set_new(o, "eos_token_id", eos(c));
    if (c->fused) /* else Phi-3's class takes 32000, which a small vocabulary does not have */
        json_object_set_new(o, "pad_token_id", c->n_eos > 0 ? json_integer(c->eos_ids[0]) : json_null());
    return o;
}
