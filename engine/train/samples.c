/* samples.c - see samples.h. */
#include "engine/train/samples.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"

#include <math.h>
#include <string.h>

enum { MAX_PROMPTS = 256, MAX_SLOTS = 16, PREFIX_TOKENS = 8 };

struct prompt {
    char *text;
    int32_t *ids;
    int n;
};
struct samples {
    const struct train_options *o;
    struct prompt prompts[MAX_PROMPTS];
    int n_prompts;
    int32_t stop_ids[8];
    int n_stop_ids;
    struct syllables *syllables;
    struct generator *generator;
    struct generate_request *requests;
    struct generated *results;
    int n_requests;
};

/* ---- prompts ---- */

static int first_supervised(const struct row *r)
{
    for (int t = 0; t < r->n; t++)
        if (r->supervised[t])
            return t;
    return r->n;
}

static bool is_conversation(const struct row *r)
{
    return r->form == ROW_MESSAGES || r->form == ROW_CONVERSATIONS;
}

static bool is_known(const struct samples *s, const char *text)
{
    for (int i = 0; i < s->n_prompts; i++)
        if (strcmp(s->prompts[i].text, text) == 0)
            return true;
    return false;
}

/* The first turn as the model sees it when it is to answer. */
static bool conversation_ids(const struct row *r, const struct train_options *o,
                             const struct tokenizer *t, const struct chat_template *tpl,
                             struct id_list *ids)
{
    if (o->mask_prompt &&
        r->n_messages <= 3) { /* all in front of the first answer: the row's own system turn too */
        for (int k = 0; k < first_supervised(r); k++)
            id_list_add(ids, r->ids[k], 0);
        return true;
    }
    struct chat_message m[2];
    size_t n = 0;
    if (o->system && *o->system)
        m[n++] = (struct chat_message){"system", o->system};
    m[n++] = (struct chat_message){"user", r->prompt};
    return tpl && chat_encode(tpl, t, m, n, true, ids, NULL, NULL);
}

/* The beginning of a text: what stands in front of the first target, or a few tokens where
 * everything is one. */
static void prefix_ids(const struct row *r, struct id_list *ids)
{
    int n = first_supervised(r);
    if (n <= 1 || n >= r->n)
        n = r->n / 2 < PREFIX_TOKENS ? r->n / 2 : PREFIX_TOKENS;
    for (int k = 0; k < (n > 0 ? n : 1); k++)
        id_list_add(ids, r->ids[k], 0);
}

static void add_prompt(struct samples *s, const struct row *r, int max_tokens,
                       const struct tokenizer *t, const struct chat_template *tpl)
{
    struct id_list ids = {0};
    struct str text = {0};
    bool ok = true;
    if (is_conversation(r)) {
        ok = *r->prompt && !is_known(s, r->prompt) && conversation_ids(r, s->o, t, tpl, &ids);
        str_add(&text, r->prompt);
    } else {
        prefix_ids(r, &ids);
        ok =
            tokenizer_decode(t, ids.ids, ids.n, true, &text, NULL) && !is_known(s, str_text(&text));
    }
    if (ok && ids.n > 0 && ids.n <= (size_t)max_tokens) {
        struct prompt *p = &s->prompts[s->n_prompts++];
        p->n = (int)ids.n;
        p->ids = mem_new(ids.n, sizeof *p->ids);
        memcpy(p->ids, ids.ids, ids.n * sizeof *p->ids);
        p->text = str_take(&text);
    }
    str_free(&text);
    id_list_free(&ids);
}

static void find_prompts(struct samples *s, const struct dataset *d, int max_tokens,
                         const struct tokenizer *t, const struct chat_template *tpl)
{
    enum split order[] = {SPLIT_VALID, SPLIT_TRAIN};
    for (int k = 0; k < 2 && s->n_prompts == 0; k++)
        for (int i = 0; i < d->n_rows && s->n_prompts < MAX_PROMPTS; i++)
            if (d->rows[i].split == order[k] && d->rows[i].n > 1)
                add_prompt(s, &d->rows[i], max_tokens, t, tpl);
}

static void find_stop_ids(struct samples *s, const struct model *m, const struct tokenizer *t,
                          const struct chat_template *tpl)
{
    if (tpl)
        s->n_stop_ids = (int)chat_stop_ids(tpl, t, s->stop_ids);
    int32_t eos = tokenizer_eos(t);
    bool there = eos < 0 || s->n_stop_ids == 8;
    for (int i = 0; i < s->n_stop_ids; i++)
        there |= s->stop_ids[i] == eos;
    if (!there)
        s->stop_ids[s->n_stop_ids++] = eos;
}

/* ---- the maker ---- */

static bool open_generator(struct samples *s, const struct model *m, const struct tokenizer *t,
                           const struct compute *c, struct gm_error *err)
{
    int longest = 0, slots = s->n_requests < MAX_SLOTS ? s->n_requests : MAX_SLOTS;
    for (int i = 0; i < s->n_prompts; i++)
        longest = s->prompts[i].n > longest ? s->prompts[i].n : longest;
    s->syllables = syllables_open(err);
    s->generator =
        s->syllables ? generator_new(m, t, slots, longest + s->o->sample_max_tokens, c, err) : NULL;
    if (!s->generator)
        return false;
    generator_judge(s->generator, s->syllables, form_find("haiku"));
    return true;
}

