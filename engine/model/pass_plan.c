/* pass_plan.c - the memory of a pass: laid out once, so that a step allocates nothing and its size
 * is known beforehand. */
#include "engine/model/pass_private.h"

#include "engine/base/checked.h"
#include "engine/kernel/head.h"
#include "engine/kernel/matmul.h"

#include <stdio.h>
#include <string.h>

/* Counts first (base NULL), then hands out. */
struct planner {
    struct arena *arena;
    size_t bytes;
    bool overflow;
};

static void *take(struct planner *pl, int64_t rows, int64_t cols, size_t size)
{
    size_t bytes;
    if (!checked_mul((size_t)rows, (size_t)cols, &bytes) || !checked_mul(bytes, size, &bytes) ||
        bytes > SIZE_MAX / 4 || !checked_add(pl->bytes, arena_cost(bytes), &pl->bytes)) {
        pl->overflow = true;
        return NULL;
    }
    return pl->arena && bytes > 0 ? arena_take(pl->arena, bytes) : NULL;
}

static float *floats(struct planner *pl, int64_t rows, int64_t cols)
{
    return take(pl, rows, cols, sizeof(float));
}

/* Buffers whose uses never meet lie over one another: begin, take, next, take, ..., end. */
struct overlay {
    size_t start, most, mark;
};

static struct overlay overlay_begin(const struct planner *pl)
{
    return (struct overlay){
        .start = pl->bytes, .most = pl->bytes, .mark = pl->arena ? arena_mark(pl->arena) : 0};
}

static void overlay_next(struct planner *pl, struct overlay *o)
{
    o->most = pl->bytes > o->most ? pl->bytes : o->most;
    pl->bytes = o->start;
    if (pl->arena)
        arena_reset(pl->arena, o->mark);
}

static void overlay_end(struct planner *pl, struct overlay *o)
{
    overlay_next(pl, o);
    take(pl, 1, (int64_t)(o->most - o->start), 1);
}

/* Activations: dense rows, and rows as products take them for operands. */
static void *dense(const struct pass *p, struct planner *pl, int64_t rows, int64_t cols)
{
    return take(pl, rows, cols, p->number);
}

static void *operand(const struct pass *p, struct planner *pl, int64_t rows, int64_t cols)
{
    return rows > 0 && cols > 0 ? take(pl, matmul_rows(rows), matmul_stride(cols), p->number) : NULL;
}

static int64_t input_of(const struct pass *p, enum proj which)
{
    return which == PROJ_O ? p->q : which == PROJ_DOWN ? p->ff : p->d;
}

static void plan_kept(struct pass *p, struct planner *pl, struct kept *k, uint64_t *survives[PROJ_COUNT], int64_t T)
{
    const struct model_config *c = &p->m->config;
    const bool branches = p->dora || c->sandwich_norm;
    k->q = dense(p, pl, T, p->q);
    k->k = dense(p, pl, T, p->kv);
    k->v = dense(p, pl, T, p->kv);
    k->att = operand(p, pl, T, p->q);
    k->out = dense(p, pl, branches ? T : 0, p->d);
    k->mid = dense(p, pl, c->sandwich_norm ? 0 : T, p->d);
    k->gate = operand(p, pl, T, p->ff);
    k->up = operand(p, pl, T, p->ff);
    k->down = dense(p, pl, branches ? T : 0, p->d);
    k->lse = floats(pl, T, c->n_heads);
    for (int i = 0; i < PROJ_COUNT; i++) { /* fused products share the u of the first */
        struct module m;
        const int64_t rows = module_of(c, (enum proj)i, &m) && (p->keys >> i & 1) ? T : 0;
        k->u[i] = operand(p, pl, rows, p->rank);
        survives[i] = take(pl, p->dropout ? rows : 0, drop_words(input_of(p, (enum proj)i)), sizeof *survives[i]);
    }
}

