/* probe.c - see probe.h.
 *
 * A step of K layers, and one of a single layer with one target a row: their difference is K - 1 times a layer, forward and back. The pass
 * itself tells what of it was forward, and what the head took. A loss of the single layer gives the head without gradient. Layers that see a
 * window only are measured apart where that makes a difference.
 */
#include "engine/train/probe.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/train/optimizer.h"

#include <string.h>

enum { LAYERS = 3, OPTIMIZER_PIECE = 1 << 20 };

/* A model of some layers of another one. */
struct shallow {
    struct model model;
    struct layer layers[LAYERS], masters[LAYERS];
    struct lora *lora; /* NULL: all weights are trained */
    struct pass *pass;
};

static void shallow_free(struct shallow *s)
{
    pass_free(s->pass);
    lora_free(s->lora);
    *s = (struct shallow){0};
}

/* The topmost n layers of a kind (sliding: 0 or 1; -1: any). */
static bool shallow_open(struct shallow *s, const struct probe_request *r, int n, int sliding, struct gm_error *err)
{
    const struct model *m = r->model;
    bool full = r->limits.kind == PASS_FULL;
    *s = (struct shallow){.model = *m};
    for (int i = m->config.n_layers - 1, k = n; i >= 0 && k > 0; i--) {
        if (sliding >= 0 && m->config.sliding[i] != sliding)
            continue;
        s->layers[--k] = m->layers[i];
        if (m->masters)
            s->masters[k] = m->masters[i];
        s->model.config.sliding[k] = m->config.sliding[i];
    }
    s->model.config.n_layers = n;
    s->model.layers = s->layers;
    s->model.masters = m->masters ? s->masters : NULL;
    struct lora_options lora = r->options->lora;
    lora.num_layers = -1;
    if (!full) {
        s->lora = lora_new(&s->model.config, &lora, 1, err);
        if (!s->lora)
            return false;
        lora_bind(s->lora, &s->model, r->compute);
    }
    struct pass_limits limits = r->limits;
    limits.recompute_layers = 0;
    s->pass = pass_new(&s->model, full ? NULL : &lora, &limits, err);
    if (!s->pass)
        shallow_free(s);
    return s->pass != NULL;
}

static double share_of(const struct pass *p, const char *what)
{
    struct pass_part parts[PASS_PARTS];
    double seconds = 0;
    for (int i = 0, n = pass_parts(p, parts); i < n; i++)
        if (strstr(parts[i].name, what))
            seconds += parts[i].seconds;
    return seconds;
}

struct timed {
    double all, embed, forward, head, adapters;
};

static struct timed time_step(struct shallow *s, const struct probe_request *r, const struct batch *b, float *grads)
{
    double began = clock_seconds();
    pass_loss_and_grad(s->pass, r->compute, s->lora, b, 1e-3f, 1, 0, grads);
    if (s->lora)
        lora_changed(s->lora, r->compute); /* of DoRA: it goes with the layers */
    double all = clock_seconds() - began;
    return (struct timed){.all = all, .embed = share_of(s->pass, "embed"), .forward = share_of(s->pass, "forward"), .head = share_of(s->pass, "head"),
                          .adapters = share_of(s->pass, "adapters")};
}

static double time_loss(struct shallow *s, const struct probe_request *r, const struct batch *b)
{
    double began = clock_seconds();
    pass_loss(s->pass, r->compute, s->lora, b, NULL);
    return clock_seconds() - began;
}

/* The same rows with one target in each thousand tokens: the pass leaves out slices without any. */
static struct batch without_head(const struct batch *b, int32_t *rows, int32_t *ids)
{
    struct batch few = *b;
    few.n_targets = 0;
    few.target_row = rows;
    few.target_id = ids;
    for (int s = 0; s < b->n_seqs; s++) {
        rows[few.n_targets] = b->seq_start[s + 1] - 1;
        ids[few.n_targets] = b->ids[rows[few.n_targets]];
        few.n_targets++;
    }
    return few;
}

/* A batch as large as the limits. */
struct largest {
    struct batch b;
    int32_t *memory;
};

