/* trainer_events.c - what happens in a run, as lines of the journal and as calls of the listener.
 */
#include "engine/train/trainer_private.h"

#include "engine/base/mem.h"

#include <math.h>
#include <string.h>

double trainer_time_s(const struct trainer *t)
{
    return t->elapsed_before_s + (clock_seconds() - t->began_s) - t->paused_s;
}

/* Milliseconds are enough for a reader, and keep the lines short. */
static json_t *rounded(double x, double unit)
{
    return json_number(round(x / unit) * unit);
}

static json_t *line(const struct trainer *t, const char *event, double time_s)
{
    json_t *j = json_object();
    json_object_set_new(j, "event", json_string(event));
    json_object_set_new(j, "step", json_integer(t->now.step));
    json_object_set_new(j, "time_s", rounded(time_s, 1e-3));
    return j;
}

static struct train_event event(const struct trainer *t, enum train_event_kind kind, double time_s)
{
    return (struct train_event){.kind = kind,
                                .step = t->now.step,
                                .iters = t->o.iters,
                                .time_s = time_s,
                                .loss = NAN,
                                .grad_norm = NAN,
                                .learning_rate = NAN,
                                .rate = NAN,
                                .rate_low = NAN,
                                .rate_high = NAN,
                                .epoch = (double)t->now.rows_seen / (double)batcher_rows(t->train)};
}

static bool tell(struct trainer *t, const struct train_event *e)
{
    if (t->listener.event)
        t->listener.event(t->listener.arg, e);
    return true;
}

/* What the validation curve measures. */
static void set_valid_source(const struct trainer *t, json_t *j)
{
    json_object_set_new(j, "valid_rows", json_integer(t->valid ? batcher_rows(t->valid) : 0));
    json_object_set_new(j, "valid_source",
                        json_string(!t->valid                ? "none"
                                    : t->dataset->split_made ? "split from the seed"
                                                             : "file"));
    json_object_set_new(j, "valid_overlap", json_integer(t->n_valid_leaks));
}

bool trainer_tell_start(struct trainer *t, struct gm_error *err)
{
    double now = trainer_time_s(t);
    json_t *j = line(t, t->resumed ? "resume" : "start", now);
    json_object_set_new(j, "iters", json_integer(t->o.iters));
    json_object_set_new(j, "model", json_string(t->o.model));
    json_object_set_new(j, "data", json_string(t->o.data));
    json_object_set_new(j, "parameters", json_integer((json_int_t)t->optimizer->count));
    json_object_set_new(j, "train_rows", json_integer(batcher_rows(t->train)));
    set_valid_source(t, j);
    json_object_set_new(j, "compute", json_string(compute_mode_name(t->compute.mode)));
    json_object_set_new(j, "kernel", json_string(family_name(t->compute.family)));
    json_object_set_new(j, "threads", json_integer(pool_threads(t->pool)));
    json_object_set_new(j, "plan", forecast_json(&t->plan));
    struct train_event e = event(t, TRAIN_STARTED, now);
    e.text = t->name;
    return journal_write(&t->journal, j, true, err) && tell(t, &e);
}

bool trainer_tell_step(struct trainer *t, const struct step_result *r, double lr,
                       struct gm_error *err)
{
    double now = trainer_time_s(t),
           rate = t->window_s > 0 ? (double)t->window_tokens / t->window_s : NAN;
    t->window_s = 0;
    t->window_tokens = 0;
    struct train_event e = event(t, TRAIN_STEP, now);
    e.loss = r->loss;
    e.grad_norm = r->grad_norm;
    e.learning_rate = lr;
    e.tokens = r->tokens;
    e.supervised_tokens = r->targets;
    e.tokens_per_second = rate;
    e.memory_bytes = mem_rss_bytes();
    e.parts = &r->parts;
    json_t *j = line(t, "step", now);
    json_object_set_new(j, "loss", json_number(r->loss));
    json_object_set_new(j, "grad_norm", json_number(r->grad_norm));
    json_object_set_new(j, "learning_rate", json_real(lr));
    json_object_set_new(j, "tokens", json_integer(r->tokens));
    json_object_set_new(j, "supervised_tokens", json_integer(r->targets));
    json_object_set_new(j, "tokens_per_second", rounded(rate, 0.1));
    json_object_set_new(j, "memory_bytes", json_integer((json_int_t)e.memory_bytes));
    return journal_write(&t->journal, j, false, err) && tell(t, &e);
}

