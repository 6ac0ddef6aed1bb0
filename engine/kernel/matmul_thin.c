/* matmul_thin.c - products of few columns in all: the thin factors of adapters, z = x Aᵀ and dz = g B.
 *
 * There is nothing to cut but rows, so W is packed once, before, by one block of the pool for each stretch of each matrix. Outputs of the same
 * rows stand side by side in the panels of one tile (q, k and v of one input: 48 columns), and are parted as they are stored.
 */
#include "engine/kernel/matmul_packed.h"

#include "engine/base/number.h"

#include <string.h>

enum { GROUP_COLS = 4 * PANEL, SLICES = 24, PACKINGS = PACKED_TARGETS * SLICES, PANELS_MOST = 4 << 20, SCRATCH = 1 };

/* Targets first .. first + n - 1, the same rows times panels side by side. */
struct group {
    int first, n, n_slices;
    int cols; /* with the padding of panels */
    struct slice slices[SLICES];
};
struct packing {
    const struct mat *w;
    int64_t cols, row0, k0, depth;
    void *panel;
};
struct thin {
    const struct compute *c;
    const struct packed_target *targets;
    int64_t rows;
    bool nn;
    struct group groups[PACKED_TARGETS];
    int n_groups;
    struct packing packings[PACKINGS];
    int n_packings, pieces;
};

/* Of a block: whole tiles of every family, of 24 rows and one panel, too. */
static int64_t rows_at_once(const struct kernel_table *k)
{
    return k->step_rows > 48 ? 64 : 48;
}

static int64_t cols_of(const struct packed_target *t, bool nn)
{
    return nn ? t->terms[0].w->cols : t->terms[0].w->rows;
}

/* Side by side: the same operands in the same stretches. A sum that goes on from what stands in y is taken alone. */
static bool go_together(const struct packed_target *a, const struct packed_target *b)
{
    bool same = a->n_terms == b->n_terms && !a->accumulate && !b->accumulate;
    for (int i = 0; same && i < a->n_terms; i++)
        same = a->terms[i].a.data == b->terms[i].a.data && a->terms[i].a.ld == b->terms[i].a.ld &&
               a->terms[i].a.depth == b->terms[i].a.depth &&
               packed_stretch(a->terms[i].a.depth, a->terms[i].w->type) == packed_stretch(b->terms[i].a.depth, b->terms[i].w->type);
    return same;
}

static bool find_groups(struct thin *j, int n_targets)
{
    for (int i = 0; i < n_targets; i++) {
        const int64_t cols = round_up(cols_of(&j->targets[i], j->nn), PANEL);
        struct group *g = j->n_groups > 0 ? &j->groups[j->n_groups - 1] : NULL;
        if (cols > GROUP_COLS)
            return false;
        if (!g || g->cols + cols > GROUP_COLS || !go_together(&j->targets[g->first], &j->targets[i])) {
            g = &j->groups[j->n_groups++];
            *g = (struct group){.first = i};
        }
        g->n++;
        g->cols += (int)cols;
    }
    return true;
}

/* The slices of every group, and what has to be packed for them; `at` NULL: to count bytes. 0: too much of it. */
static size_t lay_out(struct thin *j, unsigned char *at)
{
    size_t bytes = 0;
    j->n_packings = 0;
    for (struct group *g = j->groups; g < j->groups + j->n_groups; g++) {
        g->n_slices = 0;
        for (int i = 0; i < j->targets[g->first].n_terms; i++) {
            const struct packed_operand *a = &j->targets[g->first].terms[i].a;
            const int64_t stretch = packed_stretch(a->depth, j->targets[g->first].terms[i].w->type);
            for (int64_t k0 = 0; k0 < a->depth; k0 += stretch) {
                const int64_t depth = min64(stretch, a->depth - k0), kpad = round_up(depth, 32);
                if (g->n_slices == SLICES || j->n_packings + g->n > PACKINGS)
                    return 0;
                g->slices[g->n_slices++] = (struct slice){.a = (const unsigned char *)a->data + (size_t)k0 * packed_element(j->c),
                                                          .lda = a->ld,
                                                          .panel = at ? at + bytes : NULL,
                                                          .kpad = (int)kpad,
                                                          .k = (int)depth};
                for (int t = g->first; t < g->first + g->n; t++) {
                    const struct packed_term *term = &j->targets[t].terms[i];
                    const int64_t cols = cols_of(&j->targets[t], j->nn);
                    j->packings[j->n_packings++] = (struct packing){.w = term->w,
                                                                    .cols = cols,
                                                                    .row0 = term->w_row0,
                                                                    .k0 = k0,
                                                                    .depth = depth,
                                                                    .panel = at ? at + bytes : NULL};
                    bytes += (size_t)(round_up(cols, PANEL) * kpad) * packed_element(j->c);
                }
            }
        }
    }
    return bytes <= PANELS_MOST ? bytes : 0;
}

