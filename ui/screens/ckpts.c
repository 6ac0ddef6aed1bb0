/* ckpts.c - screen 5: the checkpoints with their losses and form rates; what the selected one wrote. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "ui/core/width.h"
#include "ui/screens/state.h"

static const char *const sort_names[CKPT_SORT_COUNT] = {"newest", "loss", "form rate"};

struct sort_key {
    double key;
    uint32_t index;
};

static int by_key(const void *a, const void *b)
{
    const struct sort_key *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

void ckpts_refresh(const struct view *v, struct ui_state *ui)
{
    struct ckpts_state *s = &ui->ckpts;
    size_t count = v->ckpts.count;
    struct sort_key *keys = mem_new(count + 1, sizeof *keys);
    for (size_t i = 0; i < count; i++) {
        const struct view_ckpt *k = &v->ckpts.rows[i];
        double key = s->sort == SORT_LOSS ? k->val_loss : s->sort == SORT_FORM ? -k->form_rate : (double)i;
        keys[i] = (struct sort_key){isnan(key) ? INFINITY : key, (uint32_t)i};
    }
    qsort(keys, count, sizeof *keys, by_key);
    order_start(&s->order, count, 0);
    for (size_t i = 0; i < count; i++)
        order_add(&s->order, keys[i].index);
    mem_free(keys);
    list_move(&s->list, count, 0);
}

long ckpts_selected(const struct view *v, struct ui_state *ui)
{
    ckpts_refresh(v, ui);
    return ui->ckpts.list.selected < ui->ckpts.order.count ? (long)ui->ckpts.order.index[ui->ckpts.list.selected] : -1;
}

long ckpts_best(const struct view *v)
{
    long first = -1;
    for (size_t i = 0; i < v->ckpts.count; i++) {
        if (!v->ckpts.rows[i].can_export)
            continue;
        if (v->ckpts.rows[i].best_loss)
            return (long)i;
        if (first < 0)
            first = (long)i;
    }
    return first;
}

static void draw_row(struct canvas *c, int row, int col, int cols, const struct view_ckpt *k, bool selected, bool focus)
{
    char text[24];
    canvas_put(c, row, col, ROLE_MARK, selected ? '>' : ' ');
    canvas_right(c, row, col + 1, 7, ROLE_TEXT, k->name);
    canvas_right(c, row, col + 9, 7, k->best_loss ? ROLE_OK : ROLE_TEXT, loss_text(k->val_loss, text));
    if (k->best_loss)
        canvas_put(c, row, col + 16, ROLE_OK, '*');
    if (isfinite(k->val_loss)) {
        double ppl = exp(k->val_loss);
        snprintf(text, sizeof text, ppl < 100 ? "%.2f" : "%.3g", ppl);
        canvas_right(c, row, col + 17, 7, ROLE_TEXT, text);
    } else
        canvas_right(c, row, col + 17, 7, ROLE_DIM, "-");
    if (!isnan(k->form_rate)) {
        canvas_printf(c, row, col + 26, 4, k->best_form ? ROLE_OK : ROLE_TEXT, "%3.0f%%", k->form_rate * 100);
        if (k->best_form)
            canvas_put(c, row, col + 30, ROLE_OK, '*');
        canvas_printf(c, row, col + 32, 14, ROLE_DIM, "%.0f-%.0f n=%ld", k->form_low * 100, k->form_high * 100, k->form_n);
    } else
        canvas_right(c, row, col + 26, 4, ROLE_DIM, "-");
    int note = cols < 70 ? 47 : 56; /* a narrow screen does without the size */
    if (k->bytes && note == 56)
        canvas_right(c, row, col + 46, 8, ROLE_DIM, bytes_text(k->bytes, text));
    canvas_fit(c, row, col + note, cols - note, k->loaded ? ROLE_MARK : ROLE_DIM, k->loaded ? "in chat" : k->note);
    if (k->loaded && k->note && cols > 74)
        canvas_fit(c, row, col + 65, cols - 65, ROLE_DIM, k->note);
    if (selected)
        canvas_role(c, (struct rect){row, col, 1, cols}, focus ? ROLE_CURSOR : ROLE_CURSOR_BLUR);
}

