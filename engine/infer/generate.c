/* generate.c - the loop of batched generation: admit, decode, sample, let go.
 *
 * Prompts are computed once: a request that begins as another one did (a system message, the same question) copies that part of the cache, whether the
 * other is still being answered, has left its place, or is admitted with it. A request that goes on from what a free place holds (the next turn of a
 * conversation) takes that place.
 */
#include "engine/infer/generate.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/kernel/panels.h"
#include "engine/model/packed.h"
#include "engine/text/detok.h"

#include <assert.h>
#include <string.h>

enum { SHARE_FROM = 8 }; /* tokens: fewer are computed faster than copied and waited for */

struct sequence {
    int request;     /* -1: the place is free; its cache stays until the next request */
    int slot;
    const struct lora *lora; /* of what the cache holds */
    struct rng rng;
    struct detok detok;
    struct str text; /* whole characters so far */
    size_t shown;    /* bytes given to the text hook */
    int32_t *history; /* prompt tail and answer, for the repeat penalty; also holds the last token */
    int n_history, n_tokens, n_cached;
    int64_t used; /* when it was taken, counted in requests */
    double began;
};
struct generator {
    const struct model *model;
    const struct tokenizer *tokenizer;
    const struct syllables *syllables;
    const struct form *form;
    struct decoder *decoder;
    struct packed_model *packed; /* NULL: not so far */
    struct head_int8 *head; /* NULL: not wanted, or not so far */
    int packing;
    bool int8_head, remembers;
    int64_t tokens, requests;    /* generated, admitted so far */
    int n_slots, max_tokens, vocab;
    struct sequence *sequences;
    struct decode_item *items;
    int *item_sequence, *free, *leader;
    bool shares; /* what a cache holds does not depend on how long its sequence is */
    struct draw *rows;
    float *logits; /* [n_slots, vocab], in the order of the items */
    void *scratch;
};

struct generator *generator_new(const struct model *m, const struct tokenizer *t, int n_slots, int max_tokens,
                                const struct compute *c, struct gm_error *err)
{
    struct generator *g = mem_new(1, sizeof *g);
    g->model = m;
    g->tokenizer = t;
    g->n_slots = n_slots;
    g->max_tokens = max_tokens;
    g->vocab = m->config.vocab_size;
    g->shares = m->config.rope.kind != ROPE_LONG; /* there the length of a sequence decides how its keys are turned */
    g->decoder = decoder_new(m, n_slots, max_tokens, c->mode == GM_COMPUTE_F32, err);
    g->logits = mem_alloc((size_t)n_slots * (size_t)g->vocab * sizeof(float), "logits", err);
    g->scratch = mem_alloc(sampler_draw_scratch_bytes(c, g->vocab), "sampling", err);
    if (!g->decoder || !g->logits || !g->scratch) {
        generator_free(g);
        return NULL;
    }
    g->sequences = mem_new((size_t)n_slots, sizeof *g->sequences);
    g->items = mem_new((size_t)n_slots, sizeof *g->items);
    g->item_sequence = mem_new((size_t)n_slots, sizeof *g->item_sequence);
    g->free = mem_new((size_t)n_slots, sizeof *g->free);
    g->leader = mem_new((size_t)n_slots, sizeof *g->leader);
    g->rows = mem_new((size_t)n_slots, sizeof *g->rows);
    for (int i = 0; i < n_slots; i++) {
        g->sequences[i].request = -1;
        g->sequences[i].slot = decoder_take(g->decoder);
        g->sequences[i].history = mem_new((size_t)max_tokens + 1, sizeof(int32_t));
    }
    return g;
}

