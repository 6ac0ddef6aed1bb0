/* export.c - screen 6: which checkpoint, into what, where to; then how it goes and how it was proved. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ui/core/width.h"
#include "ui/screens/state.h"

static size_t formats(const struct view *v)
{
    return v->export_form.format_count < EXPORT_FORMATS_MAX ? v->export_form.format_count : EXPORT_FORMATS_MAX;
}

/* Field 0 is the checkpoint, then the formats, then the folder, then the button. */
size_t export_fields(const struct view *v)
{
    return formats(v) + 3;
}

void export_make(const struct view *v, struct ui_state *ui)
{
    struct export_state *e = &ui->export;
    if (!e->made || e->version != v->export_form.version) {
        e->made = true;
        e->version = v->export_form.version;
        e->on = 0;
        memset(e->type, 0, sizeof e->type);
        for (size_t i = 0; i < formats(v); i++)
            e->on |= (unsigned)v->export_form.formats[i].on << i;
        str_clear(&e->folder);
        str_add(&e->folder, v->export_form.folder ? v->export_form.folder : "");
    }
    if (e->ckpt >= (long)v->ckpts.count)
        e->ckpt = -1;
    if (e->field >= export_fields(v))
        e->field = export_fields(v) - 1;
}

/* What stands in the form; unless a person named it, the step is part of it, so that the next checkpoint does not want the same place. */
static void folder_text(const struct view *v, const struct ui_state *ui, long at, struct str *out)
{
    const char *folder = str_text(&ui->export.folder), *proposed = v->export_form.folder ? v->export_form.folder : "";
    str_clear(out);
    str_add(out, folder);
    if (*folder && strcmp(folder, proposed) == 0 && at >= 0)
        str_printf(out, "-%s", v->ckpts.rows[at].name);
}

static long chosen(const struct view *v, const struct ui_state *ui)
{
    long at = ui->export.ckpt;
    return at >= 0 && at < (long)v->ckpts.count && v->ckpts.rows[at].can_export ? at : ckpts_best(v);
}

static void edit_folder(struct ui_state *ui, const struct view *v)
{
    struct str folder = {0};
    folder_text(v, ui, chosen(v, ui), &folder);
    ui_open_prompt(ui, PROMPT_FOLDER, str_text(&folder));
    str_free(&folder);
}

/* The next storage type of the format that the cursor is on; what is chosen is ticked. False: it has no choice. */
bool export_type(struct ui_state *ui, const struct view *v, int direction)
{
    struct export_state *e = &ui->export;
    export_make(v, ui);
    if (e->field == 0 || e->field > formats(v))
        return false;
    int n = (int)v->export_form.formats[e->field - 1].type_count;
    if (n < 2)
        return false;
    unsigned char *type = &e->type[e->field - 1];
    *type = (unsigned char)((*type + direction + n) % n);
    e->on |= 1u << (e->field - 1);
    return true;
}

void export_toggle(struct ui_state *ui, const struct view *v, int direction)
{
    struct export_state *e = &ui->export;
    export_make(v, ui);
    if (e->field == 0) {
        long at = chosen(v, ui), n = (long)v->ckpts.count;
        for (long k = 1; at >= 0 && k <= n; k++) {
            long next = ((at + direction * k) % n + n) % n;
            if (v->ckpts.rows[next].can_export) {
                e->ckpt = next;
                break;
            }
        }
    } else if (e->field <= formats(v))
        e->on ^= 1u << (e->field - 1);
    else if (e->field == formats(v) + 1)
        edit_folder(ui, v);
}

enum ui_reply export_emit(struct ui_state *ui, const struct view *v, struct command *c)
{
    struct export_state *e = &ui->export;
    export_make(v, ui);
    long at = chosen(v, ui);
    if (v->export_form.state == JOB_RUNNING)
        ui_say(ui, MESSAGE_WARN, "an export is running (Ctrl-C stops it)");
    else if (at < 0)
        ui_say(ui, MESSAGE_ERROR, "there is no checkpoint to export yet (:save writes one)");
    else if (e->on == 0)
        ui_say(ui, MESSAGE_ERROR, "nothing is ticked to export");
    else if (e->folder.len == 0)
        ui_say(ui, MESSAGE_ERROR, "the folder has no name");
    else {
        c->id = COMMAND_EXPORT;
        c->number = at;
        c->flags = e->on;
        memcpy(c->choices, e->type, sizeof c->choices);
        e->scroll = 0;
        folder_text(v, ui, at, &c->text);
        return UI_COMMAND;
    }
    return UI_DONE;
}

enum ui_reply export_enter(struct ui_state *ui, const struct view *v, struct command *c)
{
    export_make(v, ui);
    if (ui->export.field == formats(v) + 2)
        return export_emit(ui, v, c);
    export_toggle(ui, v, +1);
    return UI_DONE;
}

/* ---- drawing ---- */