static struct largest largest_batch(const struct pass_limits *l, int vocab)
{
    const int64_t T = l->max_tokens, longest = l->max_seq_tokens > 0 ? l->max_seq_tokens : T, targets = l->max_targets < T ? l->max_targets : T;
    const int most = (int)((T + longest - 1) / longest), n = most < l->max_seqs ? most : l->max_seqs;
    int32_t *memory = mem_new((size_t)(2 * T + 2 * targets + n + 1), sizeof *memory);
    int32_t *ids = memory, *positions = ids + T, *rows = positions + T, *target_ids = rows + targets, *starts = target_ids + targets;
    for (int64_t t = 0; t < T; t++)
        ids[t] = (int32_t)((t * 7919 + 13) % vocab);
    for (int s = 0; s <= n; s++)
        starts[s] = (int32_t)(s * T / n);
    for (int s = 0; s < n; s++)
        for (int32_t t = starts[s]; t < starts[s + 1]; t++)
            positions[t] = t - starts[s];
    for (int64_t i = 0; i < targets; i++) { /* spread over all rows */
        rows[i] = (int32_t)(i * T / targets);
        target_ids[i] = ids[rows[i]];
    }
    return (struct largest){.memory = memory, .b = {.T = T, .ids = ids, .positions = positions, .n_seqs = n, .seq_start = starts, .n_targets = targets,
                                                    .target_row = rows, .target_id = target_ids}};
}

/* What layers are measured with. Memory is for one shallow model at a time, so that the run itself, not this, decides the peak. */
struct bench {
    const struct probe_request *r;
    struct shallow model;
    struct largest largest;
    int32_t *scratch; /* targets of without_head */
    float *grads;
};

static void bench_close(struct bench *k)
{
    shallow_free(&k->model);
    mem_free(k->largest.memory);
    mem_free(k->scratch);
    mem_free(k->grads);
}

static struct batch light(const struct bench *k, const struct batch *b)
{
    return without_head(b, k->scratch, k->scratch + k->r->limits.max_seqs);
}

static const struct batch *batch_at(const struct bench *k, int i)
{
    return k->r->batch ? k->r->batch(k->r->arg, i) : &k->largest.b;
}

/* n layers; a first step makes the pages, and with `largest` the room that the largest products want. */
static bool bench_open(struct bench *k, const struct probe_request *r, int n, int sliding, bool largest, struct gm_error *err)
{
    *k = (struct bench){.r = r};
    if (!shallow_open(&k->model, r, n, sliding, err))
        return false;
    size_t count = k->model.lora ? k->model.lora->set.count : r->model->full.count;
    k->largest = largest_batch(&r->limits, r->model->config.vocab_size);
    k->scratch = mem_new((size_t)(2 * r->limits.max_seqs), sizeof *k->scratch);
    k->grads = mem_alloc(count * sizeof *k->grads, "gradients of a probe", err);
    if (!k->grads)
        return false;
    const struct batch few = light(k, batch_at(k, 0));
    time_step(&k->model, r, largest ? &k->largest.b : &few, k->grads);
    return true;
}

/* Seconds of a number of batches. */
struct sums {
    struct timed step; /* all: without the head */
    double loss;       /* forward only, with the head */
    int batches;
};

/* A single layer: all that is not a layer's, on as many batches as there is time for. */
static bool measure_one(const struct probe_request *r, int sliding, struct sums *sum, struct gm_error *err)
{
    struct bench k;
    bool ok = bench_open(&k, r, 1, sliding, true, err);
    double began = clock_seconds();
    while (ok && (sum->batches == 0 || clock_seconds() - began < r->seconds / 3)) {
        const struct batch *b = batch_at(&k, sum->batches++), few = light(&k, b);
        struct timed step = time_step(&k.model, r, &few, k.grads);
        sum->step.all += step.all - step.head;
        sum->step.forward += step.forward;
        if (sum->batches == 1)
            time_loss(&k.model, r, b); /* the head without a gradient has a first time, too */
        sum->loss += time_loss(&k.model, r, b);
    }
    bench_close(&k);
    return ok;
}

/* n layers on the same batches. */
static bool measure_many(const struct probe_request *r, int n, int sliding, int batches, struct sums *sum, struct probe *p, struct gm_error *err)
{
    struct bench k;
    bool ok = bench_open(&k, r, n, sliding, false, err);
    for (; ok && sum->batches < batches; sum->batches++) {
        const struct batch *b = batch_at(&k, sum->batches);
        struct timed step = time_step(&k.model, r, b, k.grads);
        sum->step.all += step.all - step.head;
        sum->step.adapters += step.adapters;
        sum->step.forward += step.forward;
        p->head += step.head;
        p->embed += step.embed;
        p->tokens += (double)b->T;
        p->targets += (double)b->n_targets;
    }
    bench_close(&k);
    return ok;
}

