/* config_gguf.c - GGUF metadata to a model_config, for general.architecture "llama" and "gemma3".
 */
#include "engine/model/config_private.h"

#include "engine/base/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { GEMMA3_PATTERN = 6, GEMMA3_27B_LAYERS = 62 };

/* "ARCH.name" for the getters. */
struct keys {
    const struct gguf *g;
    const char *arch;
    char text[96];
};

static const char *key(struct keys *k, const char *name)
{
    snprintf(k->text, sizeof k->text, "%s.%s", k->arch, name);
    return k->text;
}

static bool get_int(struct keys *k, const char *name, enum need need, uint64_t max, int *out,
                    struct gm_error *err)
{
    uint64_t v = (uint64_t)*out;
    if (!gguf_u64(k->g, key(k, name), need, 1, max, &v, err))
        return false;
    *out = (int)v;
    return true;
}

/* Keys of relatives that change the numbers, with the value that means "not used". */
static bool check_neutral(struct keys *k, struct gm_error *err)
{
    static const struct {
        const char *name;
        double value;
    } neutral[] = {{"expert_count", 0},
                   {"logit_scale", 1},
                   {"residual_scale", 1},
                   {"embedding_scale", 1},
                   {"attention.clamp_kqv", 0},
                   {"attention.max_alibi_bias", 0},
                   {"attention.shared_kv_layers", 0},
                   {"embedding_length_per_layer_input", 0}};
    for (size_t i = 0; i < sizeof neutral / sizeof *neutral; i++) {
        double v = neutral[i].value;
        if (!gguf_f64(k->g, key(k, neutral[i].name), OPTIONAL, -1e30, 1e30, &v, err))
            return false;
        if (v != neutral[i].value)
            return error_set(err, GM_E_UNSUPPORTED,
                             "\"%s\" is %g, which is not supported (known: %g)", k->text, v,
                             neutral[i].value);
    }
    bool causal = true;
    if (!gguf_bool(k->g, key(k, "attention.causal"), OPTIONAL, &causal, err))
        return false;
    return causal || error_set(err, GM_E_UNSUPPORTED,
                               "\"%s\" is false, which is not supported (known: true)", k->text);
}

static bool read_sizes(struct keys *k, struct model_config *c, struct gm_error *err)
{
    int value_length, rotary;
    double eps = 0;
    bool ok = get_int(k, "block_count", REQUIRED, MODEL_MAX_LAYERS, &c->n_layers, err) &&
              get_int(k, "embedding_length", REQUIRED, MODEL_MAX_WIDTH, &c->d_model, err) &&
              get_int(k, "feed_forward_length", REQUIRED, MODEL_MAX_WIDTH, &c->d_ff, err) &&
              get_int(k, "context_length", REQUIRED, MODEL_MAX_POSITIONS, &c->max_positions, err) &&
              get_int(k, "attention.head_count", REQUIRED, MODEL_MAX_HEADS, &c->n_heads, err) &&
              gguf_f64(k->g, key(k, "attention.layer_norm_rms_epsilon"), REQUIRED, 0, 1, &eps, err);
    if (!ok)
        return false;
    c->rms_norm_eps = (float)eps;
    c->n_kv_heads = c->n_heads;
    if (c->head_dim == 0 && c->d_model % c->n_heads == 0)
        c->head_dim = c->d_model / c->n_heads;
    if (!get_int(k, "attention.head_count_kv", OPTIONAL, MODEL_MAX_HEADS, &c->n_kv_heads, err) ||
        !get_int(k, "attention.key_length", c->head_dim ? OPTIONAL : REQUIRED, MODEL_MAX_HEAD_DIM,
                 &c->head_dim, err))
        return false;
    value_length = rotary = c->head_dim;
    if (!get_int(k, "attention.value_length", OPTIONAL, MODEL_MAX_HEAD_DIM, &value_length, err) ||
        !get_int(k, "rope.dimension_count", OPTIONAL, MODEL_MAX_HEAD_DIM, &rotary, err))
        return false;
    if (value_length != c->head_dim || rotary != c->head_dim)
        return error_set(err, GM_E_UNSUPPORTED,
                         "key length %d, value length %d and rope dimensions %d differ, which is "
                         "not supported (known: all equal)",
                         c->head_dim, value_length, rotary);
    return true;
}

static bool read_rope(struct keys *k, struct model_config *c, bool gemma, struct gm_error *err)
{
    struct gguf_text type = {"", 0};
    if (!gguf_f64(k->g, key(k, "rope.freq_base"), gemma ? REQUIRED : OPTIONAL, 1, 1e15,
                  &c->rope_theta, err) ||
        !gguf_string(k->g, key(k, "rope.scaling.type"), OPTIONAL, &type, err))
        return false;
    if (type.len && !gguf_text_is(type, "none") && !gguf_text_is(type, "linear"))
        return error_set(err, GM_E_UNSUPPORTED,
                         "\"%s\" is \"%.*s\", which is not supported (known: none, linear)",
                         k->text, (int)(type.len < 64 ? type.len : 64), type.data);
    if (!gguf_text_is(type, "none") && (!gguf_f64(k->g, key(k, "rope.scale_linear"), OPTIONAL, 1e-3,
                                                  1e6, &c->rope_linear_factor, err) ||
                                        !gguf_f64(k->g, key(k, "rope.scaling.factor"), OPTIONAL,
                                                  1e-3, 1e6, &c->rope_linear_factor, err)))
        return false;
    if (!gemma)
        return true;
    return gguf_f64(k->g, key(k, "rope.local.freq_base"), OPTIONAL, 1, 1e15, &c->rope_theta_local,
                    err) &&
           gguf_f64(k->g, key(k, "rope.freq_base_swa"), OPTIONAL, 1, 1e15, &c->rope_theta_local,
                    err);
}