bool trainer_tell_eval(struct trainer *t, const struct eval_result *r, struct gm_error *err)
{
    double now = trainer_time_s(t);
    struct train_event e = event(t, TRAIN_EVAL, now);
    e.loss = r->loss;
    e.supervised_tokens = e.tokens = r->tokens;
    e.n = r->rows;
    json_t *j = line(t, "eval", now);
    json_object_set_new(j, "loss", json_number(r->loss));
    json_object_set_new(j, "tokens", json_integer(r->tokens));
    return journal_write(&t->journal, j, false, err) && tell(t, &e);
}

bool trainer_tell_sample(void *trainer, const struct generated *g, struct gm_error *err)
{
    struct trainer *t = trainer;
    struct train_event e = event(t, TRAIN_SAMPLE, trainer_time_s(t));
    e.sample = g;
    return journal_write(&t->samples_journal, generated_json(g), false, err) && tell(t, &e);
}

bool trainer_tell_form(struct trainer *t, const struct sample_rate *rate, struct gm_error *err)
{
    double now = trainer_time_s(t);
    struct train_event e = event(t, TRAIN_FORM, now);
    e.n = rate->n;
    e.rate = (double)rate->strict / rate->n;
    rate_interval(rate->strict, rate->n, &e.rate_low, &e.rate_high);
    json_t *j = line(t, "form", now);
    json_object_set_new(j, "rate", json_real(e.rate));
    json_object_set_new(j, "n", json_integer(e.n));
    json_object_set_new(j, "interval", json_pack("[f, f]", e.rate_low, e.rate_high));
    return journal_write(&t->journal, j, false, err) && tell(t, &e);
}

bool trainer_tell_checkpoint(struct trainer *t, struct gm_error *err)
{
    double now = trainer_time_s(t);
    char *path = checkpoint_path(t->run_dir, t->now.step);
    struct train_event e = event(t, TRAIN_CHECKPOINT, now);
    e.path = path;
    e.best = t->new_best_loss && t->new_best_form ? "both"
             : t->new_best_loss                   ? "loss"
             : t->new_best_form                   ? "form"
                                                  : NULL;
    json_t *j = line(t, "checkpoint", now);
    json_object_set_new(
        j, "path",
        json_string(path + strlen(t->run_dir) + 1)); /* a run that is moved stays readable */
    json_object_set_new(j, "best", e.best ? json_string(e.best) : json_null());
    bool ok = journal_write(&t->journal, j, true, err) && tell(t, &e);
    mem_free(path);
    return ok;
}

bool trainer_tell_warning(struct trainer *t, const char *text, struct gm_error *err)
{
    double now = trainer_time_s(t);
    struct train_event e = event(t, TRAIN_WARNING, now);
    e.text = text;
    json_t *j = line(t, "warning", now);
    json_object_set_new(j, "text", json_text(text));
    return journal_write(&t->journal, j, false, err) && tell(t, &e);
}

bool trainer_tell_pause(struct trainer *t, bool paused, struct gm_error *err)
{
    double now = trainer_time_s(t);
    struct train_event e = event(t, paused ? TRAIN_PAUSED : TRAIN_RESUMED, now);
    json_t *j = line(t, "knob", now);
    json_object_set_new(j, "name", json_string("pause"));
    json_object_set_new(j, "value", json_boolean(paused));
    return journal_write(&t->journal, j, false, err) && tell(t, &e);
}

bool trainer_tell_end(struct trainer *t, const char *reason, struct gm_error *err)
{
    double now = trainer_time_s(t);
    struct train_event e = event(t, TRAIN_ENDED, now);
    e.text = reason;
    json_t *j = line(t, "end", now);
    json_object_set_new(j, "reason", json_string(reason));
    bool ok = journal_write(&t->journal, j, true, err);
    tell(t, &e); /* even when the disk is full */
    return ok;
}
