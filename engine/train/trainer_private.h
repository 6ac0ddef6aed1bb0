/* trainer_private.h - a training run from the inside: what trainer_open.c builds, trainer.c drives
 * and trainer_events.c reports. */
#ifndef GM_TRAIN_TRAINER_PRIVATE_H
#define GM_TRAIN_TRAINER_PRIVATE_H

#include "engine/train/checkpoint.h"
#include "engine/train/eval.h"
#include "engine/train/forecast.h"
#include "engine/train/journal.h"
#include "engine/train/samples.h"
#include "engine/train/step.h"
#include "engine/train/trainer.h"

#include "engine/base/file.h"

#include <pthread.h>
#include <stdatomic.h>

struct trainer {
    struct train_options o; /* iters, kernel, compute, recompute_layers are resolved here */
    char *run_dir, *name;
    struct train_listener listener;
    struct pool *pool;
    struct compute compute;

    struct model *model;
    struct model_source *source; /* model->source, or own_source for random weights */
    bool own_source;
    struct tokenizer *tokenizer;
    struct chat_template *tpl; /* NULL: the model has none that is known, and no row needs one */
    struct dataset *dataset;
    int n_valid_leaks;

    struct batcher *train, *valid; /* valid NULL: no validation rows */
    struct lora *lora;             /* NULL: full fine-tuning */
    char *start_warning;           /* of the adapter it starts from; NULL: none */
    struct optimizer *optimizer;
    float *grads;
    struct pass *pass;
    struct samples *samples; /* NULL: none wanted */
    struct step step;
    struct forecast_input input; /* what the plan was made of */
    struct forecast plan;

    struct lock lock;
    struct journal journal, samples_journal;
    bool resumed;
    int resumed_from;

    struct checkpoint_state now; /* where the run stands */
    int saved_step;              /* of the newest checkpoint, -1: none */
    bool saved_whole; /* that checkpoint knows of the evaluation and samples of its step */
    bool new_best_loss, new_best_form; /* at this step */
    double began_s, elapsed_before_s, paused_s;
    double window_s; /* time in steps, and tokens, since the last report */
    int64_t window_tokens;

    pthread_mutex_t mutex; /* asks */
    pthread_cond_t wake;
    bool ask_save, ask_eval, ask_pause;
    atomic_bool stop;
    pthread_mutex_t weights; /* held while the weights change, and while they are copied */
};

/* trainer_events.c: each event goes to the journal first, then to the listener. False: the journal
 * could not be written. */
double trainer_time_s(const struct trainer *t);
bool trainer_tell_start(struct trainer *t, struct gm_error *err);
bool trainer_tell_step(struct trainer *t, const struct step_result *r, double lr,
                       struct gm_error *err);
bool trainer_tell_eval(struct trainer *t, const struct eval_result *r, struct gm_error *err);
bool trainer_tell_sample(void *trainer, const struct generated *g, struct gm_error *err);
bool trainer_tell_form(struct trainer *t, const struct sample_rate *rate, struct gm_error *err);
bool trainer_tell_checkpoint(struct trainer *t, struct gm_error *err);
bool trainer_tell_warning(struct trainer *t, const char *text, struct gm_error *err);
bool trainer_tell_pause(struct trainer *t, bool paused, struct gm_error *err);
bool trainer_tell_end(struct trainer *t, const char *reason, struct gm_error *err);

/* trainer_open.c */
struct checkpoint_parts trainer_parts(const struct trainer *t);
int64_t trainer_rows_per_update(const struct trainer *t);

/* origin.c: what the adapter in training will say in its file. */
struct run_origin;
void trainer_set_origin(struct trainer *t, const struct run_origin *run);

#endif