void generator_free(struct generator *g)
{
    if (!g)
        return;
    decoder_free(g->decoder);
    packed_model_free(g->packed);
    head_int8_free(g->head);
    for (int i = 0; g->sequences && i < g->n_slots; i++) {
        detok_free(&g->sequences[i].detok);
        str_free(&g->sequences[i].text);
        mem_free(g->sequences[i].history);
    }
    mem_free(g->sequences);
    mem_free(g->items);
    mem_free(g->item_sequence);
    mem_free(g->free);
    mem_free(g->leader);
    mem_free(g->rows);
    mem_free(g->logits);
    mem_free(g->scratch);
    mem_free(g);
}

void generator_packing(struct generator *g, int packing)
{
    g->packing = packing;
}

size_t generator_packed_bytes(const struct generator *g)
{
    return g->packed ? packed_model_bytes(g->model) : 0;
}

void generator_int8_head(struct generator *g, bool on)
{
    g->int8_head = on;
}

size_t generator_int8_bytes(const struct generator *g)
{
    return g->head ? head_int8_bytes(&g->model->head) : 0;
}

void generator_remember(struct generator *g, bool on)
{
    g->remembers = on;
}

void generator_forget(struct generator *g)
{
    for (int i = 0; i < g->n_slots; i++)
        decoder_truncate(g->decoder, g->sequences[i].slot, 0);
}

/* Decided once for all n requests: what a sequence draws does not depend on how many others are left. */
static bool make_head(struct generator *g, const struct compute *c, int n, struct gm_error *err)
{
    const struct model *m = g->packed ? packed_model_view(g->packed) : g->model;
    const bool wanted = g->int8_head && g->model->full.count == 0 && head_int8_pays(c, &m->head, n < g->n_slots ? n : g->n_slots);
    if (wanted && !g->head && !(g->head = head_int8_new(c, &g->model->head, err)))
        return false;
    decoder_head(g->decoder, wanted ? g->head : NULL);
    return true;
}

/* Packing takes as long as some ten tokens; then one sequence gains a few percent a token, many gain a half and more. */
static bool packing_pays(const struct generator *g, const struct compute *c, const struct generate_request *requests, int n)
{
    enum { SEQUENCES = 5, TOKENS = 256 };
    int64_t tokens = g->tokens;
    for (int i = 0; i < n; i++)
        tokens += requests[i].sampling.max_tokens;
    const enum dtype stored = g->model->head.type;
    return panels_help(c) && (stored == DT_BF16 || stored == DT_F16 || stored == DT_F32)
           && ((n >= SEQUENCES && g->n_slots >= SEQUENCES) || tokens >= TOKENS) && packed_model_bytes(g->model) <= mem_available_bytes() / 3;
}

static bool pack(struct generator *g, const struct compute *c, const struct generate_request *requests, int n, struct gm_error *err)
{
    if (g->packing == 0 || g->packed || g->model->full.count > 0 || (g->packing < 0 && !packing_pays(g, c, requests, n)))
        return true;
    g->packed = packed_model_new(g->model, c, g->packing > 0 ? err : NULL);
    if (g->packed)
        decoder_use(g->decoder, packed_model_view(g->packed));
    else if (g->packing > 0)
        return false;
    else
        g->packing = 0; /* no room: not tried again */
    return true;
}

void generator_judge(struct generator *g, const struct syllables *s, const struct form *form)
{
    g->syllables = s;
    g->form = form;
}

static bool check_request(const struct generator *g, const struct generate_request *r, struct gm_error *err)
{
    if (!sampling_check(&r->sampling, err))
        return false;
    if (r->n_prompt < 1)
        return error_set(err, GM_E_INPUT, "generate text: the prompt has no token (give some text)");
    if (r->n_prompt >= g->max_tokens)
        return error_set(err, GM_E_INPUT, "generate text: the prompt has %d tokens, the context holds %d (shorten the prompt)", r->n_prompt,
                         g->max_tokens);
    for (int i = 0; i < r->n_prompt; i++)
        if (r->prompt[i] < 0 || r->prompt[i] >= g->vocab)
            return error_set(err, GM_E_INPUT, "generate text: prompt id %d lies outside the model's vocabulary of %d", r->prompt[i], g->vocab);
    return true;
}

