/* lora.c - adapters in memory: where each A and B stands in the flat array, how they begin, copies.
 * Files: lora_file.c. */
#include "engine/model/lora_private.h"

#include "engine/base/mem.h"
#include "engine/base/rng.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static size_t place(struct param_set *set, int layer, enum proj p, char half, int64_t rows,
                    int64_t cols)
{
    struct param *param = &set->params[set->n_params++];
    *param = (struct param){.offset = set->count, .rows = rows, .cols = cols};
    snprintf(param->name, sizeof param->name, "model.layers.%d.%s.lora_%c", layer, proj_name(p),
             half);
    set->count += (size_t)(rows * cols);
    return param->offset;
}

struct lora *lora_lay_out(const struct model_config *c, const struct lora_options *o,
                          const bool *present, struct gm_error *err)
{
    if (o->rank < 1 || o->rank > LORA_MAX_RANK) {
        error_set(err, GM_E_USAGE, "make adapter: rank %d (1 to %d)", o->rank, LORA_MAX_RANK);
        return NULL;
    }
    struct lora *l = mem_new(1, sizeof *l);
    l->options = *o;
    l->n_layers = c->n_layers;
    l->first_layer = lora_first_layer(c, o);
    l->pairs = mem_new((size_t)c->n_layers * PROJ_COUNT, sizeof *l->pairs);
    l->set.params = mem_new((size_t)c->n_layers * PROJ_COUNT * 2, sizeof *l->set.params);
    for (int i = 0; i < c->n_layers * PROJ_COUNT; i++) {
        int layer = i / PROJ_COUNT;
        enum proj p = (enum proj)(i % PROJ_COUNT);
        int64_t out, in;
        proj_shape(c, p, &out, &in);
        l->pairs[i] = (struct lora_pair){.a = -1, .b = -1, .in = (int)in, .out = (int)out};
        if (present ? !present[i] : layer < l->first_layer || !(o->keys >> p & 1))
            continue;
        l->pairs[i].a = (int64_t)place(&l->set, layer, p, 'a', o->rank, in);
        l->pairs[i].b = (int64_t)place(&l->set, layer, p, 'b', out, o->rank);
    }
    if (l->set.count == 0)
        error_set(err, GM_E_USAGE, "make adapter: no projection is chosen");
    else
        l->set.w = mem_alloc(l->set.count * sizeof *l->set.w, "adapter", err);
    if (l->set.w)
        return l;
    lora_free(l);
    return NULL;
}

int lora_first_layer(const struct model_config *c, const struct lora_options *o)
{
    return o->num_layers > 0 && o->num_layers < c->n_layers ? c->n_layers - o->num_layers : 0;
}

struct lora *lora_new(const struct model_config *c, const struct lora_options *o, uint64_t seed,
                      struct gm_error *err)
{
    struct lora *l = lora_lay_out(c, o, NULL, err);
    for (int i = 0; l && i < l->set.n_params; i += 2) { /* A; B stays zero */
        const struct param *a = &l->set.params[i];
        struct rng r = rng_stream(seed, "lora-init", (uint64_t)i);
        double bound = 1 / sqrt((double)a->cols);
        for (int64_t k = 0; k < a->rows * a->cols; k++)
            l->set.w[a->offset + (size_t)k] = (float)(bound * (2 * rng_uniform(&r) - 1));
    }
    return l;
}

void lora_free(struct lora *l)
{
    if (!l)
        return;
    mem_free(l->pairs);
    mem_free(l->set.params);
    mem_free(l->set.w);
    mem_free(l);
}

static void *duplicate(const void *from, size_t count, size_t size)
{
    void *to = mem_new(count, size);
    memcpy(to, from, count * size);
    return to;
}

struct lora *lora_copy(const struct lora *l)
{
    struct lora *copy = duplicate(l, 1, sizeof *l);
    copy->pairs = duplicate(l->pairs, (size_t)l->n_layers * PROJ_COUNT, sizeof *l->pairs);
    copy->set.params = duplicate(l->set.params, (size_t)l->set.n_params, sizeof *l->set.params);
    copy->set.w = duplicate(l->set.w, l->set.count, sizeof *l->set.w);
    return copy;
}

void lora_copy_from(struct lora *dst, const struct lora *src)
{
    assert(dst->set.count == src->set.count && dst->options.rank == src->options.rank);
    dst->options = src->options;
    memcpy(dst->set.w, src->set.w, src->set.count * sizeof *src->set.w);
}
