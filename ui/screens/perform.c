/* perform.c - what each command does: the UI's own at once, the program's with all they need put in. */
#include <stdlib.h>
#include <string.h>

#include "ui/screens/state.h"


static void next_pane(struct ui_state *ui, const struct view *view, int direction)
{
    enum layout_kind kind = ui_kind(ui, view);
    int focus = ui_focus(ui, view), n = ui->layout.pane_count;
    if (kind == LAYOUT_EXPORT) { /* a form: Tab goes through its fields, then to what came of it */
        size_t last = export_fields(view) - 1;
        bool result = (ui->zoom || layout_shown(&ui->layout, EXPORT_RESULT)) && view->export_form.state != JOB_NONE;
        if (focus == EXPORT_RESULT || !result || ui->export.field != (direction > 0 ? last : 0)) {
            ui->export.field = focus == EXPORT_RESULT ? (direction > 0 ? 0 : last) : (ui->export.field + last + 1 + (size_t)direction) % (last + 1);
            focus = EXPORT_FORM;
        } else
            focus = EXPORT_RESULT;
        ui->focus[kind] = focus;
        return;
    }
    if (ui->zoom) { /* any pane can fill the screen, also one that has no room beside the others */
        ui->focus[kind] = (focus + n + direction) % n;
        return;
    }
    for (int k = 1; k <= n; k++) {
        int next = ((focus + direction * k) % n + n) % n;
        if (layout_shown(&ui->layout, next)) {
            ui->focus[kind] = next;
            return;
        }
    }
}

static void zoom_pane(struct ui_state *ui, const struct view *view, bool by_enter)
{
    enum layout_kind kind = ui_kind(ui, view);
    if (ui->zoom) {
        ui->zoom = false;
        if (kind == LAYOUT_DATA || kind == LAYOUT_SAMPLES)
            ui->focus[kind] = 0;
        return;
    }
    ui->zoom = true;
    ui->focus[kind] = ui_focus(ui, view);
    if (by_enter && (kind == LAYOUT_DATA || kind == LAYOUT_SAMPLES)) /* Enter on a row opens the row */
        ui->focus[kind] = 1;
}

/* Esc and q: closes the innermost thing that is open; false when nothing was. */
static bool back(struct ui_state *ui, const struct view *view)
{
    enum layout_kind kind = ui_kind(ui, view);
    if (ui->help)
        ui->help = false;
    else if (ui->zoom)
        zoom_pane(ui, view, false);
    else if (kind == LAYOUT_TRAIN && ui->train.cursor)
        ui->train.cursor = false;
    else if (kind == LAYOUT_DATA && ui->data.tokens)
        ui->data.tokens = false;
    else if (kind == LAYOUT_DATA && ui->data.filter[0]) {
        ui->data.filter[0] = '\0';
        ui->data.order.valid = false;
    } else if (kind == LAYOUT_LOG && ui->log.filter[0])
        ui->log.filter[0] = '\0';
    else
        return false;
    return true;
}

static enum ui_reply quit(struct ui_state *ui, const struct view *view, struct command *c)
{
    if (ui_run_active(view)) {
        ui->dialog = DIALOG_QUIT;
        ui->help = false;
        if (ui->prompt != PROMPT_NONE)
            ui_close_prompt(ui);
        return UI_DONE;
    }
    if (view->export_form.state == JOB_RUNNING) {
        ui->dialog = DIALOG_LEAVE;
        ui->help = false;
        return UI_DONE;
    }
    c->id = COMMAND_QUIT;
    c->number = QUIT_NOW;
    return UI_COMMAND;
}

/* Bytes of text that fit a filter, without half a character. */
static size_t fitting(const char *text)
{
    size_t n = strlen(text);
    return utf8_complete_prefix(text, n < FILTER_MAX ? n : FILTER_MAX - 1);
}

void ui_set_search(struct ui_state *ui, const char *text)
{
    size_t n = fitting(text);
    memcpy(ui->search, text, n);
    ui->search[n] = '\0';
}

void ui_set_filter(struct ui_state *ui, const char *text)
{
    char *filter = ui->screen == SCREEN_LOG ? ui->log.filter : ui->data.filter;
    size_t n = fitting(text);
    memcpy(filter, text, n);
    filter[n] = '\0';
    if (strcmp(filter, "all") == 0)
        filter[0] = '\0';
    ui->data.order.valid = false;
}

