/* matmul_few.c - see matmul_few.h and panels.h.
 *
 * A unit is a panel of one output for all rows: its weights are read once. Every thread walks a lane of panels (lanes.h), one stream from memory over all outputs.
 * Terms without panels (the thin factors of an adapter) are packed on the way.
 */
#include "engine/kernel/matmul_few.h"

#include "engine/base/lanes.h"
#include "engine/base/number.h"
#include "engine/kernel/panels.h"

#include <assert.h>

enum { FEW_ROWS = 64, PACK_COLS = 64, MOST_COLS = 64, BLOCK_PANELS = 256, AHEAD_BYTES = 256 << 10 };

bool panels_help(const struct compute *c)
{
    return c->mode == GM_COMPUTE_BF16 && c->k->vnni;
}

size_t panels_bytes(const struct mat *w)
{
    return (size_t)round_up(w->rows, PANEL) * (size_t)round_up(w->cols, 32) * sizeof(uint16_t);
}

static unsigned char *panel_at(const struct panels *p, const struct mat *w, int64_t n0, int64_t k0)
{
    int64_t depth = min64(packed_stretch(w->cols, w->type), w->cols - k0);
    return (unsigned char *)p->data + (size_t)(k0 * p->columns + n0 * round_up(depth, 32)) * sizeof(uint16_t);
}

struct pack_job {
    const struct compute *c;
    const struct mat *w;
    struct panels p;
    int64_t stretch;
    int blocks; /* of columns, a stretch */
};

static void block_pack(void *arg, int block, int slot)
{
    const struct pack_job *j = arg;
    int64_t n0 = (int64_t)(block % j->blocks) * PACK_COLS, k0 = block / j->blocks * j->stretch;
    j->c->k->pack_nt(panel_at(&j->p, j->w, n0, k0), j->w, n0, (int)min64(PACK_COLS, j->w->rows - n0), k0,
                     (int)min64(j->stretch, j->w->cols - k0));
    (void)slot;
}

struct panels panels_pack(const struct compute *c, const struct mat *w, void *memory)
{
    assert(panels_help(c) && ((uintptr_t)memory & 63) == 0);
    struct pack_job j = {.c = c, .w = w, .stretch = packed_stretch(w->cols, w->type)};
    j.p = (struct panels){.family = c->family, .data = memory, .columns = round_up(w->rows, PANEL)};
    j.blocks = (int)((w->rows + PACK_COLS - 1) / PACK_COLS);
    pool_run(c->pool, c->role, block_pack, &j, j.blocks * (int)((w->cols + j.stretch - 1) / j.stretch));
    return j.p;
}

const void *few_panel(const struct compute *c, const struct mat *w, int64_t n0, int64_t k0)
{
    return w->panels && w->panels->family == c->family ? panel_at(w->panels, w, n0, k0) : NULL;
}

bool few_applies(const struct compute *c, int64_t rows, const struct packed_target *targets, int n)
{
    bool all = rows <= FEW_ROWS;
    for (int i = 0; i < n && all; i++)
        all = few_panel(c, targets[i].terms[0].w, 0, 0) != NULL;
    return all;
}

static int panels_of(const struct mat *w)
{
    return (int)((w->rows + PANEL - 1) / PANEL);
}

struct few_job {
    const struct compute *c;
    const struct packed_target *targets;
    int rows;
    int first[PACKED_TARGETS + 1]; /* panel of each target, as if they lay one behind another */
};

static size_t panel_bytes(void)
{
    return (size_t)MOST_COLS * KC * sizeof(uint16_t);
}

/* What the lane reads after these columns of the stretch before k0: the next stretch of them, or the columns behind them; NULL: that is not known. */
static const void *following(const struct compute *c, const struct mat *w, int64_t n0, int cols, int64_t k0)
{
    if (k0 < w->cols)
        return few_panel(c, w, n0, k0);
    return n0 + cols < w->rows ? few_panel(c, w, n0 + cols, 0) : NULL;
}

