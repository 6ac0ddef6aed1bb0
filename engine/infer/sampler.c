/* sampler.c - the filters in the order of Hugging Face's generate: penalty, temperature, top-k, top-p, min-p, then one draw.
 *
 * The draw walks the vocabulary in the order of ids, so that a filter that removes nothing changes nothing; without filters it goes by
 * sums of chunks, and looks into one chunk only. What top-k and top-p leave is found without sorting: by the bits of the
 * probabilities, eleven at a time, from the top. Sums are double.
 */
#include "engine/infer/sampler.h"

#include "engine/base/number.h"
#include "engine/kernel/choose.h"

#include <assert.h>
#include <math.h>
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

enum { LEVELS = 3, LEVEL_BITS = 11, BINS = 1 << LEVEL_BITS };

struct scratch {
    double sums[BINS];    /* of the bins */
    int32_t counts[BINS];
    double *chunks;       /* [choose_chunks(n)] */
    struct candidate *list; /* [n] */
};

size_t sampler_scratch_bytes(int n)
{
    return align64(sizeof(struct scratch)) + align64((size_t)choose_chunks(n) * sizeof(double)) + align64((size_t)n * sizeof(struct candidate));
}

static struct scratch *lay_out(void *memory, int n)
{
    struct scratch *s = memory;
    unsigned char *at = (unsigned char *)memory + align64(sizeof *s);
    s->chunks = (double *)(void *)at;
    s->list = (struct candidate *)(void *)(at + align64((size_t)choose_chunks(n) * sizeof(double)));
    return s;
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

/* Kept are those above p, and of those that equal it the first `ties` in the order of ids. */
struct cut {
    float p;
    int64_t ties;
};

static uint32_t bits_of(float p)
{
    uint32_t u;
    memcpy(&u, &p, sizeof u);
    return u;
}

/* Where the greatest of the list number k, or together reach `mass`, whichever comes first. */
static struct cut find_cut(struct scratch *s, const struct candidate *list, int n, int k, double mass)
{
    uint32_t prefix = 0;
    int64_t count = 0;
    double sum = 0;
    int bin = 0;
    for (int level = 0; level < LEVELS; level++) {
        const int shift = (LEVELS - 1 - level) * LEVEL_BITS; /* 33 bits, of which 32 are there */
        memset(s->counts, 0, sizeof s->counts);
        memset(s->sums, 0, sizeof s->sums);
        for (int i = 0; i < n; i++) {
            const uint32_t u = bits_of(list[i].p);
            if (level > 0 && u >> (shift + LEVEL_BITS) != prefix)
                continue;
            s->counts[u >> shift & (BINS - 1)]++;
            s->sums[u >> shift & (BINS - 1)] += (double)list[i].p;
        }
        for (bin = BINS - 1; bin > 0 && count + s->counts[bin] < k && sum + s->sums[bin] < mass; bin--) {
            count += s->counts[bin];
            sum += s->sums[bin];
        }
        prefix = prefix << LEVEL_BITS | (uint32_t)bin;
    }
    struct cut cut = {.ties = s->counts[bin] > 0};
    memcpy(&cut.p, &prefix, sizeof cut.p);
    while (cut.ties < s->counts[bin] && count + cut.ties < k && sum + (double)cut.ties * (double)cut.p < mass)
        cut.ties++;
    return cut;
}

/* Removes what is cut; the rest keeps its order. Returns how many, and their sum. */
static int cut_off(struct candidate *list, int n, struct cut cut, double *total)
{
    int kept = 0;
    *total = 0;
    for (int i = 0; i < n; i++)
        if (list[i].p > cut.p || (list[i].p == cut.p && cut.ties-- > 0)) {
            *total += (double)list[i].p;
            list[kept++] = list[i];
        }
    return kept;
}

/* The likely ones in the order of ids, enough of them for top-k and top-p: the floor sinks until they are. */
static int likely(struct candidate *list, const float *p, int n, const struct sampling *s, double total)
{
    if (s->top_k == 0 && s->top_p >= 1)
        return choose_above(list, n, p, n, s->min_p);
    for (float floor = 1e-2f;; floor *= 1e-3f) {
        bool all = floor < 1e-30f;
        int count = choose_above(list, n, p, n, all ? 0 : floor);
        double sum = 0;
        for (int i = 0; i < count; i++)
            sum += (double)list[i].p;
        bool enough = s->top_k > 0 ? count >= s->top_k : sum >= (double)s->top_p * total;
        if (all || enough)
            return count;
    }
}

/* p [n]: exp of the scaled logits, the largest 1. What the filters leave, in the order of ids; *total: its sum. */
static int filter(struct scratch *scratch, const float *p, int n, const struct sampling *s, double *total)
{
    struct candidate *list = scratch->list;
    int count = likely(list, p, n, s, *total);
    if (s->top_k > 0)
        count = cut_off(list, count, find_cut(scratch, list, count, s->top_k, INFINITY), total);
    if (s->top_p < 1) /* counts within what top-k left */
        count = cut_off(list, count, find_cut(scratch, list, count, INT32_MAX, (double)s->top_p * *total), total);
    return cut_off(list, count, (struct cut){.p = s->min_p, .ties = count}, total);
}

static int32_t draw_listed(const struct candidate *list, int count, double target, int32_t otherwise)
{
    double sum = 0;
    for (int i = 0; i < count; i++) {
        sum += (double)list[i].p;
        if (sum > target)
            return list[i].id;
    }
    return count > 0 ? list[count - 1].id : otherwise;
}

static int32_t draw_any(const float *p, int n, const double *chunks, double target, int32_t otherwise)
{
    double sum = 0;
    int chunk = 0;
    while (chunk + 1 < choose_chunks(n) && sum + chunks[chunk] <= target)
        sum += chunks[chunk++];
    int32_t last = otherwise;
    for (int i = chunk * CHOOSE_CHUNK; i < n && i < (chunk + 1) * CHOOSE_CHUNK; i++) {
        if (p[i] <= 0)
            continue;
        sum += (double)p[i];
        last = i;
        if (sum > target)
            break;
    }
    return last;
}

int32_t sample_token(float *logits, int n, const struct sampling *s, struct rng *rng, const int32_t *recent, int n_recent, void *scratch)
{
    assert(n > 0);
    if (s->repeat_penalty != 1)
        penalise(logits, n, s->repeat_penalty, recent, n_recent);
    int32_t best = choose_greatest(logits, n);
    double u = rng_uniform(rng); /* drawn for greedy too: the count of numbers drawn is the count of tokens */
    if (s->temperature == 0 || !isfinite(logits[best]))
        return best;
    struct scratch *work = lay_out(scratch, n);
    choose_weigh(logits, logits, n, logits[best], 1 / s->temperature, work->chunks);
    double total = 0;
    for (int i = 0; i < choose_chunks(n); i++)
        total += work->chunks[i];
    if (s->top_k == 0 && s->top_p >= 1 && s->min_p <= 0)
        return draw_any(logits, n, work->chunks, u * total, best);
    int count = filter(work, logits, n, s, &total);
    return draw_listed(work->list, count, u * total, best);
}

/* The penalty moves recent tokens, whose logits are exact therefore; those that are not recent are the best of them as before, so as many more are wanted. */
struct head_want sampler_want(const struct sampling *s, const int32_t *recent, int n_recent)
{
    struct head_want w = {.best = SAMPLER_EXACT};
    if (s->temperature == 0)
        w.best = 1;
    else if (s->top_k > 0)
        w.best = s->top_k;
    else if (s->min_p > 0 && s->top_p >= 1) {
        w.best = 1;
        w.window = s->temperature * (1e-3f - logf(s->min_p)); /* p >= min_p of the best, and what exp rounds */
    }
    if (s->repeat_penalty != 1) {
        w.n_ids = n_recent < SAMPLER_RECENT ? n_recent : SAMPLER_RECENT;
        w.ids = recent + (n_recent - w.n_ids);
        w.best = w.best < INT32_MAX - w.n_ids ? w.best + w.n_ids : w.best;
    }
    return w;
}

struct rows {
    const struct compute *c;
    struct draw *rows;
    int vocab;
    unsigned char *scratch;
};

static void block_row(void *arg, int block, int slot)
{
    const struct rows *r = arg;
    struct draw *row = &r->rows[block];
    row->id = sample_token(row->logits, r->vocab, row->sampling, row->rng, row->recent, row->n_recent,
                           r->scratch + (size_t)slot * align64(sampler_scratch_bytes(r->vocab)));
}

size_t sampler_draw_scratch_bytes(const struct compute *c, int n)
{
    return (size_t)pool_slots(c->pool) * align64(sampler_scratch_bytes(n));
}

void sampler_draw(const struct compute *c, struct draw *rows, int n_rows, int n, void *scratch)
{
    struct rows r = {.c = c, .rows = rows, .vocab = n, .scratch = scratch};
    pool_run(c->pool, c->role, block_row, &r, n_rows);
}
