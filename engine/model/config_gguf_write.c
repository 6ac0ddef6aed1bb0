/* config_gguf_write.c - a model_config as GGUF metadata, with the keys that llama.cpp and Ollama read, and the few tensors that follow
 * from the configuration alone. Reading: config_gguf.c. */
#include "engine/model/config_private.h"

#include "engine/format/gguf_write.h"
#include "engine/model/ropes.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct keys {
    struct gguf_out *g;
    const char *arch;
    char text[96];
};

static const char *key(struct keys *k, const char *name)
{
    snprintf(k->text, sizeof k->text, "%s.%s", k->arch, name);
    return k->text;
}

static void put_int(struct keys *k, const char *name, int value)
{
    gguf_out_u32(k->g, key(k, name), (uint32_t)value);
}

static void put_float(struct keys *k, const char *name, double value)
{
    gguf_out_f32(k->g, key(k, name), (float)value);
}

const char *model_config_architecture(const struct model_config *c)
{
    return config_family_of(c)->gguf;
}

/* The scale that a reader takes, since the format has no key for it that all know. */
static bool scale_is_implied(const struct model_config *c)
{
    double scalar = config_is_27b(c) ? (double)c->d_model / c->n_heads : c->head_dim;
    return (float)(1 / sqrt(scalar)) == c->attn_scale;
}

/* The period of "all but every n-th layer slides"; 0: layers follow no such rule. */
static int sliding_period(const struct model_config *c)
{
    int period = 1;
    while (period <= c->n_layers && c->sliding[period - 1])
        period++;
    for (int i = 0; i < c->n_layers; i++)
        if (c->sliding[i] != ((i + 1) % period != 0))
            return 0;
    return period;
}

static bool any_sliding(const struct model_config *c)
{
    return memchr(c->sliding, 1, (size_t)c->n_layers) != NULL;
}

/* One set of divisors for all lengths is rope_freqs, which every version of llama.cpp reads. */
static bool one_set(const struct rope_scaling *s)
{
    return s->kind == ROPE_LONG && s->attention_factor == 1 &&
           memcmp(s->short_factors, s->long_factors, sizeof s->short_factors) == 0;
}

static bool check(const struct model_config *c, const struct model_family *f, struct gm_error *err)
{
    const char *what = NULL;
    if (strcmp(f->gguf, "gemma2") == 0 && (c->attn_softcap == 0 || c->final_softcap == 0))
        what = "soft caps that are off";
    else if (c->rope.kind == ROPE_LONG && !one_set(&c->rope) && !f->turns_rows && !f->may_partial)
        what = "rotary factors by length";
    else if ((c->qkv_bias && !f->defaults.qkv_bias && !f->turns_rows) || (c->o_bias && !f->turns_rows))
        what = "biases of attention";
    return !what || error_set(err, GM_E_UNSUPPORTED,
                              "write GGUF: %s cannot be told to llama.cpp in a model of type %s (export safetensors)",
                              what, c->family);
}

static void write_rope(struct keys *k, const struct model_config *c, const struct model_family *f)
{
    const struct rope_scaling *s = &c->rope;
    put_float(k, "rope.freq_base", c->rope_theta);
    if (c->local_rope)
        put_float(k, "rope.freq_base_swa", c->rope_theta_local);
    if (f->turns_rows || f->may_partial)
        put_int(k, "rope.dimension_count", c->rotary_dim);
    if (s->kind == ROPE_LINEAR) {
        gguf_out_text(k->g, key(k, "rope.scaling.type"), "linear");
        put_float(k, "rope.scaling.factor", s->factor);
    }
    if (s->kind == ROPE_LONG && !one_set(s)) {
        gguf_out_text(k->g, key(k, "rope.scaling.type"), "longrope");
        put_float(k, "rope.scaling.attn_factor", s->attention_factor);
    }
    if (f->may_partial || (s->kind == ROPE_LONG && !one_set(s)))
        put_int(k, "rope.scaling.original_context_length", s->kind == ROPE_LONG ? s->original_positions : c->max_positions);
}

