/* trainer.c - the loop of a run: what is due at a step border, then the next update.
 *
 * At the border of step n (n updates are done) come, in this order: evaluation, samples,
 * checkpoint, then what was asked for meanwhile. A run that was stopped or killed comes back to a
 * border and finds there what is still due, so that the weights go the same way whether it stopped
 * or not.
 */
#include "engine/train/trainer_private.h"

#include "engine/base/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- asks, from any thread ---- */

void trainer_ask_stop(struct trainer *t)
{
    atomic_store(&t->stop, true);
    pthread_mutex_lock(&t->mutex);
    pthread_cond_broadcast(&t->wake);
    pthread_mutex_unlock(&t->mutex);
}

static void ask(struct trainer *t, bool *flag, bool value)
{
    pthread_mutex_lock(&t->mutex);
    *flag = value;
    pthread_cond_broadcast(&t->wake);
    pthread_mutex_unlock(&t->mutex);
}

void trainer_ask_save(struct trainer *t)
{
    ask(t, &t->ask_save, true);
}

void trainer_ask_eval(struct trainer *t)
{
    ask(t, &t->ask_eval, true);
}

void trainer_ask_pause(struct trainer *t, bool paused)
{
    ask(t, &t->ask_pause, paused);
}

/* Reads and clears. */
static bool take_ask(struct trainer *t, bool *flag)
{
    pthread_mutex_lock(&t->mutex);
    bool value = *flag;
    *flag = false;
    pthread_mutex_unlock(&t->mutex);
    return value;
}

struct lora *trainer_adapter_copy(struct trainer *t, int *step)
{
    if (!t->lora)
        return NULL;
    pthread_mutex_lock(&t->weights);
    struct lora *copy = lora_copy(t->lora);
    if (step)
        *step = (int)t->optimizer->updates;
    pthread_mutex_unlock(&t->weights);
    return copy;
}

/* ---- what is due at a border ---- */

static bool is_due(const struct trainer *t, int every)
{
    return every > 0 && (t->now.step % every == 0 || t->now.step == t->o.iters);
}

static bool evaluate(struct trainer *t, struct gm_error *err)
{
    struct eval_result r;
    struct checkpoint_state *now = &t->now;
    if (!eval_run(t->pass, &t->compute, t->lora, t->valid, t->o.batch_size, t->o.val_batches,
                  &t->stop, &r))
        return true;
    now->evaluated = true;
    now->val_loss = r.loss;
    t->saved_whole = false;
    if (now->step > 0) {
        t->new_best_loss = isfinite(r.loss) && !(r.loss >= now->best_loss);
        if (t->new_best_loss)
            now->best_loss = r.loss;
        if (is_due(t, t->o.steps_per_eval)) /* one that was asked for does not shorten anyone's
                                               patience */
            now->evals_without_better = t->new_best_loss ? 0 : now->evals_without_better + 1;
    }
    return trainer_tell_eval(t, &r, err);
}

static bool make_samples(struct trainer *t, struct gm_error *err)
{
    struct checkpoint_state *now = &t->now;
    struct sample_rate rate;
    char *adapter = mem_printf("%s:%d", t->name, now->step);
    bool ok = samples_run(t->samples, &t->compute, t->lora, now->step, adapter, &t->stop,
                          trainer_tell_sample, t, &rate, err);
    mem_free(adapter);
    if (!ok || rate.n == 0)
        return ok;
    now->sampled = true;
    now->form_rate = (double)rate.strict / rate.n;
    now->form_n = rate.n;
    t->saved_whole = false;
    if (now->step > 0) {
        bool tie = now->form_rate == now->best_form && isfinite(now->val_loss) &&
                   !(now->val_loss >= now->best_form_loss);
        t->new_best_form = !(now->form_rate <= now->best_form) || tie;
        if (t->new_best_form) {
            now->best_form = now->form_rate;
            now->best_form_loss = now->val_loss;
        }
    }
    return trainer_tell_form(t, &rate, err);
}

