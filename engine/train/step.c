/* step.c - see step.h. */
#include "engine/train/step.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum step_outcome step_run(struct step *s, double lr, int64_t n_targets, int n_micro,
                           step_next next, void *arg, struct step_result *r)
{
    struct optimizer *o = s->optimizer;
    float weight = (float)(1.0 / (double)n_targets);
    double nll = 0;
    *r = (struct step_result){0};
    memset(s->grads, 0, o->count * sizeof *s->grads);
    for (int i = 0; i < n_micro; i++) {
        const struct batch *b = next(arg, i);
        uint64_t number = (uint64_t)o->updates * (uint64_t)n_micro +
                          (uint64_t)i; /* of the micro-batch since the run began */
        nll += pass_loss_and_grad(s->pass, s->compute, s->lora, b, weight, s->dropout_seed, number,
                                  s->grads);
        r->tokens += b->T;
        r->targets += b->n_targets;
    }
    assert(r->targets == n_targets);
    r->loss = nll / (double)n_targets;
    if (!isfinite(r->loss))
        return STEP_BAD_LOSS;
    if (!optimizer_norm(o, s->compute, s->grads, &r->grad_norm))
        return STEP_BAD_GRADIENT;
    if (s->weights)
        pthread_mutex_lock(s->weights);
    optimizer_apply(o, s->compute, lr, s->lora ? s->lora->set.w : s->model->full.w, s->grads,
                    r->grad_norm);
    if (s->lora)
        lora_changed(s->lora, s->compute);
    else
        model_norms_changed(s->model);
    if (s->weights)
        pthread_mutex_unlock(s->weights);
    return STEP_DONE;
}