static enum ui_reply sort_by(struct ui_state *ui, const char *text)
{
    static const char *const data_words[DATA_SORT_COUNT] = {"file", "tokens", "verdict", "prompt"};
    static const char *const ckpt_words[CKPT_SORT_COUNT] = {"newest", "loss", "form"};
    bool data = ui->screen == SCREEN_DATA;
    if (!data && ui->screen != SCREEN_CKPTS) {
        ui_say(ui, MESSAGE_ERROR, "sort works on the Data and Ckpts screens");
        return UI_DONE;
    }
    int count = data ? DATA_SORT_COUNT : CKPT_SORT_COUNT, k = 0;
    if (text[0]) {
        while (k < count && strcmp(text, data ? data_words[k] : ckpt_words[k]) != 0)
            k++;
        if (k == count) {
            ui_say(ui, MESSAGE_ERROR, data ? "sort is one of file tokens verdict prompt" : "sort is one of newest loss form");
            return UI_DONE;
        }
    } else
        k = ((data ? (int)ui->data.sort : (int)ui->ckpts.sort) + 1) % count;
    if (data) {
        ui->data.sort = (enum data_sort)k;
        ui->data.order.valid = false;
    } else
        ui->ckpts.sort = (enum ckpt_sort)k;
    return UI_DONE;
}

static void go_to_twin(struct ui_state *ui, const struct view *view)
{
    long at = data_selected(view, ui);
    if (at < 0)
        return;
    long twin = view->data.row(view->data.ctx, (size_t)at)->duplicate_of;
    if (twin <= 0) {
        ui_say(ui, MESSAGE_INFO, "this row duplicates no earlier one");
        return;
    }
    for (size_t i = 0; i < ui->data.order.count; i++)
        if (view->data.row(view->data.ctx, ui->data.order.index[i])->id == twin) {
            ui->data.list.selected = i;
            return;
        }
    ui_say_format(ui, MESSAGE_WARN, "row %ld does not pass the filter", twin);
}

static void copy_verse(struct str *out, const struct view_verse *verse)
{
    for (size_t i = 0; i < verse->line_count; i++)
        str_printf(out, "%s%s", i ? "\n" : "", verse->lines[i].text ? verse->lines[i].text : "");
}

static enum ui_reply copy(struct ui_state *ui, const struct view *view, struct command *c)
{
    str_clear(&c->text);
    switch (ui_kind(ui, view)) {
    case LAYOUT_DATA: {
        long at = data_selected(view, ui);
        const struct view_detail *d = at >= 0 && view->data.detail ? view->data.detail(view->data.ctx, (size_t)at) : NULL;
        if (d)
            copy_verse(&c->text, &d->verse);
        if (d && c->text.len == 0 && d->turn_count > 0)
            str_add(&c->text, d->turns[d->turn_count - 1].text);
        break;
    }
    case LAYOUT_TRAIN:
        if (view->samples.count > 0)
            copy_verse(&c->text, &view->samples.rows[view->samples.count - 1].verse);
        break;
    case LAYOUT_SAMPLES:
        if (samples_selected(view, ui))
            copy_verse(&c->text, &samples_selected(view, ui)->verse);
        break;
    case LAYOUT_CHAT:
        for (size_t i = view->chat.count; i-- > 0;)
            if (view->chat.turns[i].who == CHAT_MODEL) {
                str_add(&c->text, view->chat.turns[i].text ? view->chat.turns[i].text : "");
                break;
            }
        break;
    case LAYOUT_EXPORT:
        str_add(&c->text, view->export_form.path ? view->export_form.path : "");
        break;
    case LAYOUT_LOG:
        log_refresh(view, ui);
        if (ui->log.order.count > 0)
            str_add(&c->text, view->log.rows[ui->log.order.index[ui->log.list.selected]].text);
        break;
    default:
        break;
    }
    if (c->text.len == 0) {
        ui_say(ui, MESSAGE_INFO, "nothing here to copy");
        return UI_DONE;
    }
    return UI_COMMAND;
}

static void open_first(struct ui_state *ui)
{
    ui_say(ui, MESSAGE_INFO, "open something first (Enter)");
}

static enum ui_reply load(struct ui_state *ui, const struct view *view, struct command *c, bool from_key)
{
    long at = -1;
    if (from_key)
        at = ckpts_selected(view, ui);
    else if (strcmp(str_text(&c->text), "best") == 0)
        at = ckpts_best(view);
    else
        for (size_t i = 0; i < view->ckpts.count; i++)
            if (view->ckpts.rows[i].name && strcmp(view->ckpts.rows[i].name, str_text(&c->text)) == 0)
                at = (long)i;
    if (at < 0) {
        ui_say(ui, MESSAGE_ERROR, from_key ? "there is no checkpoint yet" : "no checkpoint of that name (5 lists them)");
        return UI_DONE;
    }
    c->number = at;
    str_clear(&c->text);
    if (from_key)
        ui_go(ui, SCREEN_CHAT);
    return UI_COMMAND;
}