/* Checkpoints that were saved only because they were the best, and are no longer. */
static bool remove_surpassed(struct trainer *t, struct gm_error *err)
{
    struct run_info r;
    if (!run_info_open(&r, t->run_dir, err))
        return false;
    bool ok = true;
    for (int i = 0; ok && i < r.n_checkpoints; i++) {
        const struct checkpoint_info *c = &r.checkpoints[i];
        struct checkpoint_state s;
        if (c->step < t->now.step && !c->best_loss && !c->best_form &&
            checkpoint_read_state(c->path, &s, NULL, NULL) && strcmp(s.why, "best") == 0)
            ok = checkpoint_remove(t->run_dir, c->step, err);
    }
    run_info_free(&r);
    return ok;
}

static bool save(struct trainer *t, const char *why, struct gm_error *err)
{
    struct checkpoint_parts parts = trainer_parts(t);
    t->now.elapsed_s = trainer_time_s(t);
    if (t->lora) {
        pthread_mutex_lock(&t->weights);
        snprintf(t->lora->origin.step, sizeof t->lora->origin.step, "%d", t->now.step);
        pthread_mutex_unlock(&t->weights);
    }
    snprintf(t->now.why, sizeof t->now.why, "%s", why);
    if (!checkpoint_save(t->run_dir, &parts, &t->now, err))
        return false;
    t->saved_step = t->now.step;
    t->saved_whole = true;
    bool best = t->new_best_loss || t->new_best_form;
    return trainer_tell_checkpoint(t, err) && (!best || remove_surpassed(t, err));
}

static bool save_when_due(struct trainer *t, bool asked, bool ends, struct gm_error *err)
{
    const char *why = ends                                   ? "end"
                      : is_due(t, t->o.save_every)           ? "schedule"
                      : asked                                ? "asked"
                      : t->new_best_loss || t->new_best_form ? "best"
                                                             : NULL;
    if (t->saved_step != t->now.step)
        return (why && t->now.step > 0) || asked || ends ? save(t, why, err) : true;
    if (t->saved_whole)
        return true;
    t->saved_whole = true; /* it was saved before its evaluation: by a stop */
    return checkpoint_update(t->run_dir, &t->now, err) && trainer_tell_checkpoint(t, err);
}

/* *end: why the run is over, or NULL. */
static bool border(struct trainer *t, const char **end, struct gm_error *err)
{
    bool asked_eval = take_ask(t, &t->ask_eval), asked_save = take_ask(t, &t->ask_save);
    *end = NULL;
    if (t->valid && !t->now.evaluated && (asked_eval || is_due(t, t->o.steps_per_eval)) &&
        !evaluate(t, err))
        return false;
    if (t->samples && !t->now.sampled && !atomic_load(&t->stop) && is_due(t, t->o.sample_every) &&
        !make_samples(t, err))
        return false;
    bool open = atomic_load(&t->stop) && ((t->valid && !t->now.evaluated) ||
                                          (t->samples && !t->now.sampled)); /* left for a resume */
    if (t->now.step >= t->o.iters)
        *end = open ? NULL : "finished";
    else if (t->o.early_stop > 0 && t->now.evals_without_better >= t->o.early_stop)
        *end = "early stop";
    return save_when_due(t, asked_save, *end != NULL, err);
}