static void cursor_at(struct canvas *c, int row, struct rect in, bool focus, bool here)
{
    if (!here)
        return;
    canvas_put(c, row, in.col, ROLE_MARK, '>');
    canvas_role(c, (struct rect){row, in.col, 1, in.cols}, focus ? ROLE_CURSOR : ROLE_CURSOR_BLUR);
    if (focus) {
        c->cursor_row = row;
        c->cursor_col = in.col;
    }
}

static void draw_checkpoint(struct canvas *c, int row, struct rect in, const struct view *v, long at)
{
    char loss[24];
    canvas_text(c, row, in.col + 2, 11, ROLE_DIM, "checkpoint");
    if (at < 0) {
        canvas_fit(c, row, in.col + 14, in.cols - 14, ROLE_WARN, "none yet (:save writes one)");
        return;
    }
    const struct view_ckpt *k = &v->ckpts.rows[at];
    canvas_printf(c, row, in.col + 14, in.cols - 30, ROLE_TEXT, "%s   val %s%s", k->name ? k->name : "", loss_text(k->val_loss, loss),
                  k->best_loss ? " best" : "");
    canvas_right(c, row, in.col + in.cols - 16, 15, ROLE_DIM, "Space: next");
}

/* A row each, from `row` on: ticked or not, name, type, what it is, size. Returns the row behind them; *need: bytes of what is ticked. */
static int draw_formats(struct canvas *c, int row, struct rect in, const struct view *v, const struct export_state *e, bool focus, size_t *need)
{
    const struct view_format *f = v->export_form.formats;
    const size_t n = formats(v);
    int name_cols = 0, type_cols = 0;
    char bytes[24];
    for (size_t i = 0; i < n; i++) {
        int w = width_text(f[i].name);
        name_cols = w > name_cols ? w : name_cols;
        for (size_t k = 0; k < f[i].type_count; k++) {
            w = width_text(f[i].types[k]) + 4;
            type_cols = w > type_cols ? w : type_cols;
        }
    }
    const int about = in.col + 8 + name_cols + type_cols + (type_cols > 0 ? 2 : 0);
    *need = 0;
    for (size_t i = 0; i < n && row < in.row + in.rows; i++, f++, row++) {
        bool on = e->on >> i & 1;
        size_t takes = f->bytes[e->type[i]];
        canvas_text(c, row, in.col + 2, 3, on ? ROLE_OK : ROLE_DIM, on ? "[x]" : "[ ]");
        canvas_fit(c, row, in.col + 6, name_cols, ROLE_TEXT, f->name);
        if (f->type_count > 0)
            canvas_printf(c, row, in.col + 8 + name_cols, type_cols, ROLE_INPUT, f->type_count > 1 ? "< %s >" : "  %s", f->types[e->type[i]]);
        canvas_fit(c, row, about, in.col + in.cols - 12 - about, ROLE_DIM, f->about);
        if (takes)
            canvas_right(c, row, in.col + in.cols - 11, 10, ROLE_DIM, bytes_text(takes, bytes));
        *need += on ? takes : 0;
        cursor_at(c, row, in, focus, e->field == i + 1);
    }
    return row;
}

static void draw_disk(struct canvas *c, int row, struct rect in, size_t free_bytes, size_t need)
{
    char bytes[24], free_text[24];
    bool fits = need < free_bytes;
    canvas_text(c, row, in.col + 2, 11, ROLE_DIM, "disk");
    bytes_text(free_bytes, free_text);
    if (need)
        canvas_printf(c, row, in.col + 14, in.cols - 15, fits ? ROLE_TEXT : ROLE_ERROR, "needs %s, free %s  %s", bytes_text(need, bytes), free_text,
                      fits ? "ok" : "TOO LITTLE");
    else
        canvas_printf(c, row, in.col + 14, in.cols - 15, ROLE_TEXT, "free %s", free_text);
}

static void draw_button(struct canvas *c, int row, struct rect in, bool here, bool focus)
{
    canvas_text(c, row, in.col + 14, 10, here && focus ? ROLE_BUTTON_FOCUS : ROLE_BUTTON, "[ Export ]");
    if (!here)
        return;
    canvas_put(c, row, in.col, ROLE_MARK, '>');
    if (focus) {
        c->cursor_row = row;
        c->cursor_col = in.col + 16;
    }
}