/* The place of the topmost layer serves all that keep nothing of their own, too. */
static void plan_layers(struct pass *p, struct planner *pl, int64_t T)
{
    const int n_layers = p->m->config.n_layers;
    struct kept top = {0};
    uint64_t *top_survives[PROJ_COUNT], *survives[PROJ_COUNT];
    plan_kept(p, pl, &top, top_survives, T);
    top.x = dense(p, pl, T, p->d);
    for (int i = n_layers - 1; i >= 0; i--) {
        struct kept k = top;
        memcpy(survives, top_survives, sizeof survives);
        if (i >= p->first_kept && i < n_layers - 1)
            plan_kept(p, pl, &k, survives, T);
        if (i >= p->first_layer && i < n_layers - 1)
            k.x = dense(p, pl, T, p->d);
        if (!p->kept)
            continue;
        p->kept[i] = k;
        memcpy(p->survives[i], survives, sizeof survives);
    }
}

/* The gated unit, attention (forward and backward) and the head: what one leaves behind is kept elsewhere before the next begins. */
static void plan_widest(struct pass *p, struct planner *pl, int64_t T, int64_t targets)
{
    const int64_t back = p->limits.kind != PASS_FORWARD ? T : 0;
    struct overlay o = overlay_begin(pl);
    p->h = operand(p, pl, T, p->ff);
    p->dgate = operand(p, pl, p->dora ? back : 0, p->ff);
    p->dup = operand(p, pl, p->dora ? back : 0, p->ff);
    overlay_next(pl, &o);
    p->q_turned = dense(p, pl, p->turn_in_place ? 0 : T, p->q);
    p->k_turned = dense(p, pl, p->turn_in_place ? 0 : T, p->kv);
    p->datt = dense(p, pl, back, p->q);
    p->dq = operand(p, pl, back, p->q);
    p->dk = operand(p, pl, back, p->kv);
    p->dv = operand(p, pl, back, p->kv);
    overlay_next(pl, &o);
    p->head_x = floats(pl, targets, p->d);
    p->head_h = floats(pl, targets, p->d);
    p->head_dh = floats(pl, back > 0 ? targets : 0, p->d);
    p->head_rstd = floats(pl, targets, 1);
    p->head_work =
        targets > 0
            ? take(pl, 1,
                   (int64_t)head_workspace_bytes(targets, p->m->config.vocab_size, p->d, back > 0,
                                                 p->limits.mode),
                   1)
            : NULL;
    overlay_end(pl, &o);
}

static void plan(struct pass *p, struct planner *pl)
{
    const struct model_config *c = &p->m->config;
    const int64_t T = p->rows, back = p->limits.kind != PASS_FORWARD ? T : 0, full = p->limits.kind == PASS_FULL ? T : 0;
    p->x = floats(pl, T, p->d);
    p->o = floats(pl, T, p->d);
    p->n = operand(p, pl, T, p->d);
    p->mid = dense(p, pl, c->sandwich_norm ? T : 0, p->d);
    plan_widest(p, pl, T, p->targets);
    p->thin = floats(pl, p->keys ? T : 0, LAYER_GROUP * p->rank);
    p->dropped = operand(p, pl, p->dropout ? T : 0, p->widest);
    p->dx = floats(pl, back, p->d);
    p->dout = operand(p, pl, back, p->d);
    for (int i = 0; i < LAYER_GROUP; i++)
        p->du[i] = operand(p, pl, p->keys ? back : 0, p->rank);
    p->rstd = floats(pl, full, 1);
    p->rstd_branch = floats(pl, full, 1);
    p->rstd_heads = floats(pl, full, c->n_heads + c->n_kv_heads);
    plan_layers(p, pl, T);
    p->slice_start = take(pl, p->limits.max_seqs + 1, 1, sizeof *p->slice_start);
    p->slice_rows = take(pl, p->targets, 1, sizeof *p->slice_rows);
}

