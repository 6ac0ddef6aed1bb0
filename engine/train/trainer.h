/* trainer.h - a training run from the first evaluation to the last checkpoint.
 *
 * trainer_new opens model, data, run directory (or an existing run: trainer_resume) and plans all
 * memory; trainer_run trains until the end, a stop or an error. The listener is called on the
 * trainer's thread; it must be quick and must not call back except the trainer_ask_* functions,
 * which any thread may call at any time.
 *
 *     struct trainer *t = trainer_new(&options, root, pool, &listener, &err);
 *     bool ok = trainer_run(t, &err);      // err.code GM_E_CANCELLED: stopped after saving
 *     trainer_free(t);
 */
#ifndef GM_TRAIN_TRAINER_H
#define GM_TRAIN_TRAINER_H

#include "engine/train/dataset.h"
#include "engine/train/forecast.h"
#include "engine/train/run.h"
#include "engine/train/step.h"
#include "engine/infer/generate.h"

enum train_event_kind {
    TRAIN_STARTED,
    TRAIN_STEP,
    TRAIN_EVAL,
    TRAIN_SAMPLE,
    TRAIN_FORM,
    TRAIN_CHECKPOINT,
    TRAIN_WARNING,
    TRAIN_PAUSED,
    TRAIN_RESUMED,
    TRAIN_ENDED
};
struct train_event {
    enum train_event_kind kind;
    int step, iters;
    double time_s;
    double loss, grad_norm, learning_rate, tokens_per_second, epoch; /* STEP; EVAL: loss */
    int64_t tokens, supervised_tokens;
    size_t memory_bytes;
    const struct step_parts *parts;   /* STEP: where its time went; valid during the call */
    double rate, rate_low, rate_high; /* FORM */
    int n;
    const struct generated *sample; /* SAMPLE: valid during the call */
    const char *path, *best;        /* CHECKPOINT: best NULL, "loss", "form", "both" */
    const char *text;               /* WARNING, ENDED: reason */
};
struct train_listener {
    void (*event)(void *arg, const struct train_event *e);
    void *arg;
};

struct trainer;
struct trainer *trainer_new(const struct train_options *o, const char *runs_root, struct pool *pool,
                            const struct train_listener *l, struct gm_error *err);
/* Goes on where the last checkpoint of the run stands; iters > 0 changes the goal. */
struct trainer *trainer_resume(const char *run_dir, int iters, struct pool *pool,
                               const struct train_listener *l, struct gm_error *err);
struct resume_options {
    int iters;       /* > 0: a new goal */
    bool new_kernel; /* compute with `kernel` (AUTO: the fastest here) instead of the family the run
                        began with; told in the journal */
    enum family kernel;
};
struct trainer *trainer_resume_with(const char *run_dir, const struct resume_options *how,
                                    struct pool *pool, const struct train_listener *l,
                                    struct gm_error *err);
bool trainer_run(struct trainer *t, struct gm_error *err);
void trainer_free(struct trainer *t);
/* Looks only: opens model and data, measures for about `seconds`, and says what a run would take (trainer_forecast), also where that does
 * not fit. No run is made, and the workspace is not; trainer_free is all that may follow. */
struct trainer *trainer_plan(const struct train_options *o, double seconds, struct pool *pool, struct gm_error *err);

/* Any thread, at any time. */
void trainer_ask_stop(struct trainer *t); /* save and end at the next step border */
void trainer_ask_save(struct trainer *t);
void trainer_ask_eval(struct trainer *t);
void trainer_ask_pause(struct trainer *t, bool paused);
/* For tasting: an own copy of the adapter as of the last update (waits while one is being applied).
 * NULL for full fine-tuning. */
/* Not while the caller holds the gate of the pool (pool_hold). */
struct lora *trainer_adapter_copy(struct trainer *t, int *step);

/* Read-only, valid for the trainer's life. */
const struct model *trainer_model(const struct trainer *t);
const struct tokenizer *trainer_tokenizer(const struct trainer *t);
const struct chat_template *trainer_template(const struct trainer *t);
const struct dataset *trainer_dataset(const struct trainer *t);
const struct train_options *trainer_options(const struct trainer *t);
const char *trainer_run_dir(const struct trainer *t);
const struct compute *trainer_compute(const struct trainer *t);
const struct forecast *trainer_forecast(const struct trainer *t); /* of what was to do when it was opened */
int trainer_changes(const struct trainer *t, struct forecast_change changes[FORECAST_CHANGES]);

#endif
