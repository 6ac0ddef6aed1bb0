/* config_gguf.c - GGUF metadata to a model_config, as the converters of llama.cpp and of Ollama spell
 * it. Writing: config_gguf_write.c. */
#include "engine/model/config_private.h"

#include "engine/base/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/model/ropes.h"

bool config_is_27b(const struct model_config *c)
{
    enum { GEMMA3_LAYERS = 62, GEMMA2_LAYERS = 46 };
    return c->scaled_embed && c->n_layers == (c->local_rope ? GEMMA3_LAYERS : GEMMA2_LAYERS);
}

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

/* Files of Ollama's own converter leave out what its runtime knows by the number of layers. */
static void guess_gemma3_heads(struct model_config *c)
{
    static const struct {
        int layers, heads, kv_heads;
    } known[] = {{34, 8, 4}, {48, 16, 8}, {62, 32, 16}};
    for (int i = 0; i < 3; i++)
        if (c->n_layers == known[i].layers) {
            c->n_heads = known[i].heads;
            c->n_kv_heads = known[i].kv_heads;
        }
}

static bool read_sizes(struct keys *k, struct model_config *c, bool gemma3, struct gm_error *err)
{
    double eps = (double)c->rms_norm_eps;
    bool ok = get_int(k, "block_count", REQUIRED, MODEL_MAX_LAYERS, &c->n_layers, err) &&
              get_int(k, "embedding_length", REQUIRED, MODEL_MAX_WIDTH, &c->d_model, err) &&
              get_int(k, "feed_forward_length", REQUIRED, MODEL_MAX_WIDTH, &c->d_ff, err) &&
              get_int(k, "context_length", REQUIRED, MODEL_MAX_POSITIONS, &c->max_positions, err);
    if (!ok)
        return false;
    c->n_heads = c->n_kv_heads = 0;
    if (gemma3)
        guess_gemma3_heads(c);
    if (!get_int(k, "attention.head_count", c->n_heads ? OPTIONAL : REQUIRED, MODEL_MAX_HEADS,
                 &c->n_heads, err) ||
        !gguf_f64(k->g, key(k, "attention.layer_norm_rms_epsilon"), gemma3 ? OPTIONAL : REQUIRED, 0,
                  1, &eps, err))
        return false;
    c->rms_norm_eps = (float)eps;
    if (c->n_kv_heads == 0)
        c->n_kv_heads = c->n_heads;
    return get_int(k, "attention.head_count_kv", OPTIONAL, MODEL_MAX_HEADS, &c->n_kv_heads, err);
}

static bool read_head(struct keys *k, struct model_config *c, const struct model_family *f,
                      struct gm_error *err)
{
    if (c->head_dim == 0 || !f->may_cap)
        c->head_dim = c->d_model % c->n_heads == 0 ? c->d_model / c->n_heads : 0;
    if (!get_int(k, "attention.key_length", c->head_dim ? OPTIONAL : REQUIRED, MODEL_MAX_HEAD_DIM,
                 &c->head_dim, err))
        return false;
    int value_length = c->head_dim;
    c->rotary_dim = c->head_dim;
    if (!get_int(k, "attention.value_length", OPTIONAL, MODEL_MAX_HEAD_DIM, &value_length, err) ||
        !get_int(k, "rope.dimension_count", OPTIONAL, MODEL_MAX_HEAD_DIM, &c->rotary_dim, err))
        return false;
    if (value_length != c->head_dim || (c->rotary_dim != c->head_dim && !f->may_partial))
        return error_set(err, GM_E_UNSUPPORTED,
                         "key length %d, value length %d and rope dimensions %d differ, which is "
                         "not supported (known: all equal)",
                         c->head_dim, value_length, c->rotary_dim);
    return config_check(c, err);
}

/* Divisors of the frequencies, a tensor of the file. *found: it is there. */
static bool read_divisors(const struct gguf *g, const char *name, int n, float *out, bool *found,
                          struct gm_error *err)
{
    const struct tensor_info *t = gguf_find(g, name);
    *found = t != NULL;
    if (!t)
        return true;
    if (t->type != DT_F32 || tensor_elements(t) != n)
        return error_set(err, GM_E_INPUT, "tensor \"%s\" holds no %d numbers of type F32", name, n);
    memcpy(out, t->data, (size_t)n * sizeof *out);
    for (int i = 0; i < n; i++)
        if (!(out[i] > 1e-6f && out[i] < 1e9f))
            return error_set(err, GM_E_INPUT, "tensor \"%s\": entry %d is %g", name, i,
                             (double)out[i]);
    return true;
}