/* Where a stop string begins at or after `from`, else the length. *partial: where the tail could still become one. */
static size_t find_stop(const struct str *text, const struct generate_request *r, size_t from, size_t *partial)
{
    size_t found = text->len;
    *partial = text->len;
    for (int k = 0; k < r->n_stop_strings; k++) {
        size_t n = strlen(r->stop_strings[k]);
        for (size_t at = from; n > 0 && at < text->len; at++) {
            size_t left = text->len - at, common = left < n ? left : n;
            if (memcmp(text->data + at, r->stop_strings[k], common) != 0)
                continue;
            if (common == n && at < found)
                found = at;
            else if (common < n && at < *partial)
                *partial = at;
            break;
        }
    }
    return found;
}

static void show(struct sequence *s, const struct generate_hooks *hooks, size_t upto)
{
    if (hooks && hooks->text && upto > s->shown)
        hooks->text(hooks->arg, s->request, s->text.data + s->shown, upto - s->shown);
    if (upto > s->shown)
        s->shown = upto;
}

static void finish(struct generator *g, struct sequence *s, const struct generate_request *r, struct generated *out,
                   enum stop_reason why, const struct generate_hooks *hooks)
{
    if (why != STOP_STRING)
        detok_finish(&s->detok, &s->text);
    detok_free(&s->detok);
    show(s, hooks, s->text.len);
    out->temperature = r->sampling.temperature;
    out->seed = r->sampling.seed;
    out->n_tokens = s->n_tokens;
    out->n_cached = s->n_cached;
    out->stop = why;
    out->seconds = clock_seconds() - s->began;
    out->text = mem_copy_n(str_text(&s->text), s->text.len);
    if (g->syllables)
        form_judge(g->syllables, g->form, out->text, s->text.len, &out->verdict);
    s->request = -1;
}

/* Goes on with the next token of a sequence; finishes it when that was the last. */
static void advance(struct generator *g, struct sequence *s, int32_t id, const struct generate_request *r, struct generated *out,
                    const struct generate_hooks *hooks)
{
    s->n_tokens++;
    g->tokens++;
    for (int i = 0; i < r->n_stop_ids; i++)
        if (id == r->stop_ids[i]) {
            finish(g, s, r, out, STOP_END, hooks);
            return;
        }
    s->history[s->n_history++] = id;
    size_t before = s->text.len, partial;
    detok_push(&s->detok, id, &s->text); /* an id that only pads the vocabulary has no text */
    size_t longest = 0;
    for (int k = 0; k < r->n_stop_strings; k++)
        longest = strlen(r->stop_strings[k]) > longest ? strlen(r->stop_strings[k]) : longest;
    size_t stop = find_stop(&s->text, r, before > longest ? before - longest : 0, &partial);
    if (stop < s->text.len) {
        s->text.len = stop;
        s->text.data[stop] = 0;
        finish(g, s, r, out, STOP_STRING, hooks);
        return;
    }
    show(s, hooks, partial);
    if (s->n_tokens >= r->sampling.max_tokens || s->n_history >= g->max_tokens)
        finish(g, s, r, out, STOP_LENGTH, hooks);
}

/* Tokens of the first n sequences of item_sequence from their logits, all at once; then each goes on. */
static void take_tokens(struct generator *g, const struct compute *c, int n, const struct generate_request *requests, struct generated *results,
                        const struct generate_hooks *hooks)
{
    for (int k = 0; k < n; k++) {
        struct sequence *s = &g->sequences[g->item_sequence[k]];
        g->rows[k] = (struct draw){.logits = g->logits + (size_t)k * (size_t)g->vocab, .sampling = &requests[s->request].sampling,
                                         .rng = &s->rng, .recent = s->history, .n_recent = s->n_history};
    }
    sampler_draw(c, g->rows, n, g->vocab, g->scratch);
    for (int k = 0; k < n; k++) {
        struct sequence *s = &g->sequences[g->item_sequence[k]];
        advance(g, s, g->rows[k].id, &requests[s->request], &results[s->request], hooks);
    }
}