static enum ui_reply cancel(struct ui_state *ui, const struct view *view)
{
    if (view->chat.answering || view->export_form.state == JOB_RUNNING || view->samples.running)
        return UI_COMMAND;
    if (ui->cancel_armed) {
        ui->cancel_armed = false;
        struct command unused = {0};
        if (quit(ui, view, &unused) == UI_DONE)
            return UI_DONE;
        return UI_COMMAND; /* the caller turns it into a quit */
    }
    ui->cancel_armed = true;
    ui_say(ui, MESSAGE_INFO, ui_run_active(view) ? "nothing to stop here (Ctrl-C again quits; p pauses training)" : "nothing to stop here (Ctrl-C again quits)");
    return UI_DONE;
}

/* Commands of the program: what they need is put in; UI_DONE when the UI is enough or something is missing. */
static enum ui_reply perform_app(struct ui_state *ui, const struct view *view, struct command *c, bool from_key)
{
    bool run = ui_run_active(view);
    switch (c->id) {
    case COMMAND_PAUSE:
        if (from_key && view->run.state == RUN_PAUSED)
            c->id = COMMAND_RESUME;
        if (view->run.state == RUN_NONE) {
            ui_say(ui, MESSAGE_INFO, "there is no run to pause");
            return UI_DONE;
        }
        if (view->run.state == RUN_STOPPED && from_key)
            c->id = COMMAND_RESUME;
        return UI_COMMAND;
    case COMMAND_STOP:
        if (run)
            ui->dialog = DIALOG_STOP;
        else
            ui_say(ui, MESSAGE_INFO, "no run is active");
        return UI_DONE;
    case COMMAND_QUIT:
        return quit(ui, view, c);
    case COMMAND_CHAT:
        if (!view->start.active)
            ui_go(ui, SCREEN_CHAT);
        else if (c->text.len == 0)
            open_first(ui);
        return c->text.len > 0 ? UI_COMMAND : UI_DONE;
    case COMMAND_SAMPLE:
        if (!view->start.active && !from_key)
            ui_go(ui, SCREEN_SAMPLES); /* one wants to see what one asked for */
        return UI_COMMAND;
    case COMMAND_EXPORT:
        if (view->start.active) {
            open_first(ui);
            return UI_DONE;
        }
        if (c->text.len > 0) {
            export_make(view, ui);
            str_clear(&ui->export.folder);
            str_add(&ui->export.folder, str_text(&c->text));
            ui_go(ui, SCREEN_EXPORT);
            return export_emit(ui, view, c);
        }
        ui_go(ui, SCREEN_EXPORT);
        return UI_DONE;
    case COMMAND_LOAD:
        return load(ui, view, c, from_key);
    case COMMAND_TEMP: {
        char *end;
        double t = strtod(str_text(&c->text), &end);
        if (*end == '\0' && t >= 0 && t <= 100)
            return UI_COMMAND;
        ui_say(ui, MESSAGE_ERROR, "temp wants a number from 0 to 100");
        return UI_DONE;
    }
    case COMMAND_OPEN:
        c->number = (long)ui->start.selected;
        ui->zoom = false;
        if (ui->start.selected < view->start.count)
            return UI_COMMAND;
        return UI_DONE;
    case COMMAND_COPY:
        return copy(ui, view, c);
    case COMMAND_CANCEL: {
        enum ui_reply reply = cancel(ui, view);
        if (reply == UI_COMMAND && !view->chat.answering && view->export_form.state != JOB_RUNNING && !view->samples.running) {
            c->id = COMMAND_QUIT;
            c->number = QUIT_NOW;
        }
        return reply;
    }
    default:
        return UI_COMMAND;
    }
}