struct samples *samples_new(const struct model *m, const struct tokenizer *t,
                            const struct chat_template *tpl, const struct dataset *d,
                            const struct train_options *o, const struct compute *c,
                            struct gm_error *err)
{
    struct samples *s = mem_new(1, sizeof *s);
    s->o = o;
    s->n_requests = o->n_temps * o->samples_per_temp;
    int room =
        (m->config.max_positions > 0 ? m->config.max_positions : INT32_MAX) - o->sample_max_tokens;
    if (s->n_requests > 0)
        find_prompts(s, d, room, t, tpl);
    if (s->n_prompts == 0) {
        samples_free(s);
        return NULL;
    }
    find_stop_ids(s, m, t, tpl);
    s->requests = mem_new((size_t)s->n_requests, sizeof *s->requests);
    s->results = mem_new((size_t)s->n_requests, sizeof *s->results);
    if (!open_generator(s, m, t, c, err)) {
        samples_free(s);
        return NULL;
    }
    return s;
}

void samples_free(struct samples *s)
{
    if (!s)
        return;
    for (int i = 0; i < s->n_prompts; i++) {
        mem_free(s->prompts[i].text);
        mem_free(s->prompts[i].ids);
    }
    generator_free(s->generator);
    syllables_free(s->syllables);
    mem_free(s->requests);
    mem_free(s->results);
    mem_free(s);
}

static const struct prompt *prompt_at(const struct samples *s, int step, int i)
{
    const struct train_options *o = s->o;
    int64_t round = o->sample_every > 0 ? step / o->sample_every : step;
    return &s->prompts[(round * o->samples_per_temp + i) % s->n_prompts];
}

static void plan_requests(struct samples *s, const struct lora *lora, int step)
{
    const struct train_options *o = s->o;
    struct rng seeds = rng_stream(o->seed, "samples", (uint64_t)step);
    for (int k = 0; k < o->n_temps; k++)
        for (int i = 0; i < o->samples_per_temp; i++) {
            const struct prompt *p = prompt_at(s, step, i);
            struct sampling how = sampling_default();
            how.temperature = o->temps[k];
            how.max_tokens = o->sample_max_tokens;
            how.seed = rng_u32(&seeds);
            s->requests[k * o->samples_per_temp + i] =
                (struct generate_request){.prompt = p->ids,
                                          .n_prompt = p->n,
                                          .lora = lora,
                                          .sampling = how,
                                          .stop_ids = s->stop_ids,
                                          .n_stop_ids = s->n_stop_ids};
        }
}

static bool counts(const struct train_options *o, float temperature)
{
    for (int k = 0; k < o->n_temps; k++)
        if (fabsf(o->temps[k] - 0.7f) < 0.01f)
            return fabsf(temperature - 0.7f) < 0.01f;
    return true;
}

bool samples_run(struct samples *s, const struct compute *c, const struct lora *lora, int step,
                 const char *adapter, atomic_bool *cancel,
                 bool (*fn)(void *arg, const struct generated *g, struct gm_error *err), void *arg,
                 struct sample_rate *rate, struct gm_error *err)
{
    struct generate_hooks hooks = {.cancel = cancel};
    *rate = (struct sample_rate){0};
    plan_requests(s, lora, step);
    if (!generator_run(s->generator, c, s->requests, s->n_requests, s->results, &hooks, err))
        return false;
    bool ok = true, cancelled = false;
    for (int i = 0; i < s->n_requests; i++)
        cancelled |= s->results[i].stop == STOP_CANCELLED;
    for (int i = 0; i < s->n_requests; i++) {
        struct generated *g = &s->results[i];
        g->prompt_text = prompt_at(s, step, i % s->o->samples_per_temp)->text;
        g->adapter = adapter;
        g->step = step;
        if (ok && !cancelled) {
            ok = fn(arg, g, err);
            if (counts(s->o, g->temperature)) {
                rate->n++;
                rate->strict += g->verdict.strict;
            }
        }
        generated_free(g);
    }
    return ok;
}

/* One set with answers of n tokens. */
static bool time_answers(struct samples *s, const struct compute *c, const struct lora *lora, int n, double *seconds, struct gm_error *err)
{
    struct generate_hooks hooks = {0};
    double began = clock_seconds();
    plan_requests(s, lora, 0);
    for (int i = 0; i < s->n_requests; i++) {
        s->requests[i].sampling.max_tokens = n;
        s->requests[i].n_stop_ids = 0;
    }
    if (!generator_run(s->generator, c, s->requests, s->n_requests, s->results, &hooks, err))
        return false;
    *seconds = clock_seconds() - began;
    for (int i = 0; i < s->n_requests; i++)
        generated_free(&s->results[i]);
    return true;
}

bool samples_time(struct samples *s, const struct compute *c, const struct lora *lora, double *seconds, struct gm_error *err)
{
    enum { MORE = 4 };
    double first, longer;
    const int most = s->o->sample_max_tokens, more = most > MORE ? MORE : most - 1;
    /* the first time of all makes the pages of the caches */
    if (!time_answers(s, c, lora, 1, &first, err) || !time_answers(s, c, lora, 1, &first, err) ||
        !time_answers(s, c, lora, 1 + more, &longer, err))
        return false;
    *seconds = first + (more > 0 && longer > first ? (most - 1) * (longer - first) / more : 0);
    return true;
}