static void write_window(struct keys *k, const struct model_config *c, const struct model_family *f)
{
    bool slides[MODEL_MAX_LAYERS];
    int period = sliding_period(c);
    if (f->slides == SLIDES_NEVER || (f->slides == SLIDES_ON_TOP && !any_sliding(c)))
        return;
    put_int(k, "attention.sliding_window", c->sliding_window);
    if (f->slides == SLIDES_ALWAYS || (f->slides == SLIDES_PATTERN && period == f->pattern))
        return;
    if (f->slides == SLIDES_PATTERN && period > 0) {
        put_int(k, "attention.sliding_window_pattern", period);
        return;
    }
    for (int i = 0; i < c->n_layers; i++)
        slides[i] = c->sliding[i];
    gguf_out_bools(k->g, key(k, "attention.sliding_window_pattern"), slides, (size_t)c->n_layers);
}

bool model_config_to_gguf(const struct model_config *c, struct gguf_out *g, struct gm_error *err)
{
    const struct model_family *f = config_family_of(c);
    struct keys k = {.g = g, .arch = f->gguf};
    if (!check(c, f, err))
        return false;
    gguf_out_text(g, "general.architecture", f->gguf);
    put_int(&k, "vocab_size", c->vocab_size);
    put_int(&k, "context_length", c->max_positions);
    put_int(&k, "embedding_length", c->d_model);
    put_int(&k, "block_count", c->n_layers);
    put_int(&k, "feed_forward_length", c->d_ff);
    put_int(&k, "attention.head_count", c->n_heads);
    put_int(&k, "attention.head_count_kv", c->n_kv_heads);
    put_int(&k, "attention.key_length", c->head_dim);
    put_int(&k, "attention.value_length", c->head_dim);
    put_float(&k, "attention.layer_norm_rms_epsilon", (double)c->rms_norm_eps);
    if (!scale_is_implied(c))
        put_float(&k, "attention.scale", (double)c->attn_scale);
    write_rope(&k, c, f);
    write_window(&k, c, f);
    if (c->attn_softcap > 0)
        put_float(&k, "attn_logit_softcapping", (double)c->attn_softcap);
    if (c->final_softcap > 0)
        put_float(&k, "final_logit_softcapping", (double)c->final_softcap);
    return true;
}

int model_config_tensors(const struct model_config *c, struct config_tensor tensors[2])
{
    const struct rope_scaling *s = &c->rope;
    const int n = c->rotary_dim / 2;
    double divisors[MODEL_MAX_HEAD_DIM / 2];
    if (s->kind != ROPE_LLAMA3 && s->kind != ROPE_LONG)
        return 0;
    tensors[0].n = tensors[1].n = n;
    if (s->kind == ROPE_LONG && !one_set(s)) {
        tensors[0].name = "rope_factors_long.weight";
        tensors[1].name = "rope_factors_short.weight";
        memcpy(tensors[0].values, s->long_factors, sizeof s->long_factors);
        memcpy(tensors[1].values, s->short_factors, sizeof s->short_factors);
        return 2;
    }
    tensors[0].name = "rope_freqs.weight";
    memcpy(tensors[0].values, s->short_factors, sizeof s->short_factors);
    if (s->kind == ROPE_LLAMA3)
        ropes_llama3_divisors(c, divisors);
    for (int i = 0; i < n && s->kind == ROPE_LLAMA3; i++)
        tensors[0].values[i] = (float)divisors[i];
    return 1;
}

int model_config_gguf_caveats(const struct model_config *c, const char *caveats[CONFIG_CAVEATS_MAX])
{
    const struct model_family *f = config_family_of(c);
    int n = 0;
    if (!scale_is_implied(c))
        caveats[n++] = "llama.cpp divides attention scores by the root of the head dimension, whatever the file says";
    if (f->slides == SLIDES_ALWAYS && c->sliding_window > 0)
        caveats[n++] = "llama.cpp has no sliding window for Phi-3: longer texts than the window will differ";
    if (f->slides == SLIDES_ON_TOP && any_sliding(c))
        caveats[n++] = "llama.cpp has no sliding window for Qwen: longer texts than the window will differ";
    int period = sliding_period(c);
    if (f->slides == SLIDES_PATTERN && (c->local_rope ? period == 0 : period != f->pattern))
        caveats[n++] = "llama.cpp takes the family's usual layers for those with a window: longer texts than the window will differ";
    if (c->local_rope && (c->attn_softcap > 0 || c->final_softcap > 0))
        caveats[n++] = "llama.cpp has no soft caps in Gemma 3";
    if (c->rope.kind == ROPE_LONG && !one_set(&c->rope))
        caveats[n++] = "llama.cpp chooses short or long rotary factors by the size of its context, not by the length of the text";
    return n;
}
