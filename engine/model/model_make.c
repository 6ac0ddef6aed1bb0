/* model_make.c - models that are not read from a file: random weights, and the flat f32 master of
 * full fine-tuning. */
#include "engine/model/model_items.h"

#include "engine/base/checked.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"

#include <assert.h>
#include <string.h>

static const double INIT_DEVIATION = 0.02;

static size_t stored_bytes(const struct item *i, enum dtype type)
{
    return (size_t)i->rows * (size_t)i->cols * dtype_block_bytes(type);
}

/* Real random numbers for a model that will be trained (f32). */
static void fill_normal(float *to, size_t n, uint64_t seed, uint64_t number)
{
    struct rng r = rng_stream(seed, "model-init", number);
    for (size_t k = 0; k < n; k++)
        to[k] = (float)(INIT_DEVIATION * rng_normal(&r));
}

/* Weights to measure speed with: a tile of a prime length, repeated. */
enum { TILE = 65521 };
static void fill_tiled(uint16_t *to, size_t n, const uint16_t *tile, size_t *at)
{
    for (size_t k = 0; k < n;) {
        size_t run = TILE - *at < n - k ? TILE - *at : n - k;
        memcpy(to + k, tile + *at, run * sizeof *to);
        k += run;
        *at = (*at + run) % TILE;
    }
}

static uint16_t *make_tile(enum dtype type, uint64_t seed)
{
    uint16_t *tile = mem_new(TILE, sizeof *tile);
    struct rng r = rng_stream(seed, "model-init", 0);
    for (int k = 0; k < TILE; k++) {
        float v = (float)(INIT_DEVIATION * rng_normal(&r));
        tile[k] = type == DT_BF16 ? f32_to_bf16(v) : f32_to_f16(v);
    }
    return tile;
}

static bool fill_random(struct model *m, enum dtype type, uint64_t seed, struct gm_error *err)
{
    struct model_memory *memory = m->owned;
    int n;
    struct item *items = model_items(m, &n);
    size_t bytes = 0, at = 0;
    for (int i = 0; i < n; i++)
        bytes += items[i].mat ? arena_cost(stored_bytes(&items[i], type)) : 0;
    unsigned char *to = memory->copies = mem_alloc(bytes, "random weights", err);
    uint16_t *tile = to && type != DT_F32 ? make_tile(type, seed) : NULL;
    for (int i = 0; to && i < n; i++) {
        struct item *item = &items[i];
        if (item->norm) {
            for (int64_t k = 0; k < item->cols; k++)
                ((float *)(uintptr_t)*item->norm)[k] = 1;
            continue;
        }
        size_t count = (size_t)item->rows * (size_t)item->cols;
        if (tile)
            fill_tiled((uint16_t *)(void *)to, count, tile, &at);
        else
            fill_normal((float *)(void *)to, count, seed, (uint64_t)i);
        *item->mat = (struct mat){.data = to,
                                  .type = type,
                                  .rows = item->rows,
                                  .cols = item->cols,
                                  .row_bytes = (size_t)item->cols * dtype_block_bytes(type)};
        to += arena_cost(stored_bytes(item, type));
    }
    mem_free(tile);
    mem_free(items);
    m->weight_bytes = bytes;
    return memory->copies != NULL;
}

struct model *model_random(const struct model_config *c, enum dtype type, uint64_t seed,
                           struct gm_error *err)
{
    if (type != DT_F32 && type != DT_F16 && type != DT_BF16) {
        error_set(err, GM_E_UNSUPPORTED,
                  "make random model: weights of type %s (known: F32, F16, BF16)",
                  dtype_name(type));
        return NULL;
    }
    struct model *m = mem_new(1, sizeof *m);
    m->config = *c;
    if (!model_lay_out(m, err) || !fill_random(m, type, seed, err)) {
        error_context(err, "make random model");
        model_free(m);
        return NULL;
    }
    if (c->tied_head)
        m->head = m->embed;
    return m;
}

bool model_make_trainable(struct model *m, struct gm_error *err)
{
    if (m->full.count > 0)
        return true;
    struct model_memory *memory = m->owned;
    int n;
    struct item *items = model_items(m, &n);
    struct param *params = mem_new((size_t)n, sizeof *params);
    size_t count = 0, values = 0;
    for (int i = 0; i < n; i++) {
        params[i] = (struct param){.offset = count, .rows = items[i].rows, .cols = items[i].cols};
        memcpy(params[i].name, items[i].name, sizeof params[i].name);
        values = (size_t)items[i].rows * (size_t)items[i].cols;
        count += (values + 15) & ~(size_t)15; /* each begins on a cache line */
    }
    float *w = mem_alloc(count * sizeof *w, "trainable weights", err);
    for (int i = 0; w && i < n; i++) {
        float *to = w + params[i].offset;
        if (items[i].norm) {
            for (int64_t k = 0; k < items[i].cols; k++)
                to[k] = (*items[i].norm)[k] - (m->config.norm_plus_one ? 1 : 0);
            continue;
        }
        for (int64_t r = 0; r < items[i].rows; r++)
            mat_row_to_f32(items[i].mat, r, to + r * items[i].cols);
        *items[i].mat = mat_f32(to, items[i].rows, items[i].cols);
    }
    mem_free(items);
    if (!w) {
        mem_free(params);
        return error_context(err, "make model trainable");
    }
    if (m->config.tied_head)
        m->head = m->embed;
    mem_free(memory->copies); /* nothing points there any more */
    memory->copies = NULL;
    m->full = (struct param_set){.params = params, .n_params = n, .w = w, .count = count};
    model_norms_changed(m);
    return true;
}

void model_norms_changed(struct model *m)
{
    const struct model_memory *memory = m->owned;
    float *to = memory->norms;
    for (int i = 0; i < m->full.n_params; i++) {
        const struct param *p = &m->full.params[i];
        if (p->rows != 1 || strstr(p->name, "norm.weight") == NULL)
            continue;
        const float *from = m->full.w + p->offset;
        for (int64_t k = 0; k < p->cols; k++)
            *to++ = from[k] + (m->config.norm_plus_one ? 1 : 0);
    }
}
