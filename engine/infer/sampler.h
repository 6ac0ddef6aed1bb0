/* sampler.h - from logits to a token: repeat penalty, temperature, top-k, top-p, min-p, in this order; temperature 0 = greedy.
 *
 * Deterministic: a token is a function of (logits, options, seed, index). Threads: pure.
 */
#ifndef GM_INFER_SAMPLER_H
#define GM_INFER_SAMPLER_H

#include "engine/base/error.h"
#include "engine/base/rng.h"
#include "engine/kernel/head_int8.h"

#include <stdbool.h>

struct sampling {
    float temperature; /* 0.7 */
    int top_k;         /* 0 = off */
    float top_p;       /* 1 = off */
    float min_p;       /* 0 = off */
    float repeat_penalty; /* 1 = off; over the last 64 tokens of prompt and answer */
    int max_tokens;    /* 128 */
    uint64_t seed;
};
struct sampling sampling_default(void);
bool sampling_check(const struct sampling *s, struct gm_error *err); /* ranges */

enum { SAMPLER_RECENT = 64 }; /* tokens that the repeat penalty looks back at */
/* logits [n] are overwritten; a NaN among them is never chosen. recent: the last tokens, oldest first. scratch: sampler_scratch_bytes(n), 64-byte aligned
 * as mem_alloc's. */
int32_t sample_token(float *logits, int n, const struct sampling *s, struct rng *rng, const int32_t *recent, int n_recent, void *scratch);
size_t sampler_scratch_bytes(int n);

/* Which logits must be exact for a token to be chosen as from exact ones. Greedy, top-k (with or without top-p and min-p behind it) and min-p alone: all
 * that can be chosen, so the token is the same. Otherwise the SAMPLER_EXACT best: whatever has more than 1 / SAMPLER_EXACT of the probability
 * is among them; the rest is drawn by its approximation. */
enum { SAMPLER_EXACT = 32 };
struct head_want sampler_want(const struct sampling *s, const int32_t *recent, int n_recent);

/* Many rows at once, on the threads of the pool; each as sample_token() alone would have it. */
struct draw {
    float *logits; /* overwritten */
    const struct sampling *sampling;
    struct rng *rng;
    const int32_t *recent;
    int n_recent;
    int32_t id; /* the token */
};
void sampler_draw(const struct compute *c, struct draw *rows, int n_rows, int n, void *scratch);
size_t sampler_draw_scratch_bytes(const struct compute *c, int n);

#endif
