/* move.c - up, down, pages, ends and search, for whatever pane has the focus. */
#include <string.h>

#include "ui/screens/state.h"

static long delta_of(enum command_id id, long page)
{
    switch (id) {
    case COMMAND_MOVE_DOWN:
        return 1;
    case COMMAND_MOVE_UP:
        return -1;
    case COMMAND_HALF_DOWN:
        return page / 2 > 0 ? page / 2 : 1;
    case COMMAND_HALF_UP:
        return page / 2 > 0 ? -(page / 2) : -1;
    case COMMAND_PAGE_DOWN:
        return page > 1 ? page - 1 : 1;
    case COMMAND_PAGE_UP:
        return page > 1 ? 1 - page : -1;
    case COMMAND_MOVE_FIRST:
        return -1000000000;
    case COMMAND_MOVE_LAST:
        return 1000000000;
    default:
        return 0;
    }
}

static void scroll(int *at, long delta)
{
    long next = *at + delta;
    *at = next < 0 ? 0 : next > 1000000 ? 1000000 : (int)next; /* drawing clamps it to what there is */
}

static void move_list(struct ui_state *ui, const struct view *v, enum layout_kind kind, long delta)
{
    switch (kind) {
    case LAYOUT_DATA:
        data_refresh(v, ui);
        list_move(&ui->data.list, ui->data.order.count, delta);
        ui->data.scroll = 0;
        break;
    case LAYOUT_SAMPLES:
        list_move(&ui->samples.list, v->samples.count, delta);
        break;
    case LAYOUT_CKPTS:
        list_move(&ui->ckpts.list, v->ckpts.count, delta);
        ui->ckpts.scroll = 0;
        break;
    case LAYOUT_LOG:
        log_refresh(v, ui);
        list_move(&ui->log.list, ui->log.order.count, delta);
        ui->log.held = ui->log.list.selected + 1 < ui->log.order.count;
        break;
    case LAYOUT_START:
        list_move(&ui->start, v->start.count, delta);
        break;
    default:
        break;
    }
}

enum ui_reply ui_move(struct ui_state *ui, const struct view *v, enum command_id id)
{
    enum layout_kind kind = ui_kind(ui, v);
    int focus = ui_focus(ui, v);
    struct rect in = rect_inside(ui->layout.pane[focus]);
    long delta = delta_of(id, in.rows > 2 ? in.rows - 1 : 1);
    bool sideways = id == COMMAND_MOVE_LEFT || id == COMMAND_MOVE_RIGHT;
    if (kind == LAYOUT_TRAIN) {
        if (focus == TRAIN_RUN)
            scroll(&ui->train.scroll, delta);
        else if (!train_move(ui, v, id) && sideways && ui->train.span > 0) {
            struct command pan = {.id = id == COMMAND_MOVE_LEFT ? COMMAND_PAN_LEFT : COMMAND_PAN_RIGHT};
            train_perform(ui, v, &pan);
        }
    } else if (kind == LAYOUT_CHAT)
        scroll(&ui->chat.scroll, -delta);
    else if (kind == LAYOUT_EXPORT && focus == EXPORT_RESULT)
        scroll(&ui->export.scroll, sideways ? 0 : delta);
    else if (kind == LAYOUT_EXPORT) {
        export_make(v, ui);
        int direction = id == COMMAND_MOVE_LEFT ? -1 : 1;
        if (sideways && !export_type(ui, v, direction))
            export_toggle(ui, v, direction);
        else if (sideways)
            return UI_DONE;
        else {
            struct list fields = {ui->export.field, 0};
            list_move(&fields, export_fields(v), delta);
            ui->export.field = fields.selected;
        }
    } else if (kind == LAYOUT_DATA && focus == DATA_DETAIL && !sideways)
        scroll(&ui->data.scroll, delta);
    else if (kind == LAYOUT_CKPTS && focus == CKPTS_DETAIL && !sideways)
        scroll(&ui->ckpts.scroll, delta);
    else if (sideways && (kind == LAYOUT_DATA || kind == LAYOUT_SAMPLES || kind == LAYOUT_CKPTS))
        move_list(ui, v, kind, id == COMMAND_MOVE_LEFT ? -1 : 1); /* in a detail that fills the screen: the neighbour */
    else
        move_list(ui, v, kind, delta);
    return UI_DONE;
}

/* ---- search ---- */

static size_t search_count(const struct ui_state *ui, const struct view *v)
{
    switch (ui_kind(ui, v)) {
    case LAYOUT_DATA:
        return ui->data.order.count;
    case LAYOUT_SAMPLES:
        return v->samples.count;
    case LAYOUT_LOG:
        return ui->log.order.count;
    default:
        return 0;
    }
}

static bool search_hit(const struct ui_state *ui, const struct view *v, size_t i)
{
    switch (ui_kind(ui, v)) {
    case LAYOUT_DATA:
        return data_row_matches(v->data.row(v->data.ctx, ui->data.order.index[i]), ui->search);
    case LAYOUT_SAMPLES: {
        const struct view_sample *s = &v->samples.rows[v->samples.count - 1 - i];
        bool hit = text_contains(s->prompt, ui->search);
        for (size_t k = 0; k < s->verse.line_count && !hit; k++)
            hit = text_contains(s->verse.lines[k].text, ui->search);
        return hit;
    }
    case LAYOUT_LOG:
        return text_contains(v->log.rows[ui->log.order.index[i]].text, ui->search);
    default:
        return false;
    }
}

void ui_search(struct ui_state *ui, const struct view *v, int direction, bool from_here)
{
    enum layout_kind kind = ui_kind(ui, v);
    if (!ui->search[0]) {
        ui_say(ui, MESSAGE_INFO, "nothing was searched yet (/)");
        return;
    }
    if (kind == LAYOUT_DATA)
        data_refresh(v, ui);
    if (kind == LAYOUT_LOG)
        log_refresh(v, ui);
    struct list *list = kind == LAYOUT_DATA ? &ui->data.list : kind == LAYOUT_SAMPLES ? &ui->samples.list : &ui->log.list;
    size_t count = search_count(ui, v);
    if (kind != LAYOUT_DATA && kind != LAYOUT_SAMPLES && kind != LAYOUT_LOG) {
        ui_say(ui, MESSAGE_INFO, "this screen has nothing to search");
        return;
    }
    for (size_t k = from_here ? 0 : 1; k <= count && count > 0; k++) {
        size_t i = direction > 0 ? (list->selected + k) % count : (list->selected + count - k % count) % count;
        if (!search_hit(ui, v, i))
            continue;
        bool wrapped = direction > 0 ? i < list->selected : i > list->selected;
        list->selected = i;
        ui->data.scroll = 0;
        if (kind == LAYOUT_LOG)
            ui->log.held = i + 1 < count;
        if (wrapped)
            ui_say(ui, MESSAGE_INFO, direction > 0 ? "search went on from the top" : "search went on from the bottom");
        return;
    }
    ui_say_format(ui, MESSAGE_WARN, "\"%s\" is not found", ui->search);
}
