/* options.h - everything that a training run is told, with its defaults, as one plain value.
 *
 * The command line, a YAML/JSON file, the workbench and run.json fill the same struct;
 * train_options_check() says what does not go together. Texts belong to the struct (mem_copy,
 * train_options_free). Names and defaults: docs/options.md.
 */
#ifndef GM_TRAIN_OPTIONS_H
#define GM_TRAIN_OPTIONS_H

#include "engine/kernel/compute.h"
#include "engine/format/json.h"
#include "engine/model/lora.h"

enum fine_tune { TUNE_LORA, TUNE_FULL, TUNE_DORA };
enum lr_schedule { LR_CONSTANT, LR_LINEAR, LR_COSINE, LR_EXPONENTIAL, LR_STEP };
enum optimizer_kind { OPT_ADAMW, OPT_ADAM, OPT_SGD };
enum { TRAIN_MAX_TEMPS = 8, TRAIN_MAX_LR_ARGUMENTS = 3 };

struct train_options {
    char *model, *data, *run, *system, *chat_template, *chat_template_config, *resume_adapter;
    const char *run_stem; /* run NULL: of its name, which a number follows; NULL: MODEL-DATA. Borrowed */
    bool init_random;
    enum fine_tune tune; /* lora.dora says the same as TUNE_DORA (train_options_tune) */
    int iters;     /* optimiser updates */
    double epochs; /* > 0: instead of iters */
    int batch_size, grad_accumulation;
    double learning_rate;
    enum lr_schedule schedule;
    double warmup; /* a number of updates, or a share (0.03) when warmup_percent */
    bool warmup_percent;
    /* A schedule with its own numbers, as mlx-lm's lr_schedule tells it; n = 0: ours. */
    double lr_arguments[TRAIN_MAX_LR_ARGUMENTS];
    int n_lr_arguments;
    double warmup_init; /* with arguments: the rate that the warm-up begins at */
    enum optimizer_kind optimizer;
    double beta1, beta2, eps, weight_decay, max_grad_norm;
    bool bias_correction;
    struct lora_options lora;
    int max_seq_length;
    bool mask_prompt, shuffle;
    int checkpoint_layers;  /* -1 auto: as many layers are computed again as memory_budget wants; 0 none, 1 all */
    uint64_t memory_budget; /* bytes for the whole process; 0: what the machine has free, less a margin (forecast.h) */
    bool head_skip;         /* struct compute */
    int recompute_layers;   /* what was decided, for the reader of run.json; -1: nothing yet. Bits do not depend on it */
    int steps_per_report, steps_per_eval, val_batches, save_every, sample_every;
    float temps[TRAIN_MAX_TEMPS];
    int n_temps, samples_per_temp, sample_max_tokens;
    int early_stop; /* 0 = off; evaluations without a better loss */
    uint64_t seed, init_seed;
    enum compute_mode compute;
    enum family kernel;
    int threads;
};

struct train_options train_options_default(void);
void train_options_tune(struct train_options *o, enum fine_tune tune);
bool train_options_check(const struct train_options *o, struct gm_error *err);
json_t *train_options_to_json(const struct train_options *o); /* for run.json */
bool train_options_from_json(struct train_options *o, json_t *json, const char *label,
                             struct gm_error *err);
struct train_options train_options_copy(const struct train_options *o); /* owns its texts */
void train_options_free(struct train_options *o);                       /* the texts */

/* Rate of update t, counted from 1: t <= W: lr t/W; then the schedule down to 0.1 lr at the last
 * update. With lr_arguments, s = t - 1 counts from 0 as in MLX, and the first update has the rate
 * warmup_init: s <= W: warmup_init + (lr - warmup_init) s/W, then with s -= W + 1:
 *     cosine       [lr, steps, end = 0]  end + (lr - end) (1 + cos(pi min(s, steps) / steps)) / 2
 *     linear       [lr, end, steps]      lr + (end - lr) min(s, steps) / steps
 *     exponential  [lr, factor]          lr factor^s
 *     step         [lr, factor, size]    lr factor^floor(s / size)
 */
double lr_at(const struct train_options *o, int64_t t, int64_t last);

#endif
