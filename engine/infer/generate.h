/* generate.h - batched generation: many requests of different prompts, adapters and temperatures through one decoder.
 *
 * A finished sequence makes room for the next request. Every request's text depends on its own prompt, adapter, sampling and seed only, not on what it shares
 * the batch with. With packed weights that holds to the bit; without, up to rounding: up to four rows go through other products than more rows do.
 * A conversation is computed once: with generator_remember() the caches stay between runs, and of a prompt only what no cache begins with is computed. What the
 * template now writes otherwise than before is found by comparing ids. Answers' keys and values were then made a row at a time, not in the blocks of a prompt: the
 * same bits with packed weights, else equal up to rounding, as above.
 *
 * Threads: one generator belongs to one thread; `cancel` may be set from any. Memory: n_slots * max_tokens keys and values a layer, from the start.
 *
 *     struct generator *g = generator_new(model, tokenizer, 16, 512, &compute, &err);
 *     generator_run(g, &compute, requests, n, results, &hooks, &err);
 */
#ifndef GM_INFER_GENERATE_H
#define GM_INFER_GENERATE_H

#include "engine/base/str.h"
#include "engine/infer/sampler.h"
#include "engine/model/decode.h"
#include "engine/text/tokenizer.h"
#include "engine/verse/form.h"

#include <jansson.h>
#include <stdatomic.h>

enum stop_reason { STOP_LENGTH, STOP_END, STOP_STRING, STOP_CANCELLED };
const char *stop_reason_name(enum stop_reason r); /* "length", "end", "string", "cancelled" */

struct generate_request {
    const int32_t *prompt; /* ids, template applied */
    int n_prompt;
    const struct lora *lora;
    struct sampling sampling;
    const int32_t *stop_ids;
    int n_stop_ids;
    const char *const *stop_strings;
    int n_stop_strings;
};
struct generated {
    const char *prompt_text; /* what the person wrote; borrowed from the caller */
    const char *adapter;     /* how it was named; borrowed; NULL: the base */
    int step;
    float temperature;
    uint64_t seed;
    char *text;              /* owned: generated_free */
    int n_tokens;
    int n_cached;            /* tokens of the prompt that were not computed again */
    enum stop_reason stop;
    struct verdict verdict;
    double seconds;
};
void generated_free(struct generated *g);
/* The row of samples.jsonl and of `generate --json`; a new reference. step < 0: unknown, null. */
json_t *generated_json(const struct generated *g);

struct generate_hooks {
    void (*text)(void *arg, int request, const char *bytes, size_t n); /* whole characters, as they come; may be NULL */
    void *arg;
    atomic_bool *cancel;     /* may be NULL */
};
struct generator;
/* max_tokens: of prompt and answer together. */
struct generator *generator_new(const struct model *m, const struct tokenizer *t, int n_slots, int max_tokens,
                                const struct compute *c, struct gm_error *err);
void generator_free(struct generator *g);
/* A second copy of the weights, packed (engine/model/packed.h): 1: always, from the first run on, which fails when there is no room; 0 (as made): never;
 * -1: once it pays (five sequences at once, or some hundred tokens), where weights are stored in 16 or 32 bits and it takes no more than a third of the
 * memory that is free. Never of a model that is trained as a whole. */
void generator_packing(struct generator *g, int packing);
size_t generator_packed_bytes(const struct generator *g); /* of that copy, 0: there is none so far */
/* The head once more in one byte a weight (engine/kernel/head_int8.h), from the next run on, which fails when there is no room or in f32: answers from
 * their second token on are chosen from it as sampler_want() says. Never of a model that is trained as a whole. */
void generator_int8_head(struct generator *g, bool on);
size_t generator_int8_bytes(const struct generator *g); /* of that copy, 0: there is none so far */
/* Caches stay from one run to the next (as made they do not). Whoever wants that says by generator_forget() when an adapter or the weights are no longer what
 * they were, also where their address is the same. */
void generator_remember(struct generator *g, bool on);
void generator_forget(struct generator *g);
/* Verdicts on what comes out; without this call they are zero. Both are borrowed. */
void generator_judge(struct generator *g, const struct syllables *s, const struct form *form);
/* results [n] (prompt_text, adapter, step are left to the caller). */
/* On failure no result is left to free. A cancelled run is no failure: what was there so far stands in the results, stop "cancelled". */
bool generator_run(struct generator *g, const struct compute *c, const struct generate_request *requests, int n,
                   struct generated *results, const struct generate_hooks *hooks, struct gm_error *err);

/* Share k/n with its 95 % Wilson interval (Wilson 1927). */
void rate_interval(int k, int n, double *low, double *high);

#endif
