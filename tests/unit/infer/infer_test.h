/* infer_test.h - what the tests of generating share: a fixture model with its tokenizer, prompt and greedy tokens. */
#ifndef INFER_TEST_H
#define INFER_TEST_H

#include "../model/model_test.h"

#include "engine/infer/generate.h"

struct bench { /* one model with all that generating needs, in f32 */
    struct fixture f;
    struct tools tools;
    struct tokenizer *tokenizer;
    const int32_t *prompt, *greedy; /* the fixture's prompt and 24 tokens */
    int n_prompt;
};
enum { N_GREEDY = 24 };

static inline void bench_open(struct bench *b, const char *name)
{
    struct gm_error err = {0};
    tools_init(&b->tools, 2, GM_COMPUTE_F32);
    fixture_open(&b->f, name);
    b->tokenizer = tokenizer_open(b->f.model->source, &err);
    if (!b->tokenizer)
        fail_msg("%s", err.text);
    const struct tensor_info *prompt = tensor(&b->f.expected, "greedy.prompt"), *ids = tensor(&b->f.expected, "greedy.ids");
    b->prompt = prompt->data;
    b->n_prompt = (int)prompt->shape[0];
    b->greedy = ids->data;
    assert_int_equal(ids->shape[0], N_GREEDY);
}

static inline void bench_close(struct bench *b)
{
    tokenizer_free(b->tokenizer);
    fixture_close(&b->f);
    tools_free(&b->tools);
}

static inline struct generator *generator_for(struct bench *b, int slots, int max_tokens)
{
    struct gm_error err = {0};
    struct generator *g = generator_new(b->f.model, b->tokenizer, slots, max_tokens, &b->tools.compute, &err);
    if (!g)
        fail_msg("%s", err.text);
    return g;
}

static inline struct generate_request greedy_request(const struct bench *b)
{
    struct generate_request r = {.prompt = b->prompt, .n_prompt = b->n_prompt, .sampling = sampling_default()};
    r.sampling.temperature = 0;
    r.sampling.max_tokens = N_GREEDY;
    return r;
}

static inline void run(struct bench *b, struct generator *g, const struct generate_request *r, int n, struct generated *out, const struct generate_hooks *hooks)
{
    struct gm_error err = {0};
    if (!generator_run(g, &b->tools.compute, r, n, out, hooks, &err))
        fail_msg("%s", err.text);
}

/* The text of the fixture's first n greedy tokens; str_free. */
static inline struct str text_of(const struct bench *b, int n)
{
    struct str s = {0};
    assert_true(tokenizer_decode(b->tokenizer, b->greedy, (size_t)n, false, &s, NULL));
    return s;
}

#endif
