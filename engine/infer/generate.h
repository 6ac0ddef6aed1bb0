/* generate.h - batched generation: many requests of different prompts, adapters and temperatures through one decoder.
 *
 * A finished sequence makes room for the next request. Every request's text depends on its own prompt, adapter, sampling and seed only, not on what it shares
 * the batch with. With packed weights that holds to the bit; without, up to rounding: up to four rows go through other products than more rows do.
 * Threads: one generator belongs to one thread; `cancel` may be set from any.
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
/* Verdicts on what comes out; without this call they are zero. Both are borrowed. */
void generator_judge(struct generator *g, const struct syllables *s, const struct form *form);
/* results [n] (prompt_text, adapter, step are left to the caller). */
/* On failure no result is left to free. A cancelled run is no failure: what was there so far stands in the results, stop "cancelled". */
bool generator_run(struct generator *g, const struct compute *c, const struct generate_request *requests, int n,
                   struct generated *results, const struct generate_hooks *hooks, struct gm_error *err);

/* Share k/n with its 95 % Wilson interval (Wilson 1927). */
void rate_interval(int k, int n, double *low, double *high);

#endif
