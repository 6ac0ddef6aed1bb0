/* sampler.c - the filters in the order of Hugging Face's generate: penalty, temperature, top-k, top-p, min-p, then one draw.
 *
 * The draw walks the vocabulary in the order of ids, so that a filter that removes nothing changes nothing. Sums are double.
 */
#include "engine/infer/sampler.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct sampling sampling_default(void)
{
    return (struct sampling){.temperature = 0.7f, .top_k = 0, .top_p = 1, .min_p = 0, .repeat_penalty = 1, .max_tokens = 128};
}

bool sampling_check(const struct sampling *s, struct gm_error *err)
{
    if (!(s->temperature >= 0 && s->temperature <= 100))
        return error_set(err, GM_E_USAGE, "use temperature %g: it lies outside 0..100", (double)s->temperature);
    if (s->top_k < 0)
        return error_set(err, GM_E_USAGE, "use top-k %d: it is negative (0 switches it off)", s->top_k);
    if (!(s->top_p > 0 && s->top_p <= 1))
        return error_set(err, GM_E_USAGE, "use top-p %g: it lies outside (0, 1] (1 switches it off)", (double)s->top_p);
    if (!(s->min_p >= 0 && s->min_p < 1))
        return error_set(err, GM_E_USAGE, "use min-p %g: it lies outside [0, 1) (0 switches it off)", (double)s->min_p);
    if (!(s->repeat_penalty > 0 && s->repeat_penalty <= 100))
        return error_set(err, GM_E_USAGE, "use repeat-penalty %g: it lies outside (0, 100] (1 switches it off)", (double)s->repeat_penalty);
    if (s->max_tokens < 1)
        return error_set(err, GM_E_USAGE, "use max-tokens %d: it is less than 1", s->max_tokens);
    return true;
}

struct candidate {
    float p;
    int32_t id;
};

size_t sampler_scratch_bytes(int n)
{
    return (size_t)n * sizeof(struct candidate);
}

static void penalise(float *logits, int n, float penalty, const int32_t *recent, int n_recent)
{
    for (int i = n_recent > SAMPLER_RECENT ? n_recent - SAMPLER_RECENT : 0; i < n_recent; i++) {
        int32_t id = recent[i];
        bool again = false;
        for (int j = i + 1; j < n_recent && !again; j++)
            again = recent[j] == id; /* punished once, at its last place */
        if (again || id < 0 || id >= n)
            continue;
        logits[id] = logits[id] > 0 ? logits[id] / penalty : logits[id] * penalty;
    }
}

static int32_t greatest(const float *logits, int n)
{
    int32_t best = 0;
    for (int i = 1; i < n; i++)
        if (logits[i] > logits[best] || isnan(logits[best]))
            best = i;
    return best;
}

static int by_probability(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->p != y->p)
        return x->p < y->p ? 1 : -1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Gathers and sorts the ids with p >= floor; returns how many. */
static int gather(struct candidate *out, const float *p, int n, float floor)
{
    int count = 0;
    for (int i = 0; i < n; i++)
        if (p[i] >= floor && p[i] > 0)
            out[count++] = (struct candidate){p[i], i};
    qsort(out, (size_t)count, sizeof *out, by_probability);
    return count;
}

/* The best candidates, sorted, enough of them for top-k and top-p: the floor sinks until the sorted part holds what is asked for. */
static int best_candidates(struct candidate *out, const float *p, int n, const struct sampling *s, double total)
{
    for (float floor = 1e-2f;; floor *= 1e-3f) {
        bool all = floor < 1e-30f;
        int count = gather(out, p, n, all ? 0 : floor);
        double sum = 0;
        for (int i = 0; i < count; i++)
            sum += out[i].p;
        bool enough_k = s->top_k == 0 || count >= s->top_k;
        bool enough_p = s->top_p >= 1 || sum >= (double)s->top_p * total;
        if (all || (s->top_k > 0 && enough_k) || (s->top_k == 0 && enough_p))
            return count;
    }
}

/* p [n]: exp of the scaled logits, the largest 1. Sets what is filtered out to 0; returns the sum of the rest. */
static double filter(float *p, int n, const struct sampling *s, double total, struct candidate *scratch)
{
    if (s->top_k > 0 || s->top_p < 1) {
        int count = best_candidates(scratch, p, n, s, total);
        if (s->top_k > 0 && count > s->top_k)
            count = s->top_k;
        if (s->top_k > 0) {
            total = 0; /* top-p counts within what top-k left */
            for (int i = 0; i < count; i++)
                total += scratch[i].p;
        }
        if (s->top_p < 1) {
            double sum = 0;
            int keep = 0;
            while (keep < count && (keep == 0 || sum < (double)s->top_p * total))
                sum += scratch[keep++].p;
            count = keep;
        }
        memset(p, 0, (size_t)n * sizeof *p);
        for (int i = 0; i < count; i++)
            p[scratch[i].id] = scratch[i].p;
    }
    total = 0;
    for (int i = 0; i < n; i++) {
        if (p[i] < s->min_p)
            p[i] = 0;
        total += p[i];
    }
    return total;
}

int32_t sample_token(float *logits, int n, const struct sampling *s, struct rng *rng, const int32_t *recent, int n_recent, void *scratch)
{
    assert(n > 0);
    if (s->repeat_penalty != 1)
        penalise(logits, n, s->repeat_penalty, recent, n_recent);
    int32_t best = greatest(logits, n);
    double u = rng_uniform(rng); /* drawn for greedy too: the count of numbers drawn is the count of tokens */
    if (s->temperature == 0 || !isfinite(logits[best]))
        return best;
    float top = logits[best], inverse = 1 / s->temperature;
    double total = 0;
    for (int i = 0; i < n; i++) {
        float x = (logits[i] - top) * inverse;
        logits[i] = x > -80 ? expf(x) : 0; /* false for NaN */
        total += logits[i];
    }
    total = filter(logits, n, s, total, scratch);
    double target = u * total, sum = 0;
    int32_t last = best;
    for (int i = 0; i < n; i++) {
        if (logits[i] <= 0)
            continue;
        sum += logits[i];
        last = i;
        if (sum > target)
            break;
    }
    return last;
}