/* Sleeps while paused; saving and evaluating stay possible. */
static bool wait_while_paused(struct trainer *t, struct gm_error *err)
{
    bool was_paused = false, ok = true;
    double since = 0;
    pthread_mutex_lock(&t->mutex);
    while (ok && t->ask_pause && !atomic_load(&t->stop)) {
        bool work = t->ask_save || t->ask_eval;
        if (!was_paused || work) {
            const char *end;
            pthread_mutex_unlock(&t->mutex);
            if (!was_paused) {
                ok = trainer_tell_pause(t, true, err);
                since = clock_seconds();
            }
            was_paused = true;
            ok = ok && (!work || border(t, &end, err));
            pthread_mutex_lock(&t->mutex);
            continue;
        }
        pthread_cond_wait(&t->wake, &t->mutex);
    }
    pthread_mutex_unlock(&t->mutex);
    if (was_paused)
        t->paused_s += clock_seconds() - since;
    return ok && (!was_paused || trainer_tell_pause(t, false, err));
}

/* ---- one update ---- */

static const struct batch *next_batch(void *arg, int i)
{
    struct trainer *t = arg;
    return batcher_fill(t->train, t->now.rows_seen + (int64_t)i * t->o.batch_size, t->o.batch_size);
}

/* "a.jsonl:12, a.jsonl:40": where the rows of the next update come from. */
static void name_rows(struct trainer *t, struct str *out)
{
    for (int64_t i = 0; i < trainer_rows_per_update(t) && i < 4; i++) {
        const struct row *r = batcher_row(t->train, t->now.rows_seen + i);
        str_printf(out, "%s%s:%d", i ? ", " : "", r->file, r->line);
    }
    if (trainer_rows_per_update(t) > 4)
        str_add(out, " ...");
}

/* The weights are those before the bad update: worth keeping when they are finite. */
static bool fail_not_finite(struct trainer *t, enum step_outcome how, struct gm_error *err)
{
    struct str rows = {0};
    struct gm_error ignored = {0};
    name_rows(t, &rows);
    if (t->now.step > 0 && t->saved_step != t->now.step)
        save(t, "error", &ignored);
    error_set(err, GM_E_INPUT,
              "train %s: the %s of update %d is not finite, rows %s (lower --learning-rate, or "
              "look at these rows)",
              t->name, how == STEP_BAD_LOSS ? "loss" : "gradient", t->now.step + 1,
              str_text(&rows));
    str_free(&rows);
    return false;
}

static bool update(struct trainer *t, struct gm_error *err)
{
    struct step_result r;
    struct checkpoint_state *now = &t->now;
    int64_t rows = trainer_rows_per_update(t);
    double began = clock_seconds(), lr = lr_at(&t->o, now->step + 1, t->o.iters);
    int64_t n_targets = batcher_supervised(t->train, now->rows_seen, (int)rows);
    enum step_outcome how =
        step_run(&t->step, lr, n_targets, t->o.grad_accumulation, next_batch, t, &r);
    if (how != STEP_DONE)
        return fail_not_finite(t, how, err);
    now->step++;
    now->rows_seen += rows;
    now->tokens_seen += r.tokens;
    now->optimizer_updates = t->optimizer->updates;
    now->evaluated = now->sampled = false;
    now->val_loss = now->form_rate = NAN;
    now->form_n = 0;
    t->new_best_loss = t->new_best_form = false;
    t->window_s += clock_seconds() - began;
    t->window_tokens += r.tokens;
    return now->step % t->o.steps_per_report != 0 || trainer_tell_step(t, &r, lr, err);
}

/* ---- the run ---- */

static void list_findings(struct str *s, const struct dataset *d)
{
    static const enum finding WARNED[] = {FIND_NO_ANSWER, FIND_DAMAGED, FIND_DOUBLE_BOS, FIND_CHAT_MARK, FIND_DUPLICATE, FIND_TWIN};
    for (size_t i = 0; i < sizeof WARNED / sizeof *WARNED; i++)
        if (d->found[WARNED[i]])
            str_printf(s, "%s%d %s", s->len ? ", " : "", d->found[WARNED[i]], finding_name(WARNED[i]));
}

