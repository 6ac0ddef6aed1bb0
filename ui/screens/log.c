/* log.c - screen 7: what was said, oldest first; follows the end until somebody looks up. */
#include <stdio.h>
#include <string.h>

#include "ui/core/width.h"
#include "ui/screens/state.h"

static const char *const level_names[] = {"", "warning", "error"};

static bool passes(const struct view_log_line *line, const char *filter)
{
    if (!filter[0] || strcmp(filter, "all") == 0)
        return true;
    if (strcmp(filter, "bad") == 0)
        return line->level != MESSAGE_INFO;
    return text_contains(line->text, filter) || (line->level != MESSAGE_INFO && strcmp(filter, level_names[line->level]) == 0);
}

void log_refresh(const struct view *v, struct ui_state *ui)
{
    struct log_state *s = &ui->log;
    order_start(&s->order, v->log.count, 0);
    for (size_t i = 0; i < v->log.count; i++)
        if (passes(&v->log.rows[i], s->filter))
            order_add(&s->order, i);
    if (!s->held && s->order.count > 0)
        s->list.selected = s->order.count - 1;
    list_move(&s->list, s->order.count, 0);
    s->held = s->order.count > 0 && s->list.selected + 1 < s->order.count;
}

void log_draw(struct canvas *c, const struct view *v, struct ui_state *ui)
{
    struct log_state *s = &ui->log;
    struct rect box = ui->layout.pane[LOG_PANE], in = rect_inside(box);
    log_refresh(v, ui);
    struct str right = {0};
    if (s->filter[0])
        str_printf(&right, "only: %s (%zu)  ", s->filter, s->order.count);
    str_add(&right, s->held ? "held" : "follow");
    canvas_box(c, box, true, v->log.file ? v->log.file : "log", str_text(&right));
    str_free(&right);
    if (in.rows < 3)
        return;
    static const enum role roles[] = {ROLE_TEXT, ROLE_WARN, ROLE_ERROR};
    /* The selected line stands in full at the bottom when it does not fit in its row. */
    size_t page = (size_t)in.rows;
    const struct view_log_line *selected = s->order.count > 0 ? &v->log.rows[s->order.index[s->list.selected]] : NULL;
    int text_cols = in.cols - 21, full = 0;
    if (selected && width_text(selected->text) > text_cols) {
        struct wrap w = {.rest = selected->text};
        while (wrap_next(&w, in.cols - 2))
            full++;
        full = full > in.rows / 2 ? in.rows / 2 : full;
        page -= (size_t)full + 1;
    }
    list_show(&s->list, s->order.count, page);
    for (size_t i = s->list.top; i < s->order.count && i < s->list.top + page; i++) {
        const struct view_log_line *line = &v->log.rows[s->order.index[i]];
        int row = in.row + (int)(i - s->list.top);
        canvas_put(c, row, in.col, ROLE_MARK, i == s->list.selected ? '>' : ' ');
        canvas_fit(c, row, in.col + 2, 9, ROLE_DIM, line->time);
        canvas_fit(c, row, in.col + 12, 7, roles[line->level], level_names[line->level]);
        canvas_fit(c, row, in.col + 20, text_cols, roles[line->level], line->text);
        if (i == s->list.selected)
            canvas_role(c, (struct rect){row, in.col, 1, in.cols}, ROLE_CURSOR);
    }
    if (full > 0) {
        int row = in.row + in.rows - full - 1, end = in.row + in.rows;
        for (int col = 0; col < in.cols; col++)
            canvas_put(c, row, in.col + col, ROLE_BORDER, 0x2500);
        row++;
        struct wrap w = {.rest = selected->text};
        while (row < end && wrap_next(&w, in.cols - 2))
            canvas_text_n(c, row++, in.col + 1, in.cols - 2, roles[selected->level], w.line, w.len);
    }
    if (s->order.count == 0)
        canvas_fit(c, in.row + 1, in.col + 2, in.cols - 2, ROLE_DIM, s->filter[0] ? "no line passes the filter (f, then an empty line, shows all)" : "nothing was said");
    scroll_mark(c, box, s->list.top, page, s->order.count);
}
