/* model_make.c - models that are not read from a file: random weights, and the flat f32 master of
 * full fine-tuning. */
#include "engine/model/model_items.h"

#include "engine/base/checked.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/kernel/quantise.h"

#include <assert.h>
#include <string.h>

static const double INIT_DEVIATION = 0.02;

/* Real random numbers for a model that will be trained (f32). */
static void fill_normal(float *to, size_t n, uint64_t seed, uint64_t number)
{
    struct rng r = rng_stream(seed, "model-init", number);
    for (size_t k = 0; k < n; k++)
        to[k] = (float)(INIT_DEVIATION * rng_normal(&r));
}

/* Weights to measure speed with: a tile of a prime number of units (values, blocks, or MLX groups) is made once and
 * repeated, so that nothing but the stored form ever stands. MLX: codes, scales and biases are three streams of the same tile. */
enum { TILE_VALUES = 65536, MLX_GROUP = 64, STREAMS = 3 };
static const enum dtype MLX_SCALES = DT_BF16;

struct tile {
    enum dtype type;
    int64_t unit; /* values */
    size_t n, at; /* units in the tile; the next one */
    unsigned char *streams[STREAMS];
    size_t unit_bytes[STREAMS]; /* 0: there is no such stream */
};

static size_t prime_up_to(size_t n)
{
    for (;; n--) {
        size_t d = 2;
        while (d * d <= n && n % d != 0)
            d++;
        if (d * d > n)
            return n;
    }
}

static void tile_init(struct tile *t, enum dtype type, uint64_t seed)
{
    bool mlx = dtype_is_mlx(type);
    size_t each = dtype_block_bytes(type);
    *t = (struct tile){.type = type, .unit = mlx ? MLX_GROUP : dtype_block(type)};
    t->unit_bytes[0] = mlx ? each * MLX_GROUP / (size_t)dtype_block(type) : each;
    t->unit_bytes[1] = t->unit_bytes[2] = mlx ? dtype_block_bytes(MLX_SCALES) : 0;
    t->n = prime_up_to(TILE_VALUES / (size_t)t->unit);
    size_t n = t->n * (size_t)t->unit;
    float *values = mem_new(n, sizeof *values);
    fill_normal(values, n, seed, 0);
    for (int i = 0; i < STREAMS; i++)
        t->streams[i] = mem_new(t->n + 1, t->unit_bytes[i]);
    if (mlx)
        quantise_mlx_row((int)each * 8 / dtype_block(type), MLX_GROUP, MLX_SCALES, values,
                         (uint32_t *)(void *)t->streams[0], t->streams[1], t->streams[2], n);
    else
        quantise_row(type, values, t->streams[0], n);
    mem_free(values);
}

static void tile_free(struct tile *t)
{
    for (int i = 0; i < STREAMS; i++)
        mem_free(t->streams[i]);
}

/* Bytes of n values, each stream beginning on a cache line. */
static size_t tiled_bytes(const struct tile *t, size_t n)
{
    size_t bytes = 0;
    for (int i = 0; i < STREAMS; i++)
        bytes += arena_cost(n / (size_t)t->unit * t->unit_bytes[i]);
    return bytes;
}

/* The matrix of an item at `to`, filled. */
static struct mat tile_fill(struct tile *t, const struct item *item, unsigned char *to)
{
    size_t n = (size_t)(item->rows * item->cols / t->unit), done;
    const void *parts[STREAMS];
    for (int i = 0; i < STREAMS; i++) {
        size_t each = t->unit_bytes[i];
        parts[i] = each ? to : NULL;
        for (done = 0; each && done < n;) {
            size_t from = (t->at + done) % t->n, run = t->n - from < n - done ? t->n - from : n - done;
            memcpy(to + done * each, t->streams[i] + from * each, run * each);
            done += run;
        }
        to += arena_cost(n * each);
    }
    t->at = (t->at + n) % t->n;
    struct mat m = {.data = parts[0],
                    .type = t->type,
                    .rows = item->rows,
                    .cols = item->cols,
                    .row_bytes = (size_t)(item->cols / t->unit) * t->unit_bytes[0],
                    .scales = parts[1],
                    .biases = parts[2]};
    if (parts[1]) {
        m.scale_type = MLX_SCALES;
        m.group = MLX_GROUP;
    }
    return m;
}

