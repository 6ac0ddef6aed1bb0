/* samples.c - screen 3: every sample of the run, newest first, with its counts; the selected one in full. */
#include <stdio.h>
#include <string.h>

#include "ui/core/width.h"
#include "ui/screens/state.h"

static const struct view_sample *at(const struct view *v, size_t i)
{
    return i < v->samples.count ? &v->samples.rows[v->samples.count - 1 - i] : NULL;
}

const struct view_sample *samples_selected(const struct view *v, const struct ui_state *ui)
{
    return at(v, ui->samples.list.selected);
}

static void draw_row(struct canvas *c, int row, int col, int cols, const struct view_sample *s, bool selected, bool focus, bool new_step)
{
    canvas_put(c, row, col, ROLE_MARK, selected ? '>' : ' ');
    if (new_step) {
        if (s->step == 0)
            canvas_right(c, row, col + 1, 6, ROLE_TEXT, "base");
        else
            canvas_printf(c, row, col + 1, 6, ROLE_TEXT, "%6ld", s->step);
    }
    canvas_printf(c, row, col + 8, 4, ROLE_TEXT, "%4.1f", s->temperature);
    canvas_put(c, row, col + 14, verse_role(s->verse.verdict), (uint32_t)verse_mark(s->verse.verdict));
    char counts[24] = "";
    size_t used = 0;
    if (s->verse.line_count > 4)
        snprintf(counts, sizeof counts, "%d lines", (int)s->verse.line_count);
    else
        for (size_t i = 0; i < s->verse.line_count && used < sizeof counts; i++) {
            int n = s->verse.lines[i].syllables;
            used += (size_t)(n < 0 ? snprintf(counts + used, sizeof counts - used, i ? " -" : "-")
                                   : snprintf(counts + used, sizeof counts - used, i ? " %d" : "%d", n));
        }
    canvas_fit(c, row, col + 16, 8, verse_role(s->verse.verdict), counts);
    struct str text = {0};
    for (size_t i = 0; i < s->verse.line_count; i++)
        str_printf(&text, "%s%s", i ? " / " : "", s->verse.lines[i].text ? s->verse.lines[i].text : "");
    canvas_fit(c, row, col + 25, cols - 25, ROLE_CHAT_MODEL, str_text(&text));
    str_free(&text);
    if (selected)
        canvas_role(c, (struct rect){row, col, 1, cols}, focus ? ROLE_CURSOR : ROLE_CURSOR_BLUR);
}

static void draw_list(struct canvas *c, const struct view *v, struct ui_state *ui, struct rect box, bool focus)
{
    struct samples_state *s = &ui->samples;
    struct rect in = rect_inside(box);
    size_t count = v->samples.count;
    size_t strict = 0;
    for (size_t i = 0; i < count; i++)
        strict += v->samples.rows[i].verse.verdict == VERDICT_STRICT;
    char title[96];
    snprintf(title, sizeof title, count ? "samples  %zu of %zu are 5-7-5" : "samples", strict, count);
    canvas_box(c, box, focus, title, v->samples.running ? v->samples.running_note : NULL);
    if (in.rows < 2)
        return;
    canvas_fit(c, in.row, in.col, in.cols, ROLE_DIM, "   step    T    lines    text");
    if (count == 0) {
        canvas_fit(c, in.row + 2, in.col + 2, in.cols - 2, ROLE_DIM, "none yet: they come with each evaluation (e: now; s: sample; i: your prompt)");
        return;
    }
    if (s->list.selected > 0 && count > s->seen) /* newest is on top: whoever looks at an old one stays with it */
        list_move(&s->list, count, (long)(count - s->seen));
    s->seen = count;
    size_t page = (size_t)in.rows - 1;
    list_show(&s->list, count, page);
    for (size_t i = s->list.top; i < count && i < s->list.top + page; i++) {
        bool new_step = i == s->list.top || at(v, i)->step != at(v, i - 1)->step;
        draw_row(c, in.row + 1 + (int)(i - s->list.top), in.col, in.cols, at(v, i), i == s->list.selected, focus, new_step);
    }
    if (focus) {
        c->cursor_row = in.row + 1 + (int)(s->list.selected - s->list.top);
        c->cursor_col = in.col;
    }
    scroll_mark(c, box, s->list.top, page, count);
}

static void draw_detail(struct canvas *c, const struct view *v, struct ui_state *ui, struct rect box, bool focus)
{
    const struct view_sample *s = samples_selected(v, ui);
    struct rect in = rect_inside(box);
    char title[64] = "sample", right[96] = "";
    if (s) {
        if (s->step == 0)
            snprintf(title, sizeof title, "base  T=%.2f", s->temperature);
        else
            snprintf(title, sizeof title, "@%ld  T=%.2f", s->step, s->temperature);
        snprintf(right, sizeof right, "%c %s", verse_mark(s->verse.verdict), verse_word(s->verse.verdict));
    }
    canvas_box(c, box, focus, title, right);
    if (!s || in.rows < 1)
        return;
    int row = 0;
    struct wrap w = {.rest = s->prompt};
    while (row < in.rows - 4 && row < 4 && wrap_next(&w, in.cols - 11))
        canvas_text_n(c, in.row + row++, in.col + 9, in.cols - 10, ROLE_CHAT_USER, w.line, w.len);
    if (row > 0) {
        canvas_text(c, in.row, in.col + 1, 8, ROLE_DIM, "prompt");
        row += in.rows >= 7;
    }
    row += verse_draw(c, in.row + row, in.col + 1, in.rows - row, in.cols - 2, &s->verse, true);
    row += in.rows > row + 3;
    struct wrap note = {.rest = s->verse.note};
    while (row < in.rows && wrap_next(&note, in.cols - 2))
        canvas_text_n(c, in.row + row++, in.col + 1, in.cols - 2, verse_role(s->verse.verdict), note.line, note.len);
    if (row < in.rows)
        canvas_printf(c, in.row + row, in.col + 1, in.cols - 2, ROLE_DIM, "seed %llu   %d tokens   %.*f s", (unsigned long long)s->seed,
                      s->tokens, s->seconds < 0.1 ? 2 : 1, s->seconds);
}

void samples_draw(struct canvas *c, const struct view *v, struct ui_state *ui)
{
    const struct layout *l = &ui->layout;
    int focus = ui_focus(ui, v);
    if (layout_shown(l, SAMPLES_LIST))
        draw_list(c, v, ui, l->pane[SAMPLES_LIST], focus == SAMPLES_LIST);
    if (layout_shown(l, SAMPLES_DETAIL))
        draw_detail(c, v, ui, l->pane[SAMPLES_DETAIL], focus == SAMPLES_DETAIL);
}