static void draw_list(struct canvas *c, const struct view *v, struct ui_state *ui, struct rect box, bool focus)
{
    struct ckpts_state *s = &ui->ckpts;
    struct rect in = rect_inside(box);
    char title[96], right[48];
    snprintf(title, sizeof title, "checkpoints%s%s", v->run.name ? "  " : "", v->run.name ? v->run.name : "");
    title[utf8_complete_prefix(title, strlen(title))] = '\0';
    snprintf(right, sizeof right, "sort: %s", sort_names[s->sort]);
    canvas_box(c, box, focus, title, right);
    if (in.rows < 2)
        return;
    canvas_fit(c, in.row, in.col, in.cols, ROLE_DIM, in.cols < 70 ? "    step     val     ppl  5-7-5 of samples     note" : "    step     val     ppl  5-7-5 of samples     size     note");
    size_t page = (size_t)in.rows - 1;
    if (v->ckpts.count == 0)
        canvas_fit(c, in.row + 2, in.col + 2, in.cols - 2, ROLE_DIM, "none yet (s writes one now)");
    list_show(&s->list, s->order.count, page);
    for (size_t i = s->list.top; i < s->order.count && i < s->list.top + page; i++)
        draw_row(c, in.row + 1 + (int)(i - s->list.top), in.col, in.cols, &v->ckpts.rows[s->order.index[i]], i == s->list.selected, focus);
    if (focus && s->order.count > 0) {
        c->cursor_row = in.row + 1 + (int)(s->list.selected - s->list.top);
        c->cursor_col = in.col;
    }
    scroll_mark(c, box, s->list.top, page, s->order.count);
}

static void draw_detail(struct canvas *c, const struct view *v, struct ui_state *ui, struct rect box, bool focus)
{
    struct rect in = rect_inside(box);
    long selected = ckpts_selected(v, ui);
    const struct view_ckpt *k = selected >= 0 ? &v->ckpts.rows[selected] : NULL;
    char title[64] = "samples", right[32] = "";
    size_t count = 0;
    for (size_t i = 0; k && i < v->samples.count; i++)
        count += v->samples.rows[i].step == k->step;
    if (k)
        snprintf(title, sizeof title, "what %.40s wrote", k->name ? k->name : "it");
    title[utf8_complete_prefix(title, strlen(title))] = '\0';
    if (count)
        snprintf(right, sizeof right, "%zu samples", count);
    canvas_box(c, box, focus, title, right);
    if (count == 0) {
        canvas_fit(c, in.row, in.col + 1, in.cols - 2, ROLE_DIM, "no samples at this step (Enter: talk to it)");
        return;
    }
    int line = 0, skip = ui->ckpts.scroll;
    for (size_t i = 0; i < v->samples.count; i++) {
        const struct view_sample *s = &v->samples.rows[i];
        if (s->step != k->step)
            continue;
        int need = 1 + (int)s->verse.line_count, row = line - skip;
        if (row >= 0 && row < in.rows) {
            canvas_put(c, in.row + row, in.col + 1, verse_role(s->verse.verdict), (uint32_t)verse_mark(s->verse.verdict));
            canvas_printf(c, in.row + row, in.col + 3, in.cols - 4, ROLE_DIM, "T %.1f  %s", s->temperature, s->prompt ? s->prompt : "");
            verse_draw(c, in.row + row + 1, in.col + 3, in.rows - row - 1, in.cols - 4, &s->verse, false);
        }
        line += need + (in.rows >= 12);
    }
    scroll_mark(c, box, (size_t)skip, (size_t)in.rows, (size_t)line);
    if (skip > line - 1)
        ui->ckpts.scroll = line > 0 ? line - 1 : 0;
}

void ckpts_draw(struct canvas *c, const struct view *v, struct ui_state *ui)
{
    const struct layout *l = &ui->layout;
    int focus = ui_focus(ui, v);
    ckpts_refresh(v, ui);
    if (layout_shown(l, CKPTS_LIST))
        draw_list(c, v, ui, l->pane[CKPTS_LIST], focus == CKPTS_LIST);
    if (layout_shown(l, CKPTS_DETAIL))
        draw_detail(c, v, ui, l->pane[CKPTS_DETAIL], focus == CKPTS_DETAIL);
}
