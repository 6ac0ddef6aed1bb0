/* matmul_outer.c - gradients of weights: dw += s aᵀ b, summed over the rows of a batch.
 *
 * Of a thin gradient (an adapter's: rank x width) the thin side is transposed once and becomes the left operand; the wide side is packed in strips
 * of columns, each once for all gradients that share it (dA of q, k and v meet the same x). Where the thin side is b, the transposed gradient is
 * summed, and turned as it is added. Both sides wide (full training): one packed product.
 */
#include "engine/base/number.h"
#include "engine/kernel/matmul_f32.h"
#include "engine/kernel/matmul_packed.h"

#include <assert.h>
#include <string.h>

enum { THIN = 64, STRIP = 4 * PANEL, SUMS_MOST = MATMUL_GRADIENTS * THIN };

/* In BF16 mode a gradient of some size takes bf16 operands, summed in f32; small ones of f32 are not worth the packing. */
static bool takes_bf16(const struct compute *c, const struct matmul_gradient *g, int64_t T)
{
    if (c->mode == GM_COMPUTE_F32)
        return false;
    return g->a_type == DT_BF16 || g->b_type == DT_BF16 || (g->m * g->n >= 4096 && T >= 16);
}

static struct mat matrix_of(const void *data, enum dtype type, int64_t ld, int64_t rows, int64_t cols)
{
    return (struct mat){.data = data, .type = type, .rows = rows, .cols = cols, .row_bytes = (size_t)ld * dtype_block_bytes(type)};
}

static void wide_gradient(const struct compute *c, const struct matmul_gradient *g, int64_t T, bool accumulate)
{
    struct mat right = matrix_of(g->b, g->b_type, g->ldb, T, g->n);
    struct packed_operand left = {.data = scratch_shared(c, 0, packed_bytes(c, g->m, T)),
                                  .ld = packed_stride(T),
                                  .depth = T,
                                  .source = g->a,
                                  .source_ld = g->lda,
                                  .source_type = g->a_type};
    packed_convert_transposed(c, &left, g->m, g->scale);
    struct packed_target t = {.c = g->dw, .ldc = g->lddw, .accumulate = accumulate, .n_terms = 1, .terms = {{.a = left, .w = &right}}};
    packed_multiply(c, g->m, &t, 1, true);
}

/* One thin gradient: its thin side, transposed, [rank, T]. */
struct thin {
    const struct matmul_gradient *g;
    bool turned; /* the thin side is b */
    int rank;
    struct packed_operand left;
};
/* Those that share a wide side. */
struct side {
    struct mat wide; /* [T, cols] */
    int members[MATMUL_GRADIENTS], n;
    int64_t left_row; /* of the first member in `lefts` */
    int rows;         /* of all members */
    int first_strip;
};
struct outer {
    const struct compute *c;
    int64_t T, ld;
    bool accumulate;
    struct thin thin[MATMUL_GRADIENTS];
    struct side sides[MATMUL_GRADIENTS];
    int n_thin, n_sides;
    unsigned char *lefts; /* [rows of all, ld] */
};

static void add_thin(struct outer *o, const struct matmul_gradient *g)
{
    const bool turned = g->n < g->m;
    struct mat wide = turned ? matrix_of(g->a, g->a_type, g->lda, o->T, g->m) : matrix_of(g->b, g->b_type, g->ldb, o->T, g->n);
    o->thin[o->n_thin] = (struct thin){.g = g, .turned = turned, .rank = (int)(turned ? g->n : g->m)};
    int s = 0;
    while (s < o->n_sides && !(o->sides[s].wide.data == wide.data && o->sides[s].wide.cols == wide.cols &&
                               o->sides[s].wide.type == wide.type && o->sides[s].wide.row_bytes == wide.row_bytes))
        s++;
    if (s == o->n_sides)
        o->sides[o->n_sides++] = (struct side){.wide = wide};
    o->sides[s].members[o->sides[s].n++] = o->n_thin++;
    o->sides[s].rows += o->thin[o->n_thin - 1].rank;
}

static void block_turn(void *arg, int block, int slot)
{
    (void)slot;
    const struct outer *o = arg;
    packed_transpose(o->c, &o->thin[block].left, 0, o->thin[block].rank, 1);
}

/* sums[rank, STRIP] to columns n0 .. of the gradient. */
static void add_sums(const struct outer *o, const struct thin *t, const float *sums, int64_t n0, int cols)
{
    const struct matmul_gradient *g = t->g;
    if (t->turned) {
        for (int j = 0; j < cols; j++) {
            float *to = g->dw + (n0 + j) * g->lddw;
            for (int r = 0; r < t->rank; r++)
                to[r] = (o->accumulate ? to[r] : 0) + g->scale * sums[r * STRIP + j];
        }
        return;
    }
    for (int r = 0; r < t->rank; r++) {
        float *to = g->dw + r * g->lddw + n0;
        for (int j = 0; j < cols; j++)
            to[j] = (o->accumulate ? to[j] : 0) + g->scale * sums[r * STRIP + j];
    }
}

