/* optimizer.c - see optimizer.h. The arithmetic of Adam stands in the kernel adamw_update; here is
 * what surrounds it. */
#include "engine/train/optimizer.h"

#include "engine/base/mem.h"
#include "engine/kernel/ops.h"

#include <math.h>

struct optimizer *optimizer_new(const struct train_options *t, size_t count, struct gm_error *err)
{
    struct optimizer *o = mem_new(1, sizeof *o);
    *o = (struct optimizer){.kind = t->optimizer,
                            .beta1 = t->beta1,
                            .beta2 = t->beta2,
                            .eps = t->eps,
                            .weight_decay = t->optimizer == OPT_ADAM ? 0 : t->weight_decay,
                            .max_grad_norm = t->max_grad_norm,
                            .bias_correction = t->bias_correction,
                            .count = count};
    if (o->kind == OPT_SGD)
        return o;
    o->m = mem_alloc(count * sizeof(float), "first moments of the optimiser", err);
    o->v = o->m ? mem_alloc(count * sizeof(float), "second moments of the optimiser", err) : NULL;
    if (!o->v) {
        optimizer_free(o);
        return NULL;
    }
    return o;
}

void optimizer_free(struct optimizer *o)
{
    if (!o)
        return;
    mem_free(o->m);
    mem_free(o->v);
    mem_free(o);
}

bool optimizer_norm(const struct optimizer *o, const struct compute *c, const float *g,
                    double *norm)
{
    *norm = sqrt(sum_squares(c, g, (int64_t)o->count));
    return isfinite(*norm);
}

/* w -= lr (g s + decay w), in blocks that do not depend on the number of threads. */
struct sgd {
    float lr, s, decay;
    float *w;
    const float *g;
    size_t count;
};
enum { SGD_BLOCK = 16384 };

static void sgd_block(void *arg, int block, int slot)
{
    const struct sgd *u = arg;
    size_t from = (size_t)block * SGD_BLOCK,
           to = from + SGD_BLOCK < u->count ? from + SGD_BLOCK : u->count;
    for (size_t i = from; i < to; i++)
        u->w[i] -= u->lr * (u->g[i] * u->s + u->decay * u->w[i]);
}

void optimizer_apply(struct optimizer *o, const struct compute *c, double lr, float *w,
                     const float *g, double norm)
{
    double clip = o->max_grad_norm > 0 ? o->max_grad_norm / (norm + 1e-6) : 1;
    float s = clip < 1 ? (float)clip : 1.0f;
    o->updates++;
    if (o->kind == OPT_SGD) {
        struct sgd u = {(float)lr, s, (float)o->weight_decay, w, g, o->count};
        pool_run(c->pool, c->role, sgd_block, &u, (int)((o->count + SGD_BLOCK - 1) / SGD_BLOCK));
        return;
    }
    struct adam a = {.lr = (float)lr,
                     .beta1 = (float)o->beta1,
                     .beta2 = (float)o->beta2,
                     .eps = (float)o->eps,
                     .weight_decay = (float)o->weight_decay,
                     .bias1 = 1,
                     .bias2 = 1};
    if (o->bias_correction) {
        a.bias1 = (float)(1 - pow(o->beta1, (double)o->updates));
        a.bias2 = (float)(1 - pow(o->beta2, (double)o->updates));
    }
    adamw_update(c, &a, w, o->m, o->v, g, s, (int64_t)o->count);
}