static void perform_ui(struct ui_state *ui, const struct view *view, struct command *c, bool from_key)
{
    const char *text = str_text(&c->text);
    switch (c->id) {
    case COMMAND_GO_DATA:
    case COMMAND_GO_TRAIN:
    case COMMAND_GO_SAMPLES:
    case COMMAND_GO_CKPTS:
    case COMMAND_GO_LOG:
        if (view->start.active)
            open_first(ui);
        else
            ui_go(ui, c->id == COMMAND_GO_DATA      ? SCREEN_DATA
                      : c->id == COMMAND_GO_TRAIN   ? SCREEN_TRAIN
                      : c->id == COMMAND_GO_SAMPLES ? SCREEN_SAMPLES
                      : c->id == COMMAND_GO_CKPTS   ? SCREEN_CKPTS
                                                    : SCREEN_LOG);
        break;
    case COMMAND_PANE_NEXT:
        next_pane(ui, view, +1);
        break;
    case COMMAND_PANE_PREV:
        next_pane(ui, view, -1);
        break;
    case COMMAND_ZOOM_PANE:
        zoom_pane(ui, view, from_key && c->number == 1);
        break;
    case COMMAND_SEARCH:
        if (text[0]) {
            ui_set_search(ui, text);
            ui_search(ui, view, +1, true);
        } else
            ui_open_prompt(ui, PROMPT_SEARCH, "");
        break;
    case COMMAND_SEARCH_NEXT:
    case COMMAND_SEARCH_PREV:
        ui_search(ui, view, c->id == COMMAND_SEARCH_NEXT ? +1 : -1, false);
        break;
    case COMMAND_FILTER:
        if (!from_key && ui->screen != SCREEN_LOG && ui->screen != SCREEN_DATA && !view->start.active)
            ui_go(ui, SCREEN_DATA);
        if (from_key)
            ui_open_prompt(ui, PROMPT_FILTER, "");
        else
            ui_set_filter(ui, text);
        break;
    case COMMAND_SORT:
        sort_by(ui, text);
        break;
    case COMMAND_TOKENS:
        ui->data.tokens = !ui->data.tokens;
        ui->data.scroll = 0;
        if (ui->screen != SCREEN_DATA && !view->start.active)
            ui_go(ui, SCREEN_DATA);
        if (ui->data.tokens && !ui->zoom && !layout_shown(&ui->layout, DATA_DETAIL)) { /* no room beside the list */
            ui->zoom = true;
            ui->focus[LAYOUT_DATA] = DATA_DETAIL;
        }
        break;
    case COMMAND_NEXT_TWIN:
        go_to_twin(ui, view);
        break;
    case COMMAND_SAMPLE_LINE:
        ui_open_prompt(ui, PROMPT_SAMPLE, "");
        break;
    case COMMAND_CHAT_LINE:
        ui_open_chat_line(ui);
        break;
    case COMMAND_TO_EXPORT:
        ui->export.ckpt = ckpts_selected(view, ui);
        ui_go(ui, SCREEN_EXPORT);
        break;
    case COMMAND_FIELD_TOGGLE:
        export_toggle(ui, view, +1);
        break;
    case COMMAND_FIELD_TYPE:
        if (!export_type(ui, view, +1))
            ui_say(ui, MESSAGE_INFO, "there is one way to store this (whole models have a type)");
        break;
    case COMMAND_LINE:
        ui_open_prompt(ui, PROMPT_COMMAND, "");
        break;
    case COMMAND_HELP:
        if (ui->prompt != PROMPT_NONE)
            ui_close_prompt(ui);
        ui->help = true;
        ui->help_scroll = 0;
        ui->search[0] = '\0';
        break;
    case COMMAND_BACK:
        back(ui, view);
        break;
    default:
        break;
    }
}

enum ui_reply ui_perform(struct ui_state *ui, const struct view *view, struct command *c, bool from_key)
{
    if (c->id == COMMAND_NONE)
        return UI_DONE;
    bool field = c->id == COMMAND_FIELD_ENTER || c->id == COMMAND_FIELD_TOGGLE || c->id == COMMAND_FIELD_TYPE;
    if (field && from_key && ui_focus(ui, view) == EXPORT_RESULT)
        return UI_DONE; /* the form is not what one looks at */
    if (c->id == COMMAND_FIELD_ENTER)
        return export_enter(ui, view, c);
    if (c->id == COMMAND_LEAVE)
        return back(ui, view) ? UI_DONE : quit(ui, view, c);
    if (command_info(c->id)->app)
        return perform_app(ui, view, c, from_key);
    if (c->id >= COMMAND_MOVE_DOWN && c->id <= COMMAND_PAGE_UP)
        return ui_move(ui, view, c->id);
    if (c->id >= COMMAND_TIME && c->id <= COMMAND_RAW) {
        if (!from_key && ui->screen != SCREEN_TRAIN && !view->start.active)
            ui_go(ui, SCREEN_TRAIN); /* one wants to see what one asked for */
        return train_perform(ui, view, c);
    }
    perform_ui(ui, view, c, from_key);
    return UI_DONE;
}
