/* probe.h - how long the parts of a training step take here and now: a few layers of the very model are run forward and backward, by the
 * code that will train them, on batches as they will come. A table of machines would know neither this machine nor what else it does.
 *
 * A step of n layers, of which w are walked back and r computed again, then takes
 *     (n + r) forward + (w - 1) backward + lowest + head + parameters x parameter
 * each for as many tokens (targets) as it has. Nothing of the model, of an adapter or of any stream of random numbers changes.
 * Memory: a pass of a few layers while it measures; the packing memory of `compute` grows to what the run needs, and stays. Threads: the
 * one that owns `compute`.
 *
 *     struct probe p;
 *     if (probe_run(&(struct probe_request){.model = m, .lora = &lora, .compute = &c, .limits = limits, .seconds = 0.3}, &p, &err))
 *         step_s = probe_step(&p, m->config.n_layers, walked, 0, tokens, targets) + count * p.parameter;
 */
#ifndef GM_TRAIN_PROBE_H
#define GM_TRAIN_PROBE_H

#include "engine/model/pass.h"
#include "engine/train/options.h"

struct probe_request {
    const struct model *model; /* only its upper layers are run */
    const struct train_options *options;
    const struct compute *compute;
    struct pass_limits limits; /* of the largest batch of the run */
    const struct batch *(*batch)(void *arg, int i); /* the run's batches; NULL: as large as the limits */
    void *arg;
    double seconds; /* no further batch is begun after so many */
};
struct probe {
    double tokens, targets;           /* that were measured; 0: nothing was */
    double embed, forward, backward;  /* forward, backward: of one layer; seconds for `tokens` */
    double lowest;                    /* backward of the lowest layer: to its adapters only */
    double head, head_loss;           /* with gradient and without; seconds for `targets` */
    double adapters;                  /* share of a layer's time that grows with the rank */
    double parameter;                 /* of the optimiser, a parameter */
    size_t packing;                   /* bytes that the packing memory of `compute` grew by */
};
bool probe_run(const struct probe_request *r, struct probe *p, struct gm_error *err);
/* The packing alone, by one step of one layer: for who wants no times. */
bool probe_packing(const struct probe_request *r, size_t *bytes, struct gm_error *err);
/* Seconds of a step without the optimiser, and of a loss without gradient. */
double probe_step(const struct probe *p, int layers, int walked, int recomputed, double tokens, double targets);
double probe_loss(const struct probe *p, int layers, double tokens, double targets);

#endif