static bool read_gemma(struct keys *k, struct model_config *c, struct gm_error *err)
{
    double caps[2] = {0, 0};
    uint64_t n = 0, pattern = GEMMA3_PATTERN;
    bool *slides = NULL;
    c->sliding_window = 0;
    uint64_t window = 0;
    if (!gguf_u64(k->g, key(k, "attention.sliding_window"), REQUIRED, 0, MODEL_MAX_POSITIONS,
                  &window, err) ||
        !gguf_f64(k->g, key(k, "attn_logit_softcapping"), OPTIONAL, 0, 1e9, &caps[0], err) ||
        !gguf_f64(k->g, key(k, "final_logit_softcapping"), OPTIONAL, 0, 1e9, &caps[1], err))
        return false;
    c->sliding_window = (int)window;
    c->attn_softcap = (float)caps[0];
    c->final_softcap = (float)caps[1];
    const struct gguf_kv *kv = gguf_get(k->g, key(k, "attention.sliding_window_pattern"));
    if (kv && kv->type == GGUF_ARRAY) {
        if (!gguf_array_bool(k->g, k->text, REQUIRED, &slides, &n, err))
            return false;
        if (n != (uint64_t)c->n_layers) {
            mem_free(slides);
            return error_set(err, GM_E_INPUT, "\"%s\" has %llu entries for %d layers", k->text,
                             (unsigned long long)n, c->n_layers);
        }
    } else if (!gguf_u64(k->g, k->text, OPTIONAL, 1, 1 << 20, &pattern, err)) {
        return false;
    }
    for (int i = 0; i < c->n_layers; i++)
        c->sliding[i] = slides ? slides[i] : ((uint64_t)i + 1) % pattern != 0;
    mem_free(slides);
    /* The scale is never stored; the 27B model alone divides by d/heads. */
    double scalar =
        c->n_layers == GEMMA3_27B_LAYERS ? (double)c->d_model / c->n_heads : c->head_dim;
    c->attn_scale = (float)(1 / sqrt(scalar));
    return true;
}

static bool read_llama(struct keys *k, struct model_config *c, struct gm_error *err)
{
    uint64_t window = 0;
    double scale = 0;
    if (!gguf_u64(k->g, key(k, "attention.sliding_window"), OPTIONAL, 0, UINT32_MAX, &window, err))
        return false;
    if (window > 0)
        return error_set(err, GM_E_UNSUPPORTED,
                         "\"%s\" is %llu, which is not supported (known: absent or 0)", k->text,
                         (unsigned long long)window);
    if (!gguf_f64(k->g, key(k, "attention.scale"), OPTIONAL, 0, 1e9, &scale, err))
        return false;
    c->attn_scale = scale > 0 ? (float)scale : (float)(1 / sqrt((double)c->head_dim));
    return true;
}

static bool read_vocabulary(const struct gguf *g, struct model_config *c, struct gm_error *err)
{
    const struct tensor_info *embed = gguf_find(g, "token_embd.weight");
    if (!embed || embed->n_dims != 2 || embed->shape[0] < 1 || embed->shape[0] > MODEL_MAX_VOCAB)
        return error_set(err, GM_E_INPUT, "tensor \"token_embd.weight\" is missing or no matrix");
    c->vocab_size = (int)embed->shape[0];
    c->tied_head = !gguf_find(g, "output.weight");
    static const char *const ends[] = {"tokenizer.ggml.eos_token_id",
                                       "tokenizer.ggml.eot_token_id"};
    int64_t bos = c->bos_id, end;
    if (!gguf_i64(g, "tokenizer.ggml.bos_token_id", OPTIONAL, -1, UINT32_MAX, &bos, err))
        return false;
    c->bos_id = bos < c->vocab_size ? (int32_t)bos : -1;
    for (int i = 0; i < 2; i++) {
        end = -1;
        if (!gguf_i64(g, ends[i], OPTIONAL, -1, UINT32_MAX, &end, err))
            return false;
        config_add_eos(c, end);
    }
    return true;
}

bool config_read_gguf(struct model_config *c, const struct model_source *source,
                      struct gm_error *err)
{
    const struct gguf *g = source->gguf;
    struct gguf_text arch = {"", 0};
    if (!gguf_string(g, "general.architecture", REQUIRED, &arch, err))
        return false;
    bool gemma = gguf_text_is(arch, "gemma3");
    if (!gemma && !gguf_text_is(arch, "llama"))
        return error_set(
            err, GM_E_UNSUPPORTED,
            "\"general.architecture\" is \"%.*s\", which is not supported (known: gemma3, llama)",
            (int)(arch.len < 64 ? arch.len : 64), arch.data);
    (gemma ? config_gemma3 : config_llama)(c);
    struct keys k = {.g = g, .arch = gemma ? "gemma3" : "llama"};
    return check_neutral(&k, err) && read_sizes(&k, c, err) && read_rope(&k, c, gemma, err) &&
           (gemma ? read_gemma : read_llama)(&k, c, err) && read_vocabulary(g, c, err) &&
           config_check(c, err);
}