/* How many of the first tokens of the request stand in the cache of a place already, for the same adapter. */
static int shared_prefix(const struct generator *g, const struct sequence *at, const struct generate_request *r)
{
    int n = decoder_length(g->decoder, at->slot), same = 0;
    n = at->lora != r->lora || !g->shares ? 0 : n < r->n_prompt ? n : r->n_prompt;
    while (same < n && at->history[same] == r->prompt[same])
        same++;
    return same;
}

/* The place whose cache shares most with the request, its own included; *shared: how many tokens, at least SHARE_FROM, else 0. */
static const struct sequence *find_source(const struct generator *g, const struct generate_request *r, int *shared)
{
    const struct sequence *best = NULL;
    *shared = 0;
    for (int i = 0; i < g->n_slots; i++) {
        int n = shared_prefix(g, &g->sequences[i], r);
        if (n >= SHARE_FROM && n > *shared) {
            best = &g->sequences[i];
            *shared = n;
        }
    }
    return best;
}

/* Gives the new requests places of the n_free ones, each the one that it goes on from, if it keeps more than half of what stands there; else the one that was
 * not used for the longest time. */
static void choose_places(struct generator *g, const struct generate_request *new, int n_new, int n_free)
{
    for (int i = 0; i < n_new; i++) {
        int best = i, most = 0;
        for (int k = i; k < n_free; k++) {
            const struct sequence *s = &g->sequences[g->free[k]], *b = &g->sequences[g->free[best]];
            int shared = shared_prefix(g, s, &new[i]), kept = 2 * shared > decoder_length(g->decoder, s->slot) ? shared : 0;
            if (kept > most || (most == 0 && kept == 0 && s->used < b->used)) {
                best = k;
                most = kept;
            }
        }
        int place = g->free[best];
        g->free[best] = g->free[i];
        g->free[i] = place;
    }
}

/* Puts the request into the place; the first `shared` tokens of its prompt are those of `source`, whose cache is copied. */
static void admit(struct generator *g, struct sequence *s, const struct generate_request *r, int number, const struct sequence *source, int shared)
{
    if (source && source != s)
        decoder_copy(g->decoder, s->slot, source->slot, shared);
    else
        decoder_truncate(g->decoder, s->slot, shared);
    s->request = number;
    s->n_cached = shared;
    s->used = ++g->requests;
    s->lora = r->lora;
    s->rng = rng_stream(r->sampling.seed, "sample", 0);
    detok_init(&s->detok, g->tokenizer);
    str_clear(&s->text);
    s->shown = 0;
    memcpy(s->history, r->prompt, (size_t)r->n_prompt * sizeof *s->history);
    s->n_history = r->n_prompt;
    s->n_tokens = 0;
    s->began = clock_seconds();
}

static int common_prefix(const struct generate_request *a, const struct generate_request *b)
{
    int n = a->n_prompt < b->n_prompt ? a->n_prompt : b->n_prompt, same = 0;
    while (a->lora == b->lora && same < n && a->prompt[same] == b->prompt[same])
        same++;
    return same;
}

/* What becomes of the new requests: the number of an earlier one with the same prompt, which gives it all; or LEADS: its prompt is computed; or WAITS: until one
 * before it that begins alike stands in the cache. */
enum { LEADS = -1, WAITS = -2 };
static void find_leaders(struct generator *g, const struct generate_request *new, int n)
{
    for (int i = 0; i < n; i++) {
        g->leader[i] = LEADS;
        for (int j = 0; j < i && g->leader[i] < 0; j++) {
            int same = common_prefix(&new[i], &new[j]);
            if (g->leader[j] == LEADS && same == new[i].n_prompt && same == new[j].n_prompt)
                g->leader[i] = j;
            else if (g->shares && same >= SHARE_FROM)
                g->leader[i] = WAITS;
        }
    }
}