static void block_pack(void *arg, int block, int slot)
{
    (void)slot;
    const struct thin *j = arg;
    const struct packing *p = &j->packings[block];
    if (j->nn)
        j->c->k->pack_nn(p->panel, p->w, 0, (int)p->cols, p->row0 + p->k0, (int)p->depth);
    else
        j->c->k->pack_nt(p->panel, p->w, 0, (int)p->cols, p->k0, (int)p->depth);
}

static void *rows_of(const struct packed_target *t, int64_t r0)
{
    return (unsigned char *)t->c + (size_t)(r0 * t->ldc) * (t->c_type == DT_BF16 ? sizeof(uint16_t) : sizeof(float));
}

static void block_rows(void *arg, int block, int slot)
{
    const struct thin *j = arg;
    const struct kernel_table *k = j->c->k;
    const struct group *g = &j->groups[block / j->pieces];
    const struct packed_target *t = &j->targets[g->first];
    const int64_t r0 = (int64_t)(block % j->pieces) * rows_at_once(k);
    struct slice slices[SLICES];
    for (int i = 0; i < g->n_slices; i++) {
        slices[i] = g->slices[i];
        slices[i].a = (const unsigned char *)slices[i].a + (size_t)(r0 * slices[i].lda) * packed_element(j->c);
    }
    struct block_sum sum = {.slices = slices, .n_slices = g->n_slices, .rows = (int)min64(rows_at_once(k), j->rows - r0)};
    if (g->n == 1) {
        sum.to = rows_of(t, r0);
        sum.ld_to = sum.ld_from = t->ldc;
        sum.from = t->accumulate ? sum.to : NULL;
        sum.to_bf16 = t->c_type == DT_BF16;
        sum.cols = (int)cols_of(t, j->nn);
        k->sum_block(&sum);
        return;
    }
    float *all = j->c->scratch->slot[slot].data;
    sum.to = all;
    sum.ld_to = GROUP_COLS;
    sum.cols = g->cols;
    k->sum_block(&sum);
    for (int i = 0; i < g->n; i++, t++) {
        const int64_t cols = cols_of(t, j->nn);
        if (t->c_type == DT_BF16)
            k->round_rows(rows_of(t, r0), t->ldc, all, GROUP_COLS, sum.rows, cols);
        for (int r = 0; r < sum.rows && t->c_type == DT_F32; r++)
            memcpy(rows_of(t, r0 + r), all + r * GROUP_COLS, (size_t)cols * sizeof *all);
        all += round_up(cols, PANEL);
    }
}

bool packed_thin(const struct compute *c, int64_t rows, const struct packed_target *targets, int n_targets, bool nn)
{
    struct thin j = {.c = c, .targets = targets, .rows = rows, .nn = nn};
    size_t bytes = find_groups(&j, n_targets) ? lay_out(&j, NULL) : 0;
    if (bytes == 0)
        return false;
    lay_out(&j, scratch_shared(c, SCRATCH, bytes));
    const int64_t step = rows_at_once(c->k);
    j.pieces = (int)((rows + step - 1) / step);
    scratch_slots(c, (size_t)(step * GROUP_COLS) * sizeof(float));
    pool_run(c->pool, c->role, block_pack, &j, j.n_packings);
    pool_run(c->pool, c->role, block_rows, &j, j.n_groups * j.pieces);
    return true;
}