/* Columns n0 .. n0 + cols - 1 of one target, all its terms. */
static void few_columns(const struct few_job *j, const struct packed_target *t, int64_t n0, int cols, unsigned char *scratch)
{
    const struct kernel_table *k = j->c->k;
    int64_t ld = t->ldc;
    float *sum = (float *)t->c + n0;
    if (t->c_type == DT_BF16) {
        sum = (float *)(void *)(scratch + panel_bytes());
        ld = MOST_COLS;
    }
    for (int i = 0; i < t->n_terms; i++) {
        const struct packed_term *term = &t->terms[i];
        int64_t stretch = packed_stretch(term->a.depth, term->w->type);
        for (int64_t k0 = 0; k0 < term->a.depth; k0 += stretch) {
            int depth = (int)min64(stretch, term->a.depth - k0);
            const void *panel = few_panel(j->c, term->w, n0, k0);
            if (!panel) {
                k->pack_nt(scratch, term->w, n0, cols, k0, depth);
                panel = scratch;
            }
            const uint16_t *a = (const uint16_t *)term->a.data + k0;
            const int kpad = (int)round_up(depth, 32);
            const bool accumulate = t->accumulate || i > 0 || k0 > 0;
            if (k->few)
                k->few(a, term->a.ld, panel, kpad, sum, ld, j->rows, cols, accumulate, following(j->c, term->w, n0, cols, k0 + stretch));
            else
                multiply_panels(k, a, term->a.ld, panel, kpad, sum, ld, j->rows, cols, accumulate);
        }
    }
    if (t->c_type == DT_BF16)
        k->round_rows((uint16_t *)t->c + n0, t->ldc, sum, ld, j->rows, cols);
}

static void few_units(void *arg, int first, int n, int slot)
{
    const struct few_job *j = arg;
    for (int which = 0; n > 0; which++) {
        const struct packed_target *t = &j->targets[which];
        const int here = (int)min64(n, j->first[which + 1] - first);
        if (here <= 0)
            continue;
        const int64_t n0 = (int64_t)(first - j->first[which]) * PANEL;
        few_columns(j, t, n0, (int)min64((int64_t)here * PANEL, t->terms[0].w->rows - n0), j->c->scratch->slot[slot].data);
        first += here;
        n -= here;
    }
}

void few_multiply(const struct compute *c, int64_t rows, const struct packed_target *targets, int n)
{
    struct few_job j = {.c = c, .targets = targets, .rows = (int)rows};
    for (int i = 0; i < n; i++)
        j.first[i + 1] = j.first[i] + panels_of(targets[i].terms[0].w);
    scratch_slots(c, panel_bytes() + (size_t)(rows * MOST_COLS) * sizeof(float));
    lanes_run(c->pool, c->role, few_units, &j, j.first[n], MOST_COLS / PANEL, BLOCK_PANELS);
}

/* The first panels of a lane: of one matrix, and of the first stretch of its sums. */
static struct pool_bytes lane_panels(const struct compute *c, const struct mat *const *w, int n, int first, int panels)
{
    int which = 0;
    for (; which < n && first >= panels_of(w[which]); which++)
        first -= panels_of(w[which]);
    if (which == n)
        return (struct pool_bytes){0};
    const struct mat *m = w[which];
    const int64_t stretch = packed_stretch(m->cols, m->type), here = min64(panels, panels_of(m) - first);
    const size_t panel = (size_t)(PANEL * round_up(min64(stretch, m->cols), 32)) * sizeof(uint16_t);
    const int64_t together = stretch < m->cols ? min64(here, MOST_COLS / PANEL) : min64(here, (int64_t)(AHEAD_BYTES / panel) + 1);
    return (struct pool_bytes){few_panel(c, m, (int64_t)first * PANEL, 0), (size_t)together * panel};
}

void panels_ahead(const struct compute *c, const struct mat *const *w, int n, const struct pool_bytes *others, int n_others)
{
    const int lanes = pool_lanes(c->pool);
    int panels = 0;
    assert(n_others <= PANELS_OTHERS);
    for (int i = 0; i < n; i++) {
        if (!few_panel(c, w[i], 0, 0))
            return;
        panels += panels_of(w[i]);
    }
    for (int lane = 1; lane < lanes; lane++) { /* lane 0 is the caller's */
        struct pool_bytes ranges[POOL_AHEAD];
        for (int i = 0; i < n_others; i++) {
            const size_t from = others[i].bytes * (size_t)(lane - 1) / (size_t)(lanes - 1), to = others[i].bytes * (size_t)lane / (size_t)(lanes - 1);
            ranges[i] = (struct pool_bytes){(const unsigned char *)others[i].data + from, to - from};
        }
        const int first = lanes_first(c->pool, panels, lane);
        ranges[n_others] = lane_panels(c, w, n, first, lanes_first(c->pool, panels, lane + 1) - first);
        pool_ahead(c->pool, lane, ranges, n_others + 1);
    }
}