/* The published settings, when they give these divisors: then angles are as exact as from a config.json. */
static bool is_llama3(struct model_config *c, const float *divisors)
{
    static const int originals[] = {8192, 4096, 16384};
    struct model_config guess = *c;
    const int n = c->rotary_dim / 2;
    double want[MODEL_MAX_HEAD_DIM / 2];
    float most = 1;
    for (int i = 0; i < n; i++)
        most = divisors[i] > most ? divisors[i] : most;
    for (int k = 0; k < 3; k++) {
        guess.rope = (struct rope_scaling){.kind = ROPE_LLAMA3,
                                           .factor = (double)most,
                                           .low_freq_factor = 1,
                                           .high_freq_factor = 4,
                                           .original_positions = originals[k],
                                           .attention_factor = 1};
        ropes_llama3_divisors(&guess, want);
        bool same = true;
        for (int i = 0; i < n && same; i++)
            same = fabs(want[i] - (double)divisors[i]) <= 1e-5 * want[i];
        if (same) {
            c->rope = guess.rope;
            return true;
        }
    }
    return false;
}

static bool read_factors(struct keys *k, struct model_config *c, struct gm_error *err)
{
    struct rope_scaling *s = &c->rope;
    const int n = c->rotary_dim / 2;
    bool both[2], one;
    float divisors[MODEL_MAX_HEAD_DIM / 2];
    if (!read_divisors(k->g, "rope_factors_short.weight", n, s->short_factors, &both[0], err) ||
        !read_divisors(k->g, "rope_factors_long.weight", n, s->long_factors, &both[1], err) ||
        !read_divisors(k->g, "rope_freqs.weight", n, divisors, &one, err))
        return false;
    if (both[0] != both[1] || (both[0] && one))
        return error_set(err, GM_E_INPUT,
                         "rope_factors_short.weight and rope_factors_long.weight come as a pair, and "
                         "without rope_freqs.weight");
    bool plain = true;
    double stretch = 1;
    for (int i = 0; one && i < n; i++)
        plain = plain && divisors[i] == 1;
    if (!both[0] && !gguf_f64(k->g, key(k, "rope.scaling.attn_factor"), OPTIONAL, 1e-3, 1e3, &stretch, err))
        return false;
    if (stretch != 1)
        return error_set(err, GM_E_UNSUPPORTED, "\"%s\" is %g without factors by length, which is not supported", k->text, stretch);
    if (!both[0] && plain)
        return true;
    if (s->kind != ROPE_PLAIN)
        return error_set(err, GM_E_UNSUPPORTED,
                         "linear scaling together with factors is not supported");
    s->kind = ROPE_LONG;
    s->original_positions = c->max_positions;
    if (one) {
        if (is_llama3(c, divisors))
            return true;
        memcpy(s->short_factors, divisors, (size_t)n * sizeof *divisors);
        memcpy(s->long_factors, divisors, (size_t)n * sizeof *divisors);
        return true;
    }
    if (!get_int(k, "rope.scaling.original_context_length", OPTIONAL, MODEL_MAX_POSITIONS,
                 &s->original_positions, err))
        return false;
    s->attention_factor = config_long_attention_factor(c->max_positions, s->original_positions);
    double stored = s->attention_factor;
    if (!gguf_f64(k->g, key(k, "rope.scaling.attn_factor"), OPTIONAL, 1e-3, 1e3, &stored, err))
        return false;
    if (fabs(stored - s->attention_factor) > 1e-6 * stored) /* else its rounded self */
        s->attention_factor = stored;
    return true;
}

static bool read_rope(struct keys *k, struct model_config *c, struct gm_error *err)
{
    struct gguf_text type = {"", 0};
    static const char *const local[] = {"rope.local.freq_base", "rope.freq_base_swa"};
    if (!gguf_f64(k->g, key(k, "rope.global.freq_base"), OPTIONAL, 1, 1e15, &c->rope_theta, err) ||
        !gguf_f64(k->g, key(k, "rope.freq_base"), OPTIONAL, 1, 1e15, &c->rope_theta, err) ||
        !gguf_string(k->g, key(k, "rope.scaling.type"), OPTIONAL, &type, err))
        return false;
    for (int i = 0; i < 2 && c->local_rope; i++)
        if (!gguf_f64(k->g, key(k, local[i]), OPTIONAL, 1, 1e15, &c->rope_theta_local, err))
            return false;
    key(k, "rope.scaling.type");
    if (type.len && !gguf_text_is(type, "none") && !gguf_text_is(type, "linear") &&
        !gguf_text_is(type, "longrope"))
        return error_set(
            err, GM_E_UNSUPPORTED,
            "\"%s\" is \"%.*s\", which is not supported (known: none, linear, longrope)", k->text,
            (int)(type.len < 64 ? type.len : 64), type.data);
    double factor = 1;
    if (!type.len || gguf_text_is(type, "linear")) {
        if (!gguf_f64(k->g, key(k, "rope.scale_linear"), OPTIONAL, 1e-3, 1e6, &factor, err) ||
            !gguf_f64(k->g, key(k, "rope.scaling.factor"), OPTIONAL, 1e-3, 1e6, &factor, err))
            return false;
    }
    if (factor != 1) {
        c->rope.kind = ROPE_LINEAR;
        c->rope.factor = factor;
    }
    return read_factors(k, c, err);
}

