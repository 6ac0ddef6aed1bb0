/* step.h - one optimiser update: gradients of all its micro-batches, norm, clipping, the new
 * weights.
 *
 * The trainer and the tests that compare with other libraries call this same function. Loss: sum of
 * -log p over all targets of the update, divided by their number, so that accumulation changes
 * memory and nothing else. Nothing is allocated. Threads: the one that owns pass and compute.
 *
 *     struct step s = {.pass = p, .compute = &c, .lora = l, .optimizer = o, .grads = g};
 *     enum step_outcome how = step_run(&s, lr, n_targets, n_micro, next, arg, &result);
 */
#ifndef GM_TRAIN_STEP_H
#define GM_TRAIN_STEP_H

#include "engine/model/pass.h"
#include "engine/train/optimizer.h"

#include <pthread.h>

struct step {
    struct pass *pass;
    const struct compute *compute;
    struct lora *lora;   /* trained (bound, where it is DoRA), or NULL: */
    struct model *model; /* all of it (model_make_trainable was called) */
    struct optimizer *optimizer;
    float *grads; /* [number of parameters] */
    uint64_t dropout_seed;
    pthread_mutex_t *weights; /* held while the weights change; may be NULL */
};
/* Where its time went: the parts of the pass over all micro-batches, clipping and update, the rest.
 * They add up to `seconds`. */
enum { STEP_PARTS = PASS_PARTS + 2 };
struct step_parts {
    struct pass_part part[STEP_PARTS];
    int n;
    double seconds;
};
struct step_result {
    double loss, grad_norm; /* loss before the update; norm before clipping */
    int64_t tokens, targets;
    struct step_parts parts;
};
/* Micro-batch i of the update, valid until the next call. */
typedef const struct batch *(*step_next)(void *arg, int i);
enum step_outcome {
    STEP_DONE,
    STEP_BAD_LOSS,
    STEP_BAD_GRADIENT
}; /* bad: not finite; the weights are as before */

enum step_outcome step_run(struct step *s, double lr, int64_t n_targets, int n_micro,
                           step_next next, void *arg, struct step_result *r);

#endif