static void draw_form(struct canvas *c, const struct view *v, struct ui_state *ui, struct rect box, bool focus)
{
    const struct view_export *x = &v->export_form;
    struct export_state *e = &ui->export;
    struct rect in = rect_inside(box);
    const int end = in.row + in.rows, n = (int)formats(v);
    size_t need;
    canvas_box(c, box, focus, "export", v->run.name);
    long at = chosen(v, ui);
    int row = in.row + (in.rows > n + 7);
    draw_checkpoint(c, row, in, v, at);
    cursor_at(c, row, in, focus, e->field == 0);
    row = draw_formats(c, row + 1 + (in.rows > n + 5), in, v, e, focus, &need);
    row += in.rows > n + 5;
    if (row >= end)
        return;
    canvas_text(c, row, in.col + 2, 11, ROLE_DIM, "folder");
    struct str folder = {0};
    folder_text(v, ui, at, &folder);
    canvas_fit(c, row, in.col + 14, in.cols - 15, ROLE_INPUT, str_text(&folder));
    str_free(&folder);
    cursor_at(c, row++, in, focus, (int)e->field == n + 1);
    if (row >= end)
        return;
    if (x->free_bytes)
        draw_disk(c, row++, in, x->free_bytes, need);
    if (x->warning && row < end - 1)
        canvas_printf(c, row++, in.col + 2, in.cols - 3, ROLE_WARN, "note: %s", x->warning);
    row += in.rows > n + 6;
    draw_button(c, row < end ? row : end - 1, in, (int)e->field == n + 2, focus);
}

/* Gives how many lines there are; those above `skip` and below the box are not drawn. */
static int draw_lines(struct canvas *c, const struct view_export *x, struct rect in, int skip)
{
    static const enum role roles[] = {[EXPORT_WROTE] = ROLE_TEXT, [EXPORT_FAULT] = ROLE_ERROR, [EXPORT_NOTE] = ROLE_DIM};
    enum { NOTE = 6, HANG = 2 };
    int line = 0;
    for (size_t i = 0; i < x->result_count; i++) {
        const struct view_export_line *r = &x->results[i];
        bool note = r->kind == EXPORT_NOTE, first = true;
        int at = note ? NOTE : 0;
        for (struct wrap w = {.rest = r->text}; wrap_next(&w, in.cols - at); line++) {
            int row = line - skip;
            if (row >= 0 && row < in.rows) {
                if (note && first)
                    canvas_text(c, in.row + row, in.col, NOTE, ROLE_DIM, "note:");
                canvas_text_n(c, in.row + row, in.col + at, in.cols - at, roles[r->kind], w.line, w.len);
            }
            at = note ? NOTE : HANG;
            first = false;
        }
    }
    return line;
}

static void draw_result(struct canvas *c, const struct view *v, struct ui_state *ui, struct rect box, bool focus)
{
    const struct view_export *x = &v->export_form;
    struct rect in = rect_inside(box);
    static const char *const titles[] = {"result", "exporting", "done", "failed", "stopped"};
    canvas_box(c, box, focus, titles[x->state], x->state == JOB_RUNNING ? "Ctrl-C stops it" : NULL);
    if (x->state == JOB_NONE) {
        canvas_fit(c, in.row, in.col + 1, in.cols - 2, ROLE_DIM, "Every file is read back and compared before it is called done.");
        return;
    }
    if (x->state == JOB_RUNNING && in.rows > 0) {
        double share = x->progress >= 0 && x->progress <= 1 ? x->progress : 0;
        int bar = in.cols - 30 > 50 ? 50 : in.cols - 30;
        canvas_put(c, in.row, in.col + 1, ROLE_TEXT, '[');
        for (int i = 0; i < bar; i++)
            canvas_put(c, in.row, in.col + 2 + i, i < share * bar ? ROLE_OK : ROLE_DIM, i < share * bar ? '#' : '-');
        canvas_printf(c, in.row, in.col + 2 + bar, in.cols - bar - 3, ROLE_TEXT, "] %3.0f%%  %s", share * 100, x->stage ? x->stage : "");
        in.row++;
        in.rows--;
    }
    in.col++;
    in.cols -= 2;
    struct export_state *e = &ui->export;
    int lines = draw_lines(c, x, (struct rect){in.row, in.col, 0, in.cols}, 0), most = lines > in.rows ? lines - in.rows : 0;
    e->scroll = e->scroll > most ? most : e->scroll;
    draw_lines(c, x, in, e->scroll);
    scroll_mark(c, box, (size_t)e->scroll, (size_t)(in.rows > 0 ? in.rows : 0), (size_t)lines);
}

void export_draw(struct canvas *c, const struct view *v, struct ui_state *ui)
{
    const struct layout *l = &ui->layout;
    int focus = ui_focus(ui, v);
    export_make(v, ui);
    bool result = layout_shown(l, EXPORT_RESULT);
    if (layout_shown(l, EXPORT_FORM) && (result || v->export_form.state != JOB_RUNNING))
        draw_form(c, v, ui, l->pane[EXPORT_FORM], focus == EXPORT_FORM);
    else if (layout_shown(l, EXPORT_FORM)) /* a low screen: while it runs the form gives way */
        draw_result(c, v, ui, l->pane[EXPORT_FORM], true);
    if (result)
        draw_result(c, v, ui, l->pane[EXPORT_RESULT], focus == EXPORT_RESULT);
}