/* Conversations whose former answers the template writes in another way: they are not trained. */
static void list_rewritten(struct str *s, const struct trainer *t)
{
    int n = 0;
    if (!t->tpl || !t->o.mask_prompt || !chat_rewrites_turns(t->tpl))
        return;
    for (int i = 0; i < t->dataset->n_rows; i++)
        n += t->dataset->rows[i].n_messages > 3;
    if (n)
        str_printf(s, "%d conversations have several answers, and this model's template writes all but the last in another way: the last "
                      "one alone is trained", n);
}

/* One warning: what was put into s, and where to read more. */
static bool warn(struct trainer *t, struct str *s, bool data_tells_more, struct gm_error *err)
{
    if (s->len == 0)
        return true;
    if (data_tells_more) {
        str_add(s, " (gemmaiku data ");
        for (const char *p = t->o.data; *p; p++)
            str_add_char(s, *p == '\n' ? ' ' : *p);
        str_add(s, " names them)");
    }
    bool ok = trainer_tell_warning(t, str_text(s), err);
    str_clear(s);
    return ok;
}

static bool warn_of_data(struct trainer *t, struct gm_error *err)
{
    const struct dataset *d = t->dataset;
    struct str s = {0};
    const int cut = d->found[FIND_CUT];
    if (cut)
        str_printf(&s, "%d %s cut at %d tokens", cut, cut == 1 ? "row is" : "rows are", t->o.max_seq_length);
    if (d->n_skipped)
        str_printf(&s, "%s%d %s nothing to learn from and %s skipped", s.len ? "; " : "", d->n_skipped, d->n_skipped == 1 ? "row has" : "rows have",
                   d->n_skipped == 1 ? "is" : "are");
    bool ok = (!t->start_warning || trainer_tell_warning(t, t->start_warning, err)) && warn(t, &s, true, err);
    list_rewritten(&s, t);
    ok = ok && warn(t, &s, false, err);
    list_findings(&s, d);
    if (s.len) {
        char *found = str_take(&s);
        str_printf(&s, "the data gate found rows: %s", found);
        mem_free(found);
    }
    ok = ok && warn(t, &s, true, err);
    if (!t->valid)
        str_add(&s, "there are no validation rows: no validation loss, and the best checkpoint is "
                    "the last one");
    else if (t->n_valid_leaks)
        str_printf(&s,
                   "%d of %d validation rows share their prompt or a line with train: the "
                   "validation loss looks better than it is",
                   t->n_valid_leaks, d->count[SPLIT_VALID]);
    ok = ok && warn(t, &s, false, err);
    for (int i = 0; ok && i < t->model->n_notes; i++)
        ok = trainer_tell_warning(t, t->model->notes[i], err);
    str_free(&s);
    return ok;
}

/* Until the end, a stop or an error; *reason says which. */
static bool run_loop(struct trainer *t, const char **reason, struct gm_error *err)
{
    for (;;) {
        if (!border(t, reason, err))
            return false;
        if (*reason)
            return true;
        if (!wait_while_paused(t, err))
            return false;
        if (atomic_load(&t->stop)) {
            *reason = "stopped";
            return t->saved_step == t->now.step || t->now.step == 0 || save(t, "stop", err);
        }
        if (!update(t, err))
            return false;
    }
}

bool trainer_run(struct trainer *t, struct gm_error *err)
{
    const char *reason = NULL;
    struct gm_error why = {0};
    t->began_s = clock_seconds();
    bool ok = trainer_tell_start(t, &why) && (t->resumed || warn_of_data(t, &why)) &&
              run_loop(t, &reason, &why);
    if (ok) {
        ok = trainer_tell_end(t, reason, &why);
        if (ok && strcmp(reason, "stopped") == 0)
            ok = error_set(&why, GM_E_CANCELLED,
                           "train %s: stopped after step %d (gemmaiku resume %s goes on)", t->name,
                           t->now.step, t->name);
    } else {
        struct gm_error ignored = {0};
        trainer_tell_end(t, why.text, &ignored);
    }
    if (!ok && err)
        *err = why;
    return ok;
}