/* Files of Ollama's converter for Gemma 3 say nothing of the linear factor that long models have. */
static void complete_gemma3(struct keys *k, struct model_config *c)
{
    bool ollama = gguf_has(k->g, key(k, "mm.tokens_per_image")) ||
                  gguf_has(k->g, key(k, "rope.global.freq_base")) ||
                  gguf_has(k->g, key(k, "rope.local.freq_base")) ||
                  !gguf_has(k->g, key(k, "attention.layer_norm_rms_epsilon"));
    if (ollama && c->max_positions >= 131072 && c->rope.kind == ROPE_PLAIN) {
        c->rope.kind = ROPE_LINEAR;
        c->rope.factor = 8;
    }
}

static bool read_window(struct keys *k, struct model_config *c, const struct model_family *f,
                        struct gm_error *err)
{
    uint64_t n = 0, pattern = (uint64_t)f->pattern, window = 0;
    bool *slides = NULL;
    if (!gguf_u64(k->g, key(k, "attention.sliding_window"),
                  f->slides == SLIDES_PATTERN ? REQUIRED : OPTIONAL, 0, UINT32_MAX, &window, err))
        return false;
    if (f->slides == SLIDES_NEVER && window > 0)
        return error_set(err, GM_E_UNSUPPORTED,
                         "\"%s\" is %llu, which is not supported (known: absent or 0)", k->text,
                         (unsigned long long)window);
    c->sliding_window = window < MODEL_MAX_POSITIONS ? (int)window : 0; /* wider than any context */
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
        c->sliding[i] = slides                           ? slides[i]
                        : f->slides == SLIDES_PATTERN    ? ((uint64_t)i + 1) % pattern != 0
                                                         : c->sliding_window > 0;
    mem_free(slides);
    return true;
}

/* The scale is not stored, with one exception that our own files make; of Gemma's models the 27B ones
 * alone divide by d/heads. */
static bool read_attention(struct keys *k, struct model_config *c, const struct model_family *f,
                           struct gm_error *err)
{
    double scale = 0, caps[2] = {(double)c->attn_softcap, (double)c->final_softcap};
    double scalar = config_is_27b(c) ? (double)c->d_model / c->n_heads : c->head_dim;
    if (!gguf_f64(k->g, key(k, "attention.scale"), OPTIONAL, 0, 1e9, &scale, err))
        return false;
    c->attn_scale = (float)(scale > 0 ? scale : 1 / sqrt(scalar));
    if (!f->may_cap)
        return true;
    if (!gguf_f64(k->g, key(k, "attn_logit_softcapping"), OPTIONAL, 0, 1e9, &caps[0], err) ||
        !gguf_f64(k->g, key(k, "final_logit_softcapping"), OPTIONAL, 0, 1e9, &caps[1], err))
        return false;
    c->attn_softcap = (float)caps[0];
    c->final_softcap = (float)caps[1];
    return true;
}

/* Biases are there when their tensors are. */
static void read_biases(const struct gguf *g, struct model_config *c)
{
    c->qkv_bias = gguf_find(g, "blk.0.attn_q.bias") != NULL;
    c->o_bias = gguf_find(g, "blk.0.attn_output.bias") != NULL;
    c->mlp_bias = gguf_find(g, "blk.0.ffn_down.bias") != NULL;
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
    struct gguf_text type = {"", 0};
    if (!gguf_string(g, "general.type", OPTIONAL, &type, err))
        return false;
    if (gguf_text_is(type, "adapter"))
        return error_set(err, GM_E_INPUT, "it is an adapter, not a model (name its base as the model, and this as --adapter)");
    const struct model_family *f = config_family_gguf(arch);
    if (!f)
        return error_set(err, GM_E_UNSUPPORTED,
                         "\"general.architecture\" is \"%.*s\", which is not supported (known: %s)",
                         (int)(arch.len < 64 ? arch.len : 64), arch.data, CONFIG_ARCHITECTURES);
    *c = f->defaults;
    snprintf(c->family, sizeof c->family, "%s", f->name);
    struct keys k = {.g = g, .arch = f->gguf};
    if (!check_neutral(&k, err) || !read_sizes(&k, c, c->local_rope, err) ||
        !read_head(&k, c, f, err) || !read_rope(&k, c, err) || !read_window(&k, c, f, err) ||
        !read_attention(&k, c, f, err) || !read_vocabulary(g, c, err))
        return false;
    if (c->local_rope)
        complete_gemma3(&k, c);
    read_biases(g, c);
    return config_check(c, err);
}
