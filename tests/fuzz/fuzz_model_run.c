/* fuzz_model_run.c - shared by the targets that open models: what is said again of one, its tokenizer, and where the model is small, a few tokens through
 * the decoder and a step of training through its layers, by the plain kernels and by the fastest ones that this processor has. */
#include "tests/fuzz/fuzz.h"

#include "engine/base/mem.h"
#include "engine/format/gguf_write.h"
#include "engine/model/decode.h"
#include "engine/model/pass.h"

#include <assert.h>

void fuzz_run_model(const char *path);
void fuzz_use_tokenizer(const struct tokenizer *t, const char *text, size_t n); /* fuzz_tokenizer_use.c */

enum { TOKENS = 40 }; /* more than the long rotary factors of the seeds begin at */

static bool is_small(const struct model_config *c)
{
    return (int64_t)c->vocab_size * c->d_model < 1 << 15 && (int64_t)c->d_model * c->d_ff < 1 << 14 && (int64_t)c->d_model * c->n_heads * c->head_dim < 1 << 14 && c->n_layers < 10;
}

static enum family fastest(void)
{
    for (enum family f = FAMILY_AVX512BF16; f < FAMILY_PLAIN; f++)
        if (family_runs_here(f))
            return f;
    return FAMILY_PLAIN;
}

static void use_tokenizer(struct tokenizer *t)
{
    static const char text[] = "An old pond's 12\n  x</s>";
    if (t)
        fuzz_use_tokenizer(t, text, sizeof text - 1);
    tokenizer_free(t);
}

/* Of a model that does not open, all the same. */
static void read_tokenizer(const char *path)
{
    struct gm_error err = {0};
    struct model_source source;
    if (!model_source_open_tokenizer(&source, path, &err))
        return;
    use_tokenizer(tokenizer_open(&source, &err));
    model_source_close(&source);
}

static void say_again(const struct model *m)
{
    struct gm_error err = {0};
    struct gguf_out *g = gguf_out_new();
    char hex[65];
    json_decref(model_config_to_json(&m->config));
    model_config_to_gguf(&m->config, g, &err);
    gguf_out_free(g);
    model_source_fingerprint(m->source, hex);
}

static void decode(const struct model *m, const int32_t *ids, struct pool *pool, enum family family)
{
    struct gm_error err = {0};
    struct compute c = {0};
    struct decoder *d = decoder_new(m, 2, TOKENS, true, &err);
    float *logits = mem_new((size_t)m->config.vocab_size, sizeof *logits);
    struct decode_item item = {.ids = ids, .n = TOKENS - 1, .logits = logits};
    if (d && compute_init(&c, pool, GM_TASTE, GM_COMPUTE_F32, family, &err)) {
        item.slot = decoder_take(d);
        if (decoder_run(d, &c, &item, 1, &err)) {
            item.n = 1;
            decoder_run(d, &c, &item, 1, &err);
        }
    }
    compute_free(&c);
    mem_free(logits);
    decoder_free(d);
}

static void train(const struct model *m, const int32_t *ids, struct pool *pool, enum family family)
{
    struct gm_error err = {0};
    int32_t positions[TOKENS];
    for (int i = 0; i < TOKENS; i++)
        positions[i] = i;
    const struct batch b = {.T = TOKENS, .ids = ids, .positions = positions, .n_seqs = 1, .seq_start = (const int32_t[]){0, TOKENS}, .n_targets = 2,
                            .target_row = (const int32_t[]){3, TOKENS - 1}, .target_id = ids};
    const struct lora_options o = {.rank = 1, .alpha = 2, .scale = 2, .dora = m->config.n_layers % 2 == 0, .keys = (1u << PROJ_COUNT) - 1};
    const struct pass_limits limits = {.kind = PASS_LORA, .max_tokens = TOKENS, .max_targets = 2, .max_seqs = 1, .recompute_layers = RECOMPUTE_ALL, .mode = GM_COMPUTE_BF16};
    struct compute c = {0};
    struct lora *l = lora_new(&m->config, &o, 1, &err);
    struct pass *p = l ? pass_new(m, &o, &limits, &err) : NULL;
    if (p && compute_init(&c, pool, GM_TRAIN, GM_COMPUTE_BF16, family, &err)) {
        float *grads = mem_new(l->set.count, sizeof *grads);
        lora_bind(l, m, &c);
        pass_loss_and_grad(p, &c, l, &b, 0.5f, 0, 0, grads);
        mem_free(grads);
    }
    compute_free(&c);
    pass_free(p);
    lora_free(l);
}

void fuzz_run_model(const char *path)
{
    struct gm_error err = {0};
    struct model *m = model_open(path, &err);
    if (!m) {
        assert(err.text[0]);
        read_tokenizer(path);
        return;
    }
    use_tokenizer(model_tokenizer(m, m->source, "fuzz", &err));
    say_again(m);
    if (is_small(&m->config)) {
        static enum family fast;
        fast = fast ? fast : fastest();
        int32_t ids[TOKENS];
        for (int i = 0; i < TOKENS; i++)
            ids[i] = i % 2 ? m->config.vocab_size - 1 - i % m->config.vocab_size : i % m->config.vocab_size;
        struct pool *pool = pool_new(1, &err);
        decode(m, ids, pool, FAMILY_PLAIN);
        decode(m, ids, pool, fast);
        train(m, ids, pool, fast);
        pool_free(pool);
    }
    model_free(m);
}
