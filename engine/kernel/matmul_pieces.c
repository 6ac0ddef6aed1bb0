/* matmul_pieces.c - see pieces.h. A block of the pool is some columns of one piece: it converts its rows, packs its columns and multiplies, with the
 * sums in the order of the packed driver. Pieces of many rows, and all in F32 mode, are products like any other. */
#include "engine/kernel/pieces.h"

#include "engine/base/number.h"
#include "engine/kernel/matmul.h"
#include "engine/kernel/matmul_packed.h"

enum { PIECE_COLS = 128, PIECE_ROWS = 32 };

struct pieces {
    const struct compute *c;
    const struct piece *list;
    int n;
    size_t panel_bytes; /* in the scratch of a thread: the panels, then the rows */
};

static bool is_small(const struct compute *c, const struct piece *p)
{
    return c->mode == GM_COMPUTE_BF16 && p->rows <= PIECE_ROWS;
}

static int blocks_of(const struct compute *c, const struct piece *p)
{
    return is_small(c, p) ? (int)((p->w->rows + PIECE_COLS - 1) / PIECE_COLS) : 0;
}

static void block_piece(void *arg, int block, int slot)
{
    const struct pieces *j = arg;
    const struct kernel_table *k = j->c->k;
    const struct piece *p = j->list;
    for (; block >= blocks_of(j->c, p); p++)
        block -= blocks_of(j->c, p);
    const int64_t depth = p->w->cols, ld = packed_stride(depth), stretch = packed_stretch(depth, p->w->type), n0 = (int64_t)block * PIECE_COLS;
    const int cols = (int)(p->w->rows - n0 < PIECE_COLS ? p->w->rows - n0 : PIECE_COLS);
    const size_t element = k->vnni ? 2 : 4;
    unsigned char *panel = j->c->scratch->slot[slot].data, *rows = panel + j->panel_bytes;
    k->convert(rows, ld, p->a, p->lda, p->rows, depth, round_up(depth, 32));
    for (int64_t k0 = 0; k0 < depth; k0 += stretch) {
        const int part = (int)(depth - k0 < stretch ? depth - k0 : stretch), kpad = (int)round_up(part, 32);
        k->pack_nt(panel, p->w, n0, cols, k0, part);
        multiply_panels(k, rows + (size_t)k0 * element, ld, panel, kpad, p->y + n0, p->ldy, (int)p->rows, cols, p->accumulate || k0 > 0);
    }
}

void matmul_nt_pieces(const struct compute *c, const struct piece *pieces, int n)
{
    struct pieces j = {.c = c, .list = pieces, .n = n, .panel_bytes = (size_t)PIECE_COLS * KC * sizeof(float)};
    int blocks = 0;
    size_t rows = 0;
    for (int i = 0; i < n; i++) {
        const struct piece *p = &pieces[i];
        blocks += blocks_of(c, p);
        if (!is_small(c, p))
            matmul_nt(c, p->y, p->ldy, p->a, p->lda, p->rows, p->w, p->accumulate);
        else if (packed_bytes(c, PIECE_ROWS, p->w->cols) > rows)
            rows = packed_bytes(c, PIECE_ROWS, p->w->cols);
    }
    scratch_slots(c, j.panel_bytes + rows);
    pool_run(c->pool, c->role, block_piece, &j, blocks);
}
