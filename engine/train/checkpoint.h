/* checkpoint.h - the state of a run at one step, as a folder that appears whole or not at all.
 *
 *     checkpoints/0000600/  adapters.safetensors + adapter_config.json (MLX layout), or for full
 * fine-tuning model.safetensors in f32 with config and tokenizer (it opens as a model);
 * optimizer.safetensors (moments, by name); state.json (everything else, and the size and hash of
 * each file)
 *
 * Saving: a hidden folder beside the others, every file flushed, the folder flushed, renamed, the
 * parent flushed. Loading checks every file against state.json. Nothing that is not finite is ever
 * saved. Threads: the trainer's; readers need no lock.
 */
#ifndef GM_TRAIN_CHECKPOINT_H
#define GM_TRAIN_CHECKPOINT_H

#include "engine/train/optimizer.h"
#include "engine/text/tokenizer.h"
#include "engine/train/run.h"

struct checkpoint_state {
    int step;
    int64_t optimizer_updates;
    int64_t rows_seen; /* where the tape of rows stands (batch.h) */
    int64_t tokens_seen;
    double elapsed_s;        /* training time of the run so far */
    bool evaluated, sampled; /* what was due at this step is done */
    double val_loss;         /* NaN: not evaluated at this step */
    double form_rate;        /* NaN: no samples at this step */
    int form_n;
    double best_loss; /* of all evaluations so far; NaN: none */
    double best_form, best_form_loss;
    int evals_without_better;
    char why[16]; /* "schedule", "best", "asked", "stop", "end", "error" */
};
/* What is saved and loaded. */
struct checkpoint_parts {
    struct lora *lora; /* or NULL: */
    struct model *model;
    struct optimizer *optimizer;
    const char *model_name;
    const struct model_source *source; /* config and tokenizer for full fine-tuning */
    const struct tokenizer *tokenizer;
    const char *template_text;
};

char *checkpoint_path(const char *run_dir, int step);
bool checkpoint_save(const char *run_dir, const struct checkpoint_parts *p,
                     const struct checkpoint_state *s, struct gm_error *err);
/* The same step again, with the same weights: state.json alone. */
bool checkpoint_update(const char *run_dir, const struct checkpoint_state *s, struct gm_error *err);
/* Reads and checks all files, then fills parts and state. On failure parts may be partly filled:
 * load another one. */
bool checkpoint_load(const char *run_dir, int step, const struct checkpoint_parts *p,
                     struct checkpoint_state *s, struct gm_error *err);
bool checkpoint_read_state(const char *dir, struct checkpoint_state *s, uint64_t *bytes,
                           struct gm_error *err);
bool checkpoint_remove(const char *run_dir, int step, struct gm_error *err);
/* Steps that have a folder with state.json, ascending; mem_free. */
bool checkpoint_steps(const char *run_dir, int **steps, int *n, struct gm_error *err);
/* What killed savings left behind. Only for the holder of the lock. */
void checkpoint_sweep(const char *run_dir);
uint64_t checkpoint_bytes(const struct checkpoint_parts *p);

#endif