static void describe(struct pass *p, const struct model *m, const struct lora_options *lora,
                     const struct pass_limits *limits)
{
    const struct model_config *c = &m->config;
    *p = (struct pass){.m = m,
                       .limits = *limits,
                       .d = c->d_model,
                       .q = (int64_t)c->n_heads * c->head_dim,
                       .kv = (int64_t)c->n_kv_heads * c->head_dim,
                       .ff = c->d_ff,
                       .first_layer = c->n_layers};
    p->rows = limits->max_tokens;
    if (limits->kind !=
        PASS_FORWARD) { /* hidden states are asked of whole batches, gradients are not */
        int64_t longest = limits->max_seq_tokens > 0 ? limits->max_seq_tokens : limits->max_tokens;
        int64_t slice = longest > PASS_SLICE ? longest : PASS_SLICE;
        p->rows = slice < p->rows ? slice : p->rows;
    }
    p->targets = limits->max_targets < p->rows ? limits->max_targets : p->rows;
    p->widest = p->q > p->d ? p->q : p->d;
    p->widest = p->ff > p->widest ? p->ff : p->widest;
    p->number = limits->mode == GM_COMPUTE_BF16 ? 2 : 4;
    if (lora && limits->kind != PASS_FULL) {
        p->rank = lora->rank;
        p->keys = lora->keys;
        p->dropout = lora->dropout > 0 && limits->kind == PASS_LORA;
        p->dora = lora->dora && limits->kind == PASS_LORA;
        if (limits->kind == PASS_LORA)
            p->first_layer = lora_first_layer(c, lora);
    }
    if (limits->kind == PASS_FULL)
        p->first_layer = 0;
    p->turn_in_place = !c->qk_norm && !p->dora;
    const int walked = c->n_layers - p->first_layer;
    p->first_kept =
        p->first_layer + (limits->recompute_layers < walked ? limits->recompute_layers : walked);
}

size_t pass_bytes(const struct model_config *c, const struct lora_options *lora,
                  const struct pass_limits *limits)
{
    struct model shape = {.config = *c};
    struct pass p;
    struct planner count = {0};
    describe(&p, &shape, lora, limits);
    plan(&p, &count);
    return count.overflow ? SIZE_MAX : count.bytes;
}

struct pass *pass_new(const struct model *m, const struct lora_options *lora,
                      const struct pass_limits *limits, struct gm_error *err)
{
    struct planner planner = {0};
    struct pass *p = mem_new(1, sizeof *p);
    if (limits->max_tokens < 1 || limits->max_targets < 0 || limits->max_tokens > INT32_MAX ||
        limits->max_seqs < 1 || limits->recompute_layers < 0) {
        error_set(err, GM_E_USAGE, "plan a pass: %lld tokens", (long long)limits->max_tokens);
        mem_free(p);
        return NULL;
    }
    describe(p, m, lora, limits);
    plan(p, &planner);
    bool ok = planner.overflow
                  ? error_set(err, GM_E_MEMORY,
                              "plan a pass: %lld tokens do not fit (ask for shorter or fewer rows)",
                              (long long)limits->max_tokens)
                  : arena_init(&p->arena, planner.bytes + 64, "activations", err);
    p->ropes = m->ropes;
    if (ok && p->rows > m->ropes->n_positions) {
        ok = ropes_init(&p->long_ropes, &m->config, p->rows, err);
        p->ropes = &p->long_ropes;
    }
    if (!ok) {
        pass_free(p);
        return NULL;
    }
    p->kept = mem_new((size_t)m->config.n_layers, sizeof *p->kept);
    p->survives = mem_new((size_t)m->config.n_layers, sizeof *p->survives);
    planner = (struct planner){.arena = &p->arena};
    plan(p, &planner);
    return p;
}

void pass_touch(struct pass *p, const struct compute *c)
{
    mem_touch(c->pool, c->role, p->arena.base, p->arena.size);
}

void pass_free(struct pass *p)
{
    if (!p)
        return;
    ropes_free(&p->long_ropes);
    mem_free(p->kept);
    mem_free(p->survives);
    arena_free(&p->arena);
    mem_free(p);
}

int pass_parts(const struct pass *p, struct pass_part parts[PASS_PARTS])
{
    static const char *const names[PART_COUNT] = {"embedding",
                                                  "forward: products",
                                                  "forward: adapters",
                                                  "forward: attention",
                                                  "forward: norms, gates",
                                                  "head and loss",
                                                  "backward: products",
                                                  "backward: adapters",
                                                  "backward: attention",
                                                  "backward: norms, gates",
                                                  "weight gradients"};
    _Static_assert((int)PART_COUNT <= (int)PASS_PARTS, "there is room for all");
    int n = 0;
    for (int i = 0; i < PART_COUNT; i++)
        if (p->clock.seconds[i] > 0)
            parts[n++] = (struct pass_part){.name = names[i],
                                            .seconds = p->clock.seconds[i],
                                            .flops = p->clock.flops[i],
                                            .bytes = p->clock.bytes[i]};
    return n;
}
