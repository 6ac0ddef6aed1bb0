/* evaluate.c - loss in packed batches, answers in batched generation. */
#include "src/cli/evaluate.h"

#include "engine/base/mem.h"
#include "engine/format/json.h"
#include "engine/model/pass.h"
#include "engine/train/eval.h"

#include <math.h>
#include <string.h>

enum { PLACES = 16, BATCH_ROWS = 8 };

static bool is_cancelled(atomic_bool *cancel, struct gm_error *err)
{
    if (!cancel || !atomic_load(cancel))
        return false;
    error_set(err, GM_E_CANCELLED, "evaluate model: cancelled");
    return true;
}

bool evaluate_loss(const struct session *s, const struct dataset *d, enum split split, atomic_bool *cancel, struct evaluation *e, struct gm_error *err)
{
    return evaluate_batches(s, d, split, BATCH_ROWS, -1, cancel, e, err);
}

bool evaluate_batches(const struct session *s, const struct dataset *d, enum split split, int batch_rows, int batches, atomic_bool *cancel,
                      struct evaluation *e, struct gm_error *err)
{
    struct pass_limits limits = {.kind = PASS_FORWARD, .mode = s->compute.mode};
    struct batcher *b = batcher_new(d, split, batch_rows, false, 0, err);
    if (!b)
        return false;
    batcher_limits(b, &limits);
    struct pass *p = pass_new(s->model, s->lora ? &s->lora->options : NULL, &limits, err);
    struct eval_result r;
    bool ok = p && eval_run(p, &s->compute, s->lora, b, batch_rows, batches, cancel, &r);
    pass_free(p);
    batcher_free(b);
    if (!ok || is_cancelled(cancel, err)) {
        is_cancelled(cancel, err);
        return false;
    }
    e->loss = r.loss;
    e->tokens = r.tokens;
    e->rows = r.rows;
    e->bytes = 0;
    for (int i = 0; i < d->n_rows; i++)
        if (d->rows[i].split == split && d->rows[i].form == ROW_TEXT)
            e->bytes += (int64_t)strlen(d->rows[i].answer);
    return true;
}

/* The rows that can be asked: those with a prompt and an answer. */
static int askable(const struct dataset *d, unsigned splits, const struct row **rows)
{
    int n = 0;
    for (int i = 0; i < d->n_rows; i++) {
        const struct row *r = &d->rows[i];
        if (splits >> r->split & 1 && *r->prompt && *r->answer)
            rows[n++] = r;
    }
    return n;
}

static bool ask(const struct session *s, const struct row *const *rows, int n_rows, int n, const char *system, const struct sampling *sampling,
                struct generate_request *requests, struct id_list *ids, struct generated *results, atomic_bool *cancel, struct gm_error *err)
{
    int32_t stop_ids[8];
    int n_stop = (int)chat_stop_ids(s->tpl, s->tokenizer, stop_ids), longest = 0;
    for (int i = 0; i < n_rows; i++) {
        if (!session_prompt(s, system, rows[i]->prompt, false, &ids[i], err))
            return error_context(err, "%s:%d", rows[i]->file, rows[i]->line);
        longest = (int)ids[i].n > longest ? (int)ids[i].n : longest;
    }
    for (int i = 0; i < n; i++) {
        const struct id_list *prompt = &ids[i % n_rows];
        requests[i] = (struct generate_request){.prompt = prompt->ids, .n_prompt = (int)prompt->n, .lora = s->lora, .sampling = *sampling,
                                                .stop_ids = stop_ids, .n_stop_ids = n_stop};
        requests[i].sampling.seed = sampling->seed + (uint64_t)i;
    }
    struct generator *g = generator_new(s->model, s->tokenizer, n < PLACES ? n : PLACES, longest + sampling->max_tokens + 1, &s->compute, err);
    bool ok = g != NULL;
    if (ok) {
        generator_judge(g, s->syllables, form_find("haiku"));
        generator_packing(g, -1);
        ok = generator_run(g, &s->compute, requests, n, results, &(struct generate_hooks){.cancel = cancel}, err);
    }
    generator_free(g);
    if (ok && is_cancelled(cancel, err)) {
        ok = false;
        for (int i = 0; i < n; i++)
            generated_free(&results[i]);
    }
    return ok;
}

bool evaluate_answers(const struct session *s, const struct dataset *d, unsigned splits, const char *system, const struct sampling *sampling,
                      int at_least, atomic_bool *cancel, struct evaluation *e, struct gm_error *err)
{
    const struct row **rows = mem_new(d->n_rows > 0 ? (size_t)d->n_rows : 1, sizeof *rows);
    int n_rows = askable(d, splits, rows), n = n_rows;
    e->n = e->strict = e->possible = e->three_lines = 0;
    e->bleu = e->chrf = NAN;
    if (n_rows == 0) {
        mem_free(rows);
        return true;
    }
    while (n < at_least)
        n += n_rows;
    struct generate_request *requests = mem_new((size_t)n, sizeof *requests);
    struct generated *results = mem_new((size_t)n, sizeof *results);
    struct id_list *ids = mem_new((size_t)n_rows, sizeof *ids);
    bool ok = ask(s, rows, n_rows, n, system, sampling, requests, ids, results, cancel, err);
    struct metrics m = {0};
    for (int i = 0; ok && i < n; i++) {
        metrics_add(&m, results[i].text, rows[i % n_rows]->answer);
        e->n++;
        e->strict += results[i].verdict.strict;
        e->possible += results[i].verdict.possible;
        e->three_lines += results[i].verdict.three_lines;
        generated_free(&results[i]);
    }
    if (ok) {
        e->bleu = metrics_bleu(&m);
        e->chrf = metrics_chrf(&m);
    }
    for (int i = 0; i < n_rows; i++)
        id_list_free(&ids[i]);
    mem_free(ids);
    mem_free(requests);
    mem_free(results);
    mem_free(rows);
    return ok;
}

json_t *evaluation_json(const struct evaluation *e)
{
    json_t *o = json_object();
    double low, high;
    json_object_set_new(o, "loss", json_number(e->loss));
    json_object_set_new(o, "perplexity", json_number(exp(e->loss)));
    json_object_set_new(o, "tokens", json_integer(e->tokens));
    json_object_set_new(o, "rows", json_integer(e->rows));
    json_object_set_new(o, "bits_per_byte", e->bytes > 0 ? json_real(e->loss * (double)e->tokens / log(2) / (double)e->bytes) : json_null());
    json_object_set_new(o, "bleu", json_number(e->bleu));
    json_object_set_new(o, "chrf", json_number(e->chrf));
    rate_interval(e->strict, e->n, &low, &high);
    json_object_set_new(o, "form_rate", e->n ? json_real((double)e->strict / e->n) : json_null());
    json_object_set_new(o, "form_rate_interval", e->n ? json_pack("[f, f]", low, high) : json_null());
    json_object_set_new(o, "three_lines", e->n ? json_real((double)e->three_lines / e->n) : json_null());
    json_object_set_new(o, "n", json_integer(e->n));
    return o;
}
