/* lora.c - adapters in memory: where each A and B stands in the flat array, how they begin, copies.
 * Files: lora_file.c. */
#include "engine/model/lora_private.h"

#include "engine/base/mem.h"
#include "engine/base/rng.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static int64_t place(struct param_set *set, int layer, const struct module *m, char half,
                     int64_t rows, int64_t cols)
{
    struct param *param = &set->params[set->n_params++];
    *param = (struct param){.offset = set->count, .rows = rows, .cols = cols};
    snprintf(param->name, sizeof param->name, "model.layers.%d.%s.%s%c", layer, m->name,
             half == 'm' ? "" : "lora_", half);
    set->count += (size_t)(rows * cols);
    return (int64_t)param->offset;
}

/* The products of a module have its A, and their rows of its B (and of its magnitudes) each. */
static void place_module(struct lora *l, int layer, const struct module *m)
{
    const int64_t rank = l->options.rank;
    struct lora_pair *pair = &l->pairs[layer * PROJ_COUNT + (int)m->first];
    int64_t a = place(&l->set, layer, m, 'a', rank, m->in),
            b = place(&l->set, layer, m, 'b', m->out, rank);
    for (int k = 0; k < m->n; b += pair[k++].out * rank) {
        pair[k].a = a;
        pair[k].b = b;
    }
}

static void place_magnitudes(struct lora *l, int layer, const struct module *m)
{
    struct lora_pair *pair = &l->pairs[layer * PROJ_COUNT + (int)m->first];
    if (pair->a < 0)
        return;
    int64_t at = place(&l->set, layer, m, 'm', 1, m->out);
    for (int k = 0; k < m->n; at += pair[k++].out)
        pair[k].m = at;
}

static bool check_keys(const struct lora_options *o, const struct module *modules, int n,
                       struct gm_error *err)
{
    for (int i = 0; i < n; i++) {
        unsigned bits = module_bits(&modules[i]);
        if ((o->keys & bits) != 0 && (o->keys & bits) != bits)
            return error_set(err, GM_E_USAGE,
                             "make adapter: this model has one matrix %s, of which a part cannot be "
                             "adapted (name it as it is: --keys %s)",
                             modules[i].name, strchr(modules[i].name, '.') + 1);
    }
    return true;
}

struct lora *lora_lay_out(const struct model_config *c, const struct lora_options *o,
                          const bool *present, struct gm_error *err)
{
    struct module modules[MODULE_COUNT_MAX];
    const int n = model_modules(c, modules);
    if (o->rank < 1 || o->rank > LORA_MAX_RANK) {
        error_set(err, GM_E_USAGE, "make adapter: rank %d (1 to %d)", o->rank, LORA_MAX_RANK);
        return NULL;
    }
    if (!present && !check_keys(o, modules, n, err))
        return NULL;
    struct lora *l = mem_new(1, sizeof *l);
    l->options = *o;
    l->n_layers = c->n_layers;
    l->first_layer = lora_first_layer(c, o);
    l->pairs = mem_new((size_t)c->n_layers * PROJ_COUNT, sizeof *l->pairs);
    l->set.params = mem_new((size_t)c->n_layers * PROJ_COUNT * 3, sizeof *l->set.params);
    for (int i = 0; i < c->n_layers * PROJ_COUNT; i++) {
        int64_t out, in;
        proj_shape(c, (enum proj)(i % PROJ_COUNT), &out, &in);
        l->pairs[i] = (struct lora_pair){.a = -1, .b = -1, .m = -1, .in = (int)in, .out = (int)out};
    }
    for (int layer = 0; layer < c->n_layers; layer++)
        for (int k = 0; k < n; k++)
            if (present ? present[layer * PROJ_COUNT + (int)modules[k].first]
                        : layer >= l->first_layer && (o->keys & module_bits(&modules[k])) != 0)
                place_module(l, layer, &modules[k]);
    size_t matrices = l->set.count;
    for (int layer = 0; o->dora && layer < c->n_layers; layer++)
        for (int k = 0; k < n; k++)
            place_magnitudes(l, layer, &modules[k]);
    l->dora.n_rows = l->set.count - matrices;
    if (l->set.count == 0)
        error_set(err, GM_E_USAGE, "make adapter: no projection is chosen");
    else
        l->set.w = mem_alloc(l->set.count * sizeof *l->set.w, "adapter", err);
    if (l->set.w)
        return l;
    lora_free(l);
    return NULL;
}

double lora_scale_of(double alpha, int rank, bool rslora)
{
    return alpha / (rslora ? sqrt(rank) : rank);
}

int lora_first_layer(const struct model_config *c, const struct lora_options *o)
{
    return o->num_layers > 0 && o->num_layers < c->n_layers ? c->n_layers - o->num_layers : 0;
}

struct lora *lora_new(const struct model_config *c, const struct lora_options *o, uint64_t seed,
                      struct gm_error *err)
{
    struct lora *l = lora_lay_out(c, o, NULL, err);
    if (l)
        l->dora.m_is_length = o->dora;
    for (int i = 0; l && i < l->set.n_params && l->set.params[i].offset < l->set.count - l->dora.n_rows; i += 2) { /* A; B stays zero */
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
    mem_free(l->dora.length2);
    mem_free(l->dora.gain);
    mem_free(l->dora.work);
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
    copy->dora.work = NULL;
    if (l->dora.gain) {
        copy->dora.length2 = duplicate(l->dora.length2, l->dora.n_rows, sizeof(float));
        copy->dora.gain = duplicate(l->dora.gain, l->dora.n_rows, sizeof(float));
    }
    return copy;
}
