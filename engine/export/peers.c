/* peers.c - (program, condition, sentence). A line stands here when its difference was seen in the program's source or measured. */
#include "engine/export/peers.h"

#include <math.h>
#include <string.h>

enum {
    TO_MLX = 1 << EXPORT_MLX,
    TO_PEFT = 1 << EXPORT_PEFT,
    TO_GGUF_LORA = 1 << EXPORT_GGUF_LORA,
    TO_SAFETENSORS = 1 << EXPORT_SAFETENSORS,
    TO_GGUF = 1 << EXPORT_GGUF,
    TO_OLLAMA = 1 << EXPORT_OLLAMA
};

struct subject {
    const struct model_config *config;
    const struct model_source *source;
};

static bool family_is(const struct subject *s, const char *prefix) { return strncmp(s->config->family, prefix, strlen(prefix)) == 0; }

static bool always(const struct subject *s)
{
    (void)s;
    return true;
}

static bool slides_without_mlx(const struct subject *s)
{
    bool any = false;
    for (int i = 0; i < s->config->n_layers; i++)
        any |= s->config->sliding[i];
    return any && s->config->sliding_window > 0 && (family_is(s, "gemma2") || family_is(s, "phi3"));
}

static bool has_long_factors(const struct subject *s) { return s->config->rope.kind == ROPE_LONG; }

/* sqrt(d) has more than the eight bits of bf16. */
static bool scale_is_rounded(const struct subject *s)
{
    int exponent;
    double m = frexp(sqrt(s->config->d_model), &exponent) * 256;
    return s->config->scaled_embed && m != floor(m);
}

static bool ollama_takes_no_adapter(const struct subject *s) { return !family_is(s, "llama") && !family_is(s, "gemma2"); }

/* tokenizer_config.json names LlamaTokenizer and "legacy": false. */
static bool tokenizer_is_rebuilt(const struct subject *s)
{
    if (!s->source || !model_source_has_file(s->source, "tokenizer_config.json"))
        return false;
    json_t *config = model_source_read_json(s->source, "tokenizer_config.json", 16 << 20, NULL);
    const char *class = json_string_value(json_object_get(config, "tokenizer_class"));
    bool found = class && strncmp(class, "LlamaTokenizer", 14) == 0 && json_is_false(json_object_get(config, "legacy"));
    json_decref(config);
    return found;
}

static const struct {
    unsigned targets;
    bool (*applies)(const struct subject *s);
    const char *sentence;
} peers[] = {
    {TO_MLX | TO_SAFETENSORS, slides_without_mlx,
     "mlx-lm has no sliding window in Gemma 2 and Phi-3: texts longer than the window will differ there"},
    {TO_MLX | TO_SAFETENSORS, has_long_factors, "mlx-lm takes the long rotary factors for short texts as well: those will differ there"},
    {TO_MLX, always,
     "mlx_lm fuse rounds the adapter's part before it adds it: its weights are up to one step of bf16 away from ours (--to safetensors rounds once)"},
    {TO_MLX | TO_PEFT, ollama_takes_no_adapter, "Ollama takes safetensors adapters for Llama and Gemma 2 only: for Ollama use --to ollama"},
    {TO_MLX | TO_PEFT | TO_SAFETENSORS, tokenizer_is_rebuilt,
     "transformers 5 (and mlx-lm with it) builds a LlamaTokenizer with \"legacy\": false anew instead of reading tokenizer.json: "
     "some texts get other ids there"},
    {TO_GGUF | TO_GGUF_LORA | TO_OLLAMA, scale_is_rounded,
     "llama.cpp and Ollama scale embeddings by the exact root of the width, bf16 training by the rounded one: logits are a little apart"},
    {TO_OLLAMA, always, "Ollama parses special tokens that somebody spells out in a message; here they stay text"},
};
_Static_assert(sizeof peers / sizeof *peers + CONFIG_CAVEATS_MAX <= PEERS_MAX, "room for all of them");

int peers_that_differ(enum export_to target, const struct model_config *c, const struct model_source *source, const char *lines[PEERS_MAX])
{
    const struct subject s = {c, source};
    const unsigned to = 1u << target;
    int n = 0;
    for (size_t i = 0; i < sizeof peers / sizeof *peers; i++)
        if ((peers[i].targets & to) && peers[i].applies(&s))
            lines[n++] = peers[i].sentence;
    if (to & (TO_GGUF | TO_GGUF_LORA | TO_OLLAMA))
        n += model_config_gguf_caveats(c, lines + n);
    return n;
}