static void block_strip(void *arg, int block, int slot)
{
    const struct outer *o = arg;
    const struct compute *c = o->c;
    int s = o->n_sides - 1;
    while (block < o->sides[s].first_strip)
        s--;
    const struct side *side = &o->sides[s];
    const int64_t n0 = (int64_t)(block - side->first_strip) * STRIP, stretch = packed_stretch(o->T, side->wide.type);
    const int cols = (int)min64(STRIP, side->wide.cols - n0);
    unsigned char *panel = c->scratch->slot[slot].data;
    float *sums = (float *)(void *)(panel + (size_t)STRIP * KC * packed_element(c));
    const unsigned char *left = o->lefts + (size_t)(side->left_row * o->ld) * packed_element(c);
    for (int64_t k0 = 0; k0 < o->T; k0 += stretch) {
        const int depth = (int)min64(stretch, o->T - k0);
        c->k->pack_nn(panel, &side->wide, n0, cols, k0, depth);
        multiply_panels(c->k, left + (size_t)k0 * packed_element(c), o->ld, panel, (int)round_up(depth, 32), sums, STRIP, side->rows, cols,
                        k0 > 0);
    }
    for (int i = 0; i < side->n; i++) {
        const struct thin *t = &o->thin[side->members[i]];
        add_sums(o, t, sums, n0, cols);
        sums += t->rank * STRIP;
    }
}

static void thin_gradients(struct outer *o)
{
    const struct compute *c = o->c;
    int64_t rows = 0;
    int strips = 0;
    o->ld = packed_stride(o->T);
    for (int s = 0; s < o->n_sides; s++) {
        o->sides[s].left_row = rows;
        rows += o->sides[s].rows;
    }
    o->lefts = scratch_shared(c, 0, packed_bytes(c, rows + ROW_PAD, o->T));
    for (int s = 0; s < o->n_sides; s++) {
        struct side *side = &o->sides[s];
        int64_t at = side->left_row;
        for (int i = 0; i < side->n; i++) {
            struct thin *t = &o->thin[side->members[i]];
            t->left = (struct packed_operand){.data = o->lefts + (size_t)(at * o->ld) * packed_element(c),
                                              .ld = o->ld,
                                              .depth = o->T,
                                              .source = t->turned ? t->g->b : t->g->a,
                                              .source_ld = t->turned ? t->g->ldb : t->g->lda,
                                              .source_type = t->turned ? t->g->b_type : t->g->a_type};
            at += t->rank;
        }
        side->first_strip = strips;
        strips += (int)((side->wide.cols + STRIP - 1) / STRIP);
    }
    scratch_slots(c, (size_t)STRIP * KC * packed_element(c) + (size_t)SUMS_MOST * STRIP * sizeof(float));
    pool_run(c->pool, c->role, block_turn, o, o->n_thin);
    pool_run(c->pool, c->role, block_strip, o, strips);
}

void matmul_tn_joined(const struct compute *c, const struct matmul_gradient *gradients, int n, int64_t T, bool accumulate)
{
    assert(n >= 1 && n <= MATMUL_GRADIENTS);
    struct outer o = {.c = c, .T = T, .accumulate = accumulate};
    for (int i = 0; i < n; i++) {
        const struct matmul_gradient *g = &gradients[i];
        assert((g->a_type == DT_F32 || g->a_type == DT_BF16) && (g->b_type == DT_F32 || g->b_type == DT_BF16));
        if (g->m <= 0 || g->n <= 0)
            continue;
        if (T <= 0) {
            for (int64_t r = 0; r < g->m && !accumulate; r++)
                memset(g->dw + r * g->lddw, 0, (size_t)g->n * sizeof *g->dw);
        } else if (!takes_bf16(c, g, T)) {
            assert(g->a_type == DT_F32 && g->b_type == DT_F32);
            f32_tn(c, g->dw, g->lddw, g->a, g->lda, g->m, g->b, g->ldb, g->n, T, g->scale, accumulate);
        } else if (g->m <= THIN || g->n <= THIN) {
            add_thin(&o, g);
        } else {
            wide_gradient(c, g, T, accumulate);
        }
    }
    if (o.n_thin > 0)
        thin_gradients(&o);
}

void matmul_tn(const struct compute *c, float *dw, int64_t lddw, const float *a, int64_t lda, int64_t m, const float *b, int64_t ldb,
               int64_t n, int64_t T, float scale, bool accumulate)
{
    const struct matmul_gradient g = {.dw = dw, .lddw = lddw, .a = a, .b = b, .lda = lda, .ldb = ldb, .m = m, .n = n, .scale = scale};
    matmul_tn_joined(c, &g, 1, T, accumulate);
}
