/* fuzz_model_run.c - shared by the targets that open models: tokenizer, and three tokens through the decoder where the model is small. */
#include "tests/fuzz/fuzz.h"

#include "engine/base/mem.h"
#include "engine/model/decode.h"

void fuzz_run_model(const char *path);

static bool is_small(const struct model_config *c)
{
    return (int64_t)c->vocab_size * c->d_model < 1 << 18 && (int64_t)c->d_model * c->d_ff < 1 << 18 && c->n_layers < 10;
}

void fuzz_run_model(const char *path)
{
    struct gm_error err = {0};
    struct model *m = model_open(path, &err);
    if (!m)
        return;
    struct tokenizer *t = tokenizer_open(m->source, &err);
    if (t) {
        struct id_list ids = {0};
        struct str text = {0};
        if (tokenizer_encode(t, "An old pond\n  x", 15, TOKENIZE_ADD_SPECIAL, &ids, &err))
            tokenizer_decode(t, ids.ids, ids.n, false, &text, &err);
        id_list_free(&ids);
        str_free(&text);
    }
    tokenizer_free(t);
    if (is_small(&m->config)) {
        const int32_t ids[3] = {0, m->config.vocab_size - 1, m->config.vocab_size / 2};
        struct pool *pool = pool_new(1, &err);
        struct compute c = {0};
        struct decoder *d = decoder_new(m, 1, 8, true, &err);
        float *logits = mem_new((size_t)m->config.vocab_size, sizeof *logits);
        struct decode_item item = {.ids = ids, .n = 3, .logits = logits};
        if (d && compute_init(&c, pool, GM_TASTE, GM_COMPUTE_F32, FAMILY_PLAIN, &err)) {
            item.slot = decoder_take(d);
            decoder_run(d, &c, &item, 1, &err);
        }
        compute_free(&c);
        mem_free(logits);
        decoder_free(d);
        pool_free(pool);
    }
    model_free(m);
}
