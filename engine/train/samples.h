/* samples.h - what the model writes at a step: some prompts of the validation rows, each at every
 * temperature, with a verdict.
 *
 * A sample is a function of weights, step and seed: prompts rotate with the step, seeds come from a
 * stream of their own, so that sampling never moves the training. Memory: planned once. Threads:
 * the trainer's.
 */
#ifndef GM_TRAIN_SAMPLES_H
#define GM_TRAIN_SAMPLES_H

#include "engine/infer/generate.h"
#include "engine/train/dataset.h"
#include "engine/train/options.h"

struct samples;
struct sample_rate {
    int n, strict; /* of the samples at temperature 0.7, or of all where none has it */
};
/* NULL without an error: no row has a prompt. The syllable table is opened here. */
struct samples *samples_new(const struct model *m, const struct tokenizer *t,
                            const struct chat_template *tpl, const struct dataset *d,
                            const struct train_options *o, const struct compute *c,
                            struct gm_error *err);
void samples_free(struct samples *s);
/* Seconds that a set of samples takes, from the first few tokens of one; for forecasts. A set ends with its longest answer, and of so many
 * one nearly always runs on to sample_max_tokens. */
bool samples_time(struct samples *s, const struct compute *c, const struct lora *lora, double *seconds, struct gm_error *err);
/* Calls fn for each sample, in order; false from fn ends it as an error. Cancelled: true with
 * rate->n 0, and fn was not called. */
bool samples_run(struct samples *s, const struct compute *c, const struct lora *lora, int step,
                 const char *adapter, atomic_bool *cancel,
                 bool (*fn)(void *arg, const struct generated *g, struct gm_error *err), void *arg,
                 struct sample_rate *rate, struct gm_error *err);

#endif
