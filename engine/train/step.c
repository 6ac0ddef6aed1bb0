/* step.c - see step.h. */
#include "engine/train/step.h"

#include "engine/base/file.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* Adds the parts of one micro-batch. */
static void add_parts(struct step_parts *to, const struct pass *pass)
{
    struct pass_part parts[PASS_PARTS];
    int n = pass_parts(pass, parts);
    for (int i = 0; i < n; i++) {
        int k = 0;
        while (k < to->n && to->part[k].name != parts[i].name)
            k++;
        if (k == to->n)
            to->part[to->n++] = (struct pass_part){.name = parts[i].name};
        to->part[k].seconds += parts[i].seconds;
        to->part[k].flops += parts[i].flops;
        to->part[k].bytes += parts[i].bytes;
    }
}

/* What the pass did not measure itself. */
static void finish_parts(struct step_parts *p, double began, double passed, size_t count)
{
    double ended = clock_seconds(), measured = 0;
    for (int i = 0; i < p->n; i++)
        measured += p->part[i].seconds;
    p->part[p->n++] = (struct pass_part){.name = "clip and update",
                                         .seconds = ended - passed,
                                         .bytes = 8.0 * (double)count * sizeof(float)};
    p->part[p->n++] = (struct pass_part){.name = "rest", .seconds = passed - began - measured};
    p->seconds = ended - began;
}

enum step_outcome step_run(struct step *s, double lr, int64_t n_targets, int n_micro,
                           step_next next, void *arg, struct step_result *r)
{
    struct optimizer *o = s->optimizer;
    float weight = (float)(1.0 / (double)n_targets);
    double nll = 0, began = clock_seconds(), passed;
    *r = (struct step_result){0};
    memset(s->grads, 0, o->count * sizeof *s->grads);
    for (int i = 0; i < n_micro; i++) {
        const struct batch *b = next(arg, i);
        uint64_t number = (uint64_t)o->updates * (uint64_t)n_micro +
                          (uint64_t)i; /* of the micro-batch since the run began */
        nll += pass_loss_and_grad(s->pass, s->compute, s->lora, b, weight, s->dropout_seed, number,
                                  s->grads);
        add_parts(&r->parts, s->pass);
        r->tokens += b->T;
        r->targets += b->n_targets;
    }
    assert(r->targets == n_targets);
    passed = clock_seconds();
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
    finish_parts(&r->parts, began, passed, o->count);
    return STEP_DONE;
}
