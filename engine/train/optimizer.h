/* optimizer.h - AdamW, Adam and SGD over one flat array of parameters.
 *
 * Gradients are clipped by their global norm n: g * min(1, max_norm / (n + 1e-6)), as torch's
 * clip_grad_norm_ does. State: two moments (none for SGD) and the number of updates, nothing else.
 * Memory: owned, planned once. Threads: the trainer's.
 *
 *     struct optimizer *o = optimizer_new(&options, set.count, &err);
 *     if (optimizer_norm(o, &compute, grads, &norm))       // false: a gradient is not finite
 *         optimizer_apply(o, &compute, lr, set.w, grads, norm);
 */
#ifndef GM_TRAIN_OPTIMIZER_H
#define GM_TRAIN_OPTIMIZER_H

#include "engine/train/options.h"

struct optimizer {
    enum optimizer_kind kind;
    double beta1, beta2, eps, weight_decay, max_grad_norm;
    bool bias_correction;
    size_t count;
    float *m, *v;    /* NULL for SGD */
    int64_t updates; /* done so far: the exponent of the bias correction */
};

struct optimizer *optimizer_new(const struct train_options *o, size_t count, struct gm_error *err);
void optimizer_free(struct optimizer *o);
bool optimizer_norm(const struct optimizer *o, const struct compute *c, const float *g,
                    double *norm); /* false: not finite */
void optimizer_apply(struct optimizer *o, const struct compute *c, double lr, float *w,
                     const float *g, double norm);

#endif
