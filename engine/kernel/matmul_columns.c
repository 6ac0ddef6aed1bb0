/* matmul_columns.c - see matmul_columns.h: the ways of matmul.c for few rows, one panel at a time. */
#include "engine/kernel/matmul_columns.h"

#include "engine/base/number.h"
#include "engine/kernel/matmul_few.h"

#include <assert.h>

struct columns columns_begin(const struct compute *c, const struct mat *w, const float *x, int64_t T)
{
    struct columns m = {.c = c, .w = w, .small = T <= SMALL_ROWS && !few_panel(c, w, 0, 0)};
    assert(c->mode == GM_COMPUTE_BF16);
    if (m.small) {
        const int64_t ld = round_up(w->cols, 32);
        float *rows = scratch_shared(c, 0, (size_t)(T * ld) * sizeof *rows);
        c->k->convert_small(rows, ld, x, w->cols, (int)T, w->cols);
        m.rows = (unsigned char *)rows;
        m.element = sizeof *rows;
        m.row_bytes = (size_t)ld * m.element;
        return m;
    }
    void *rows = scratch_shared(c, 0, packed_bytes(c, T + ROW_PAD, w->cols)); /* any row may be the first of a tile */
    const struct packed_operand a = {.data = rows, .ld = packed_stride(w->cols), .depth = w->cols, .source = x, .source_ld = w->cols};
    packed_convert(c, &a, 1, T);
    scratch_slots(c, (size_t)PANEL * KC * sizeof(float));
    m.rows = rows;
    m.element = packed_element(c);
    m.row_bytes = (size_t)a.ld * m.element;
    return m;
}

void columns_multiply(const struct columns *m, int64_t row, int64_t n0, float *y, int slot)
{
    const struct kernel_table *k = m->c->k;
    const unsigned char *a = m->rows + (size_t)row * m->row_bytes;
    const int64_t left = m->w->rows - n0, depth = m->w->cols, stretch = packed_stretch(depth, m->w->type), ld = (int64_t)(m->row_bytes / m->element);
    const int cols = (int)(left < PANEL ? left : PANEL);
    if (m->small) {
        const struct mat w = mat_rows(m->w, n0, cols);
        k->small(y, cols, (const float *)(const void *)a, ld, 1, &w, 0, cols, false);
        return;
    }
    for (int64_t k0 = 0; k0 < depth; k0 += stretch) {
        const int part = (int)(depth - k0 < stretch ? depth - k0 : stretch), kpad = (int)round_up(part, 32);
        const void *panel = few_panel(m->c, m->w, n0, k0);
        const bool packed = panel != NULL;
        if (!packed) {
            k->pack_nt(m->c->scratch->slot[slot].data, m->w, n0, cols, k0, part);
            panel = m->c->scratch->slot[slot].data;
        }
        if (packed && k->few)
            k->few(a + (size_t)k0 * m->element, ld, panel, kpad, y, cols, 1, cols, k0 > 0, NULL);
        else
            multiply_panels(k, a + (size_t)k0 * m->element, ld, panel, kpad, y, cols, 1, cols, k0 > 0);
    }
}
