/* step_time.c - screen 2, in place of the curve: where the time of a step goes. A bar says how long a part takes; what of it is filled, the part's products
 * would take at the peak of this machine. */
#include <math.h>
#include <stdio.h>

#include "ui/core/bar.h"
#include "ui/core/width.h"
#include "ui/screens/state.h"

enum { NAME_COLS = 23, MS_COLS = 9, SHARE_COLS = 7, PART_COLS = NAME_COLS + MS_COLS + 2 * SHARE_COLS };

static const char *percent(double share, char out[16])
{
    if (isnan(share))
        return "";
    snprintf(out, 16, "%.0f %%", 100 * share);
    return out;
}

/* Which parts have a row of their own: all, or the longest. */
static void choose(const struct view_run *run, size_t rows, bool shown[VIEW_PARTS_MAX])
{
    for (size_t i = 0; i < run->part_count; i++) {
        size_t longer = 0;
        for (size_t k = 0; k < run->part_count; k++)
            longer += run->parts[k].ms > run->parts[i].ms || (run->parts[k].ms == run->parts[i].ms && k < i);
        shown[i] = run->part_count <= rows || longer + 1 < rows;
    }
}

static void draw_part(struct canvas *c, int row, struct rect in, const struct view_part *p, double whole, double longest)
{
    char bar[BAR_CELLS_MAX + 1], text[16];
    int col = in.col + 1, right = in.col + in.cols - 1;
    canvas_fit(c, row, col, NAME_COLS, ROLE_TEXT, p->name);
    snprintf(text, sizeof text, "%.1f", p->ms);
    canvas_right(c, row, col + NAME_COLS, MS_COLS, ROLE_TEXT, text);
    canvas_right(c, row, col + NAME_COLS + MS_COLS, SHARE_COLS, ROLE_TEXT, percent(p->ms / whole, text));
    canvas_right(c, row, col + NAME_COLS + MS_COLS + SHARE_COLS, SHARE_COLS, ROLE_DIM, percent(p->share_of_peak, text));
    col += PART_COLS + 2;
    bar_text(bar, right - col, p->ms / longest, isnan(p->share_of_peak) ? 0 : p->share_of_peak);
    canvas_text(c, row, col, right - col, ROLE_PLOT_S1, bar);
}

void step_time_draw(struct canvas *c, const struct view *v, struct rect box, bool focus)
{
    const struct view_run *run = &v->run;
    struct rect in = rect_inside(box);
    char right[64] = "", text[16];
    double whole = 0, longest = 0;
    for (size_t i = 0; i < run->part_count; i++) {
        whole += run->parts[i].ms;
        longest = fmax(longest, run->parts[i].ms);
    }
    if (run->part_count > 0)
        snprintf(right, sizeof right, "%.1f ms%s%s%s", whole, isnan(run->share_of_peak) ? "" : ", ", percent(run->share_of_peak, text),
                 isnan(run->share_of_peak) ? "" : " of the peak");
    canvas_box(c, box, focus, "where the time of a step goes", right);
    if (run->part_count == 0 || in.rows < 2) {
        const char *why = run->state == RUN_TRAINING || run->state == RUN_LOADING || run->state == RUN_EVALUATING
                              ? "it comes with the first step"
                              : "known of a run that trains here; p goes on with one that was stopped";
        canvas_fit(c, in.row + in.rows / 2, in.col + (in.cols > width_text(why) ? (in.cols - width_text(why)) / 2 : 0), in.cols, ROLE_DIM, why);
        return;
    }
    bool shown[VIEW_PARTS_MAX];
    int row = in.row + 1, last = in.row + in.rows;
    struct view_part others = {.name = "the others", .share_of_peak = NAN};
    choose(run, (size_t)(in.rows - 1), shown);
    canvas_fit(c, in.row, in.col + 1, NAME_COLS, ROLE_DIM, "part");
    canvas_right(c, in.row, in.col + 1 + NAME_COLS, MS_COLS, ROLE_DIM, "ms");
    canvas_right(c, in.row, in.col + 1 + NAME_COLS + MS_COLS, SHARE_COLS, ROLE_DIM, "step");
    canvas_right(c, in.row, in.col + 1 + NAME_COLS + MS_COLS + SHARE_COLS, SHARE_COLS, ROLE_DIM, "peak");
    const char *legend = "# at the peak  . the rest";
    if (width_text(legend) <= in.cols - PART_COLS - 4)
        canvas_fit(c, in.row, in.col + 1 + PART_COLS + 2, in.cols - PART_COLS - 4, ROLE_DIM, legend);
    for (size_t i = 0; i < run->part_count && row < last; i++) {
        if (shown[i])
            draw_part(c, row++, in, &run->parts[i], whole, longest);
        else
            others.ms += run->parts[i].ms;
    }
    if (others.ms > 0 && row < last)
        draw_part(c, row++, in, &others, whole, longest);
    if (row < last)
        canvas_fit(c, last - 1, in.col + 1, in.cols - 2, ROLE_DIM, "peak: share of the products that this machine could do in that time");
}
