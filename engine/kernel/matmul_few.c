/* matmul_few.c - see matmul_few.h and panels.h.
 *
 * A block of the pool is some columns of one output for all rows: its weights are read once. Blocks are long enough to be read as
 * a stream and short enough that the threads end together. Terms without panels (the thin factors of an adapter) are packed in the block.
 */
#include "engine/kernel/matmul_few.h"

#include "engine/base/number.h"
#include "engine/kernel/panels.h"

#include <assert.h>

enum { FEW_ROWS = 64, PACK_COLS = 64, BLOCK_COLS = 32, BLOCK_COLS_MAX = 256, BLOCKS_ENOUGH = 24 };

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

struct few_job {
    const struct compute *c;
    const struct packed_target *targets;
    int rows;
    int64_t block_cols;
    int first_block[PACKED_TARGETS + 1];
};

static size_t panel_bytes(const struct few_job *j)
{
    return (size_t)j->block_cols * KC * sizeof(uint16_t);
}

static void block_few(void *arg, int block, int slot)
{
    const struct few_job *j = arg;
    const struct kernel_table *k = j->c->k;
    int which = 0;
    while (block >= j->first_block[which + 1])
        which++;
    const struct packed_target *t = &j->targets[which];
    int64_t n0 = (block - j->first_block[which]) * j->block_cols, ld = t->ldc;
    int cols = (int)min64(j->block_cols, t->terms[0].w->rows - n0);
    unsigned char *scratch = j->c->scratch->slot[slot].data;
    float *sum = (float *)t->c + n0;
    if (t->c_type == DT_BF16) {
        sum = (float *)(void *)(scratch + panel_bytes(j));
        ld = j->block_cols;
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
                k->few(a, term->a.ld, panel, kpad, sum, ld, j->rows, cols, accumulate,
                       k0 + stretch < term->a.depth ? few_panel(j->c, term->w, n0, k0 + stretch) : NULL);
            else
                multiply_panels(k, a, term->a.ld, panel, kpad, sum, ld, j->rows, cols, accumulate);
        }
    }
    if (t->c_type == DT_BF16)
        k->round_rows((uint16_t *)t->c + n0, t->ldc, sum, ld, j->rows, cols);
}

void few_multiply(const struct compute *c, int64_t rows, const struct packed_target *targets, int n)
{
    struct few_job j = {.c = c, .targets = targets, .rows = (int)rows, .block_cols = BLOCK_COLS};
    int64_t columns = 0;
    for (int i = 0; i < n; i++)
        columns += targets[i].terms[0].w->rows;
    while (j.block_cols < BLOCK_COLS_MAX && columns / (2 * j.block_cols) >= BLOCKS_ENOUGH * pool_threads(c->pool))
        j.block_cols *= 2;
    for (int i = 0; i < n; i++)
        j.first_block[i + 1] = j.first_block[i] + (int)((targets[i].terms[0].w->rows + j.block_cols - 1) / j.block_cols);
    scratch_slots(c, panel_bytes(&j) + (size_t)(rows * j.block_cols) * sizeof(float));
    pool_run(c->pool, c->role, block_few, &j, j.first_block[n]);
}
