/* Every size from 1x1 to 300x120, every screen, every pane zoomed: panes lie inside, do not overlap, and the first one is there. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "ui/core/layout.h"

static bool overlap(struct rect a, struct rect b)
{
    return a.row < b.row + b.rows && b.row < a.row + a.rows && a.col < b.col + b.cols && b.col < a.col + a.cols;
}

static void check(int rows, int cols, enum layout_kind kind, int zoomed)
{
    struct layout l;
    layout_make(&l, rows, cols, kind, zoomed);
    if (rows < LAYOUT_MIN_ROWS || cols < LAYOUT_MIN_COLS) {
        assert_true(l.small);
        return;
    }
    assert_false(l.small);
    assert_true(layout_shown(&l, zoomed >= 0 ? zoomed : 0));
    long area = 0;
    for (int i = 0; i < l.pane_count; i++) {
        if (!layout_shown(&l, i))
            continue;
        struct rect r = l.pane[i];
        if (r.row < 1 || r.col < 0 || r.row + r.rows > rows - 2 || r.col + r.cols > cols || r.rows < 5 || r.cols < 20)
            fail_msg("pane %d of screen %d at %dx%d: row %d col %d, %d x %d", i, (int)kind, rows, cols, r.row, r.col, r.rows, r.cols);
        area += (long)r.rows * r.cols;
        for (int k = 0; k < i; k++)
            if (layout_shown(&l, k) && overlap(r, l.pane[k]))
                fail_msg("panes %d and %d of screen %d overlap at %dx%d", k, i, (int)kind, rows, cols);
    }
    if (area != (long)(rows - 3) * cols)
        fail_msg("screen %d leaves %ld cells of the body empty at %dx%d", (int)kind, (long)(rows - 3) * cols - area, rows, cols);
}

static void all_sizes(void **state)
{
    for (int rows = 0; rows <= 120; rows++)
        for (int cols = 0; cols <= 300; cols++)
            for (int kind = 0; kind < LAYOUT_COUNT; kind++)
                check(rows, cols, (enum layout_kind)kind, -1);
    for (int kind = 0; kind < LAYOUT_COUNT; kind++)
        for (int pane = 0; pane < PANE_MAX; pane++) {
            struct layout l;
            layout_make(&l, 24, 80, (enum layout_kind)kind, -1);
            if (pane < l.pane_count)
                check(24, 80, (enum layout_kind)kind, pane);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_sizes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