/* Computes the prompts of those new requests whose leader is `which`; *n: items so far, each a sequence with logits. */
static bool compute_prompts(struct generator *g, const struct compute *c, const struct generate_request *new, int first, int n_new, int which,
                            int *n, struct gm_error *err)
{
    for (int i = 0; i < n_new; i++) {
        if (g->leader[i] != which)
            continue;
        struct sequence *s = &g->sequences[g->free[i]];
        int shared;
        const struct sequence *source = find_source(g, &new[i], &shared);
        shared = shared == new[i].n_prompt ? shared - 1 : shared; /* one token at least is computed: its logits are wanted */
        admit(g, s, &new[i], first + i, source, shared);
        g->item_sequence[*n] = g->free[i];
        g->items[*n] = (struct decode_item){.slot = s->slot, .lora = new[i].lora, .ids = new[i].prompt + shared, .n = new[i].n_prompt - shared,
                                            .logits = g->logits + (size_t)*n * (size_t)g->vocab};
        ++*n;
    }
    return *n == 0 || decoder_run(g->decoder, c, g->items, *n, err);
}

/* Those with the prompt of another one take its cache and its logits. */
static void copy_prompts(struct generator *g, const struct generate_request *new, int first, int n_new, int *n)
{
    const int computed = *n;
    for (int i = 0; i < n_new; i++) {
        if (g->leader[i] < 0)
            continue;
        struct sequence *s = &g->sequences[g->free[i]];
        const int from = g->free[g->leader[i]];
        int item = 0;
        while (item < computed && g->item_sequence[item] != from)
            item++;
        admit(g, s, &new[i], first + i, &g->sequences[from], new[i].n_prompt);
        memcpy(g->logits + (size_t)*n * (size_t)g->vocab, g->logits + (size_t)item * (size_t)g->vocab, (size_t)g->vocab * sizeof(float));
        g->item_sequence[*n] = g->free[i];
        ++*n;
    }
}

/* Fills free places from the waiting requests, computes their prompts and takes their first tokens. */
static bool admit_waiting(struct generator *g, const struct compute *c, const struct generate_request *requests, int n, int *next,
                          struct generated *results, const struct generate_hooks *hooks, struct gm_error *err)
{
    const int first = *next;
    int n_free = 0, n_items = 0;
    for (int i = 0; i < g->n_slots; i++)
        if (g->sequences[i].request < 0)
            g->free[n_free++] = i;
    const int n_new = n_free < n - first ? n_free : n - first;
    find_leaders(g, requests + first, n_new);
    choose_places(g, requests + first, n_new, n_free);
    *next = first + n_new;
    if (!compute_prompts(g, c, requests + first, first, n_new, LEADS, &n_items, err))
        return false;
    copy_prompts(g, requests + first, first, n_new, &n_items);
    take_tokens(g, c, n_items, requests, results, hooks);
    n_items = 0;
    if (!compute_prompts(g, c, requests + first, first, n_new, WAITS, &n_items, err))
        return false;
    take_tokens(g, c, n_items, requests, results, hooks);
    return true;
}

static bool next_tokens(struct generator *g, const struct compute *c, const struct generate_request *requests, struct generated *results,
                        const struct generate_hooks *hooks, struct gm_error *err)
{
    int n_items = 0;
    for (int i = 0; i < g->n_slots; i++) {
        struct sequence *s = &g->sequences[i];
        if (s->request < 0)
            continue;
        g->item_sequence[n_items] = i;
        g->items[n_items] = (struct decode_item){.slot = s->slot, .lora = requests[s->request].lora, .ids = &s->history[s->n_history - 1],
                                                 .n = 1, .logits = g->logits + (size_t)n_items * (size_t)g->vocab,
                                                 .want = sampler_want(&requests[s->request].sampling, s->history, s->n_history)};
        n_items++;
    }
    if (n_items == 0)
        return true;
    if (!decoder_run(g->decoder, c, g->items, n_items, err))
        return false;
    take_tokens(g, c, n_items, requests, results, hooks);
    return true;
}