static double positive(double x)
{
    return x > 0 ? x : 0;
}

/* Layers of one kind, `there` of the model's; adds `weight` times what they take. */
static bool measure_kind(const struct probe_request *r, int sliding, int there, double weight, struct probe *p, struct gm_error *err)
{
    const int n = there < LAYERS ? there : LAYERS;
    struct probe q = {0};
    struct sums one = {0}, many = {0};
    if (!measure_one(r, sliding, &one, err) || !measure_many(r, n, sliding, one.batches, &many, &q, err))
        return false;
    const double both = positive(n > 1 ? (many.step.all - one.step.all) / (n - 1) : many.step.all - q.embed);
    const double forward = many.step.forward / n;
    const double scale = weight * (p->tokens > 0 ? p->tokens / q.tokens : 1); /* another kind may have seen more or fewer batches */
    p->forward += scale * forward;
    p->backward += scale * positive(both - forward);
    if (p->tokens == 0) {
        p->tokens = q.tokens;
        p->targets = q.targets;
        p->embed = q.embed;
        p->lowest = positive(one.step.all - q.embed - one.step.forward);
        p->head = q.head;
        p->head_loss = positive(one.loss - q.embed - one.step.forward);
        p->adapters = many.step.all > 0 ? many.step.adapters / many.step.all : 0;
    }
    return true;
}

/* Norm, update and the clearing of gradients, on a piece. */
static bool measure_optimizer(const struct probe_request *r, struct probe *p, struct gm_error *err)
{
    enum { TURNS = 4 };
    struct optimizer *o = optimizer_new(r->options, OPTIMIZER_PIECE, err);
    float *w = o ? mem_alloc(2 * OPTIMIZER_PIECE * sizeof *w, "weights of a probe", err) : NULL, *g = w ? w + OPTIMIZER_PIECE : NULL;
    double began = 0, norm;
    for (int i = 0; w && i <= TURNS; i++) {
        if (i == 1)
            began = clock_seconds();
        memset(g, 0, OPTIMIZER_PIECE * sizeof *g);
        optimizer_norm(o, r->compute, g, &norm);
        optimizer_apply(o, r->compute, 1e-4, w, g, norm);
    }
    p->parameter = w ? (clock_seconds() - began) / TURNS / OPTIMIZER_PIECE : 0;
    mem_free(w);
    optimizer_free(o);
    return w != NULL;
}

bool probe_run(const struct probe_request *r, struct probe *p, struct gm_error *err)
{
    const struct model_config *c = &r->model->config;
    const size_t live = mem_live_bytes();
    int sliding = 0;
    *p = (struct probe){0};
    for (int i = 0; i < c->n_layers; i++)
        sliding += c->sliding[i] != 0;
    bool apart = sliding > 0 && sliding < c->n_layers && r->limits.max_seq_tokens > c->sliding_window;
    const double n = c->n_layers;
    bool ok = apart ? measure_kind(r, 1, sliding, sliding / n, p, err) && measure_kind(r, 0, c->n_layers - sliding, 1 - sliding / n, p, err)
                    : measure_kind(r, -1, c->n_layers, 1, p, err);
    ok = ok && measure_optimizer(r, p, err);
    p->packing = mem_live_bytes() - live;
    return ok;
}

bool probe_packing(const struct probe_request *r, size_t *bytes, struct gm_error *err)
{
    struct bench k;
    const size_t live = mem_live_bytes();
    const bool ok = bench_open(&k, r, 1, -1, true, err);
    bench_close(&k);
    *bytes = mem_live_bytes() - live;
    return ok;
}

double probe_step(const struct probe *p, int layers, int walked, int recomputed, double tokens, double targets)
{
    double layer = p->embed + (layers + recomputed) * p->forward + (walked - 1) * p->backward + p->lowest;
    return layer * tokens / p->tokens + p->head * targets / p->targets;
}

double probe_loss(const struct probe *p, int layers, double tokens, double targets)
{
    return (p->embed + layers * p->forward) * tokens / p->tokens + p->head_loss * targets / p->targets;
}
