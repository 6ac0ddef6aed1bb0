/* differences.h - a gradient against difference quotients of the loss. */
#ifndef MODEL_DIFFERENCES_H
#define MODEL_DIFFERENCES_H

#include "model_test.h"

#include "engine/base/rng.h"

/* Directional finite differences of the loss in the weights w (n of them) along `v`. */
struct probe {
    struct pass *p;
    const struct compute *c;
    struct model *m;
    const struct lora *l;
    const struct batch *b;
    float *w;
    size_t n;
    uint64_t seed;
    float *grads;
    struct lora *magnitudes; /* DoRA: w holds m, which has to be told; NULL: the lengths stay */
};

static inline double loss_at(const struct probe *k)
{
    if (k->m->full.count > 0)
        model_norms_changed(k->m);
    if (k->magnitudes)
        lora_changed(k->magnitudes, k->c);
    memset(k->grads, 0, k->n * sizeof *k->grads);
    return pass_loss_and_grad(k->p, k->c, k->l, k->b, 1, k->seed, 3,
                              k->grads); /* the same dropout every time */
}

/* Compares g·v with a fourth-order difference quotient; v has one sign per weight and the size of
 * `scale`. */
static inline void check_direction(struct probe *k, const float *g, size_t first, size_t count,
                            const char *what, double step, double tolerance)
{
    float *keep = mem_new(count, sizeof *keep), *v = mem_new(count, sizeof *v);
    struct rng r = rng_stream(first + 1, "direction", 0);
    double want = 0, at[4];
    static const double steps[4] = {-2, -1, 1, 2};
    memcpy(keep, k->w + first, count * sizeof *keep);
    double length = 0;
    for (size_t i = 0; i < count; i++)
        length += (double)g[first + i] * (double)g[first + i];
    for (size_t i = 0; i < count;
         i++) { /* along the gradient, with noise: the difference is well above rounding */
        v[i] = (float)((double)g[first + i] / sqrt(length / (double)count + 1e-30) +
                       0.5 * rng_normal(&r));
        want += (double)g[first + i] * (double)v[i];
    }
    double h = step / sqrt((double)count);
    for (int s = 0; s < 4; s++) {
        for (size_t i = 0; i < count; i++)
            k->w[first + i] = (float)((double)keep[i] + steps[s] * h * (double)v[i]);
        at[s] = loss_at(k);
    }
    memcpy(k->w + first, keep, count * sizeof *keep);
    double have = (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * h);
    if (!(fabs(have - want) <= tolerance * fabs(want) + 1e-9))
        fail_msg("%s: difference quotient %g, gradient %g", what, have, want);
    mem_free(keep);
    mem_free(v);
}

#endif