static int count_active(const struct generator *g)
{
    int n = 0;
    for (int i = 0; i < g->n_slots; i++)
        n += g->sequences[i].request >= 0;
    return n;
}

/* After an error: places and results are given back. */
static void abandon(struct generator *g, struct generated *results, int n)
{
    for (int i = 0; i < g->n_slots; i++) {
        struct sequence *s = &g->sequences[i];
        if (s->request < 0)
            continue;
        detok_free(&s->detok);
        s->request = -1;
    }
    for (int i = 0; i < n; i++)
        generated_free(&results[i]);
}

/* Those that were begun keep what there is; the others, some of them perhaps admitted, have no text. */
static void cancel_all(struct generator *g, const struct generate_request *requests, int n, struct generated *results, const struct generate_hooks *hooks)
{
    for (int i = 0; i < g->n_slots; i++)
        if (g->sequences[i].request >= 0)
            finish(g, &g->sequences[i], &requests[g->sequences[i].request], &results[g->sequences[i].request], STOP_CANCELLED, hooks);
    for (int i = 0; i < n; i++)
        if (!results[i].text) {
            results[i].text = mem_copy("");
            results[i].stop = STOP_CANCELLED;
            results[i].temperature = requests[i].sampling.temperature;
            results[i].seed = requests[i].sampling.seed;
        }
}

/* Between two tokens, when what was chosen has been shown, and between the blocks of a long prompt. */
struct pause {
    const struct compute *c;
    atomic_bool *cancel; /* may be NULL */
};

static bool go_on(void *arg)
{
    const struct pause *p = arg;
    if (p->c->role == GM_TASTE)
        pool_give_way(p->c->pool);
    return !p->cancel || !atomic_load(p->cancel);
}

static bool answer_all(struct generator *g, struct pause *pause, const struct generate_request *requests, int n, struct generated *results,
                       const struct generate_hooks *hooks, struct gm_error *err)
{
    struct gm_error why = {0};
    int next = 0;
    while (next < n || count_active(g) > 0)
        if (!go_on(pause) || !admit_waiting(g, pause->c, requests, n, &next, results, hooks, &why)
            || !next_tokens(g, pause->c, requests, results, hooks, &why)) {
            if (why.code == GM_OK || why.code == GM_E_CANCELLED) {
                cancel_all(g, requests, n, results, hooks);
                return true;
            }
            abandon(g, results, n);
            return error_set(err, why.code, "%s", why.text);
        }
    return true;
}

bool generator_run(struct generator *g, const struct compute *c, const struct generate_request *requests, int n, struct generated *results,
                   const struct generate_hooks *hooks, struct gm_error *err)
{
    if (!g->remembers)
        generator_forget(g);
    for (int i = 0; i < n; i++) {
        if (!check_request(g, &requests[i], err))
            return false;
        results[i].text = NULL;
        results[i].n_tokens = results[i].n_cached = 0;
        results[i].seconds = 0;
        memset(&results[i].verdict, 0, sizeof results[i].verdict);
    }
    if (!pack(g, c, requests, n, err) || !make_head(g, c, n, err))
        return false;
    if (c->role == GM_TASTE)
        pool_hold(c->pool);
    struct pause pause = {c, hooks ? hooks->cancel : NULL};
    decoder_between(g->decoder, go_on, &pause);
    bool ok = answer_all(g, &pause, requests, n, results, hooks, err);
    decoder_between(g->decoder, NULL, NULL);
    if (c->role == GM_TASTE)
        pool_release(c->pool);
    return ok;
}
