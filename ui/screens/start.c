/* start.c - the page of `gemmaiku` without a run: the demo, the runs there are, the models found. */
#include <stdio.h>
#include <string.h>

#include "ui/core/width.h"
#include "ui/screens/state.h"

static const char *const headings[] = {"start here", "runs", "models found"};

void start_draw(struct canvas *c, const struct view *v, struct ui_state *ui)
{
    const struct view_start *s = &v->start;
    struct rect box = ui->layout.pane[START_LIST], in = rect_inside(box);
    canvas_box(c, box, true, "open", NULL);
    list_move(&ui->start, s->count, 0);
    /* Headings take rows, so the scroll is counted in screen lines: the line of the selected row must be visible. */
    int line = 0, selected_line = 0;
    for (size_t i = 0; i < s->count; i++) {
        line += (i == 0 || s->rows[i].kind != s->rows[i - 1].kind) ? 1 + (i > 0) : 0;
        if (i == ui->start.selected)
            selected_line = line;
        line++;
    }
    int skip = selected_line >= in.rows ? selected_line - in.rows + 1 : 0;
    line = 0;
    size_t shown = 0, first = 0;
    for (size_t i = 0; i < s->count; i++) {
        const struct view_start_row *row = &s->rows[i];
        if (i == 0 || row->kind != s->rows[i - 1].kind) {
            line += i > 0;
            if (line - skip >= 0 && line - skip < in.rows)
                canvas_fit(c, in.row + line - skip, in.col + 1, in.cols - 2, ROLE_TITLE, headings[row->kind]);
            line++;
        }
        int at = line++ - skip;
        if (at < 0 || at >= in.rows)
            continue;
        first = shown++ == 0 ? i : first;
        bool here = i == ui->start.selected;
        canvas_put(c, in.row + at, in.col + 1, ROLE_MARK, here ? '>' : ' ');
        int name = in.cols / 3 < 40 ? in.cols / 3 : 40;
        canvas_fit(c, in.row + at, in.col + 3, name, ROLE_TEXT, row->name);
        canvas_fit(c, in.row + at, in.col + 5 + name, in.cols - 6 - name, ROLE_DIM, row->about);
        if (here) {
            canvas_role(c, (struct rect){in.row + at, in.col, 1, in.cols}, ROLE_CURSOR);
            c->cursor_row = in.row + at;
            c->cursor_col = in.col + 1;
        }
    }
    scroll_mark(c, box, first, shown, s->count);
    if (!layout_shown(&ui->layout, START_DETAIL))
        return;
    box = ui->layout.pane[START_DETAIL];
    in = rect_inside(box);
    const struct view_start_row *row = ui->start.selected < s->count ? &s->rows[ui->start.selected] : NULL;
    canvas_box(c, box, false, row ? row->name : NULL, NULL);
    if (!row)
        return;
    static const char *const what[] = {"Enter trains the built-in model on the built-in haiku, here and now: watch it, taste it, talk to it.",
                                       "Enter opens this run: its curve, samples and checkpoints; training goes on from its last checkpoint with p.",
                                       "To train this model on your own data:"};
    int line_at = in.row;
    struct wrap w = {.rest = what[row->kind]};
    while (line_at < in.row + in.rows && wrap_next(&w, in.cols - 2))
        canvas_text_n(c, line_at++, in.col + 1, in.cols - 2, ROLE_TEXT, w.line, w.len);
    if (row->how && line_at < in.row + in.rows)
        canvas_fit(c, line_at, in.col + 3, in.cols - 4, ROLE_INPUT, row->how);
}