static bool widths_fit(const struct tile *t, const struct item *items, int n, struct gm_error *err)
{
    for (int i = 0; i < n; i++)
        if (items[i].mat && items[i].cols % t->unit != 0)
            return error_set(err, GM_E_UNSUPPORTED, "%s is %lld wide, %s needs a multiple of %lld (choose another type)",
                             items[i].name, (long long)items[i].cols, dtype_name(t->type), (long long)t->unit);
    return true;
}

static bool fill_random(struct model *m, enum dtype type, uint64_t seed, struct gm_error *err)
{
    struct model_memory *memory = m->owned;
    struct tile tile;
    int n;
    struct item *items = model_items(m, &n);
    tile_init(&tile, type, seed);
    size_t bytes = 0;
    for (int i = 0; i < n; i++)
        bytes += items[i].mat ? tiled_bytes(&tile, (size_t)items[i].rows * (size_t)items[i].cols) : 0;
    unsigned char *to = NULL;
    if (widths_fit(&tile, items, n, err))
        to = memory->copies = mem_alloc(bytes, "random weights", err);
    for (int i = 0; to && i < n; i++) {
        struct item *item = &items[i];
        if (item->vector) { /* norms are neutral, biases zero */
            bool norm = strstr(item->name, "norm.weight") != NULL;
            for (int64_t k = 0; k < item->cols; k++)
                ((float *)(uintptr_t)*item->vector)[k] = norm ? 1 : 0;
            continue;
        }
        size_t count = (size_t)item->rows * (size_t)item->cols;
        struct mat whole;
        if (type == DT_F32) {
            fill_normal((float *)(void *)to, count, seed, (uint64_t)i);
            whole = mat_f32((const float *)(const void *)to, item->rows, item->cols);
        } else {
            whole = tile_fill(&tile, item, to);
        }
        item_set(item, &whole);
        m->weight_bytes += mat_bytes(&whole);
        to += tiled_bytes(&tile, count);
    }
    tile_free(&tile);
    mem_free(items);
    return memory->copies != NULL;
}

struct model *model_random(const struct model_config *c, enum dtype type, uint64_t seed,
                           struct gm_error *err)
{
    if (!quantise_can(type) && (!dtype_is_mlx(type) || type == DT_MLX_FP4)) {
        error_set(err, GM_E_UNSUPPORTED,
                  "make random model: weights of type %s cannot be written (choose another type)",
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

/* The same layers again, to say where in the flat array each parameter stands. */
static void point_masters(struct model *m, const struct param *params, const float *w)
{
    struct model twin = *m;
    int n;
    twin.layers = m->masters;
    struct item *items = model_items(&twin, &n);
    for (int i = 0; i < n; i++) {
        const float *at = w + params[i].offset;
        struct mat whole = mat_f32(at, items[i].rows, items[i].cols);
        if (items[i].vector)
            *items[i].vector = at;
        else
            item_set(&items[i], &whole);
    }
    mem_free(items);
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
        if (items[i].vector) {
            for (int64_t k = 0; k < items[i].cols; k++)
                to[k] = (*items[i].vector)[k] - (items[i].plus_one ? 1 : 0);
            continue;
        }
        struct mat whole = mat_f32(to, items[i].rows, items[i].cols), stored = item_mat(&items[i]);
        for (int64_t r = 0; r < items[i].rows; r++)
            mat_row_to_f32(&stored, r, to + r * items[i].cols);
        item_set(&items[i], &whole);
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
    m->masters = mem_new((size_t)m->config.n_layers, sizeof *m->masters);
    point_masters(m, params, w);
    model_norms_changed(m);
    return true;
}

void model_norms_changed(struct model *m)
{
    const struct model_memory *memory = m->owned;
    float *to = memory->vectors; /* in the order of the parameters */
    for (int i = 0; i < m->full.n_params; i++) {
        const struct param *p = &m->full.params[i];
        bool norm = text_ends(p->name, "norm.weight");
        if (!norm && !text_ends(p->name, ".bias"))
            continue;
        const float *from = m->full.w + p->offset;
        for (int64_t k = 0; k < p->cols; k++)
            *to++ = from[k] + (norm && m->config.norm_plus_one ? 1 : 0);
    }
}
