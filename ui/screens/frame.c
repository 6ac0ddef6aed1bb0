/* frame.c - what stands on every screen: tabs, run status, the bottom row (hints, prompt or message), dialogs, the notice. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "ui/core/width.h"
#include "ui/screens/state.h"

static const char *const screen_names[SCREEN_COUNT] = {"Data", "Train", "Samples", "Chat", "Ckpts", "Export", "Log"};

/* ---- helpers ---- */

const char *duration_text(double seconds, char out[24])
{
    if (!(seconds >= 0) || seconds > 3.6e9) /* NAN too */
        snprintf(out, 24, "--");
    else {
        long s = lround(seconds);
        if (s >= 3600)
            snprintf(out, 24, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
        else
            snprintf(out, 24, "%ld:%02ld", s / 60, s % 60);
    }
    return out;
}

const char *bytes_text(size_t bytes, char out[24])
{
    double b = (double)bytes;
    if (b >= 1e9)
        snprintf(out, 24, "%.1f GB", b / 1e9);
    else if (b >= 1e6)
        snprintf(out, 24, "%.1f MB", b / 1e6);
    else
        snprintf(out, 24, "%.1f KB", b / 1e3);
    return out;
}

const char *loss_text(double loss, char out[24])
{
    if (isnan(loss))
        snprintf(out, 24, "-");
    else
        snprintf(out, 24, "%.3f", loss);
    return out;
}

bool text_contains(const char *text, const char *part)
{
    if (!text || !part)
        return false;
    for (const char *p = part; *p; p++)
        if (isupper((unsigned char)*p))
            return strstr(text, part) != NULL;
    return strcasestr(text, part) != NULL;
}

void scroll_mark(struct canvas *c, struct rect box, size_t top, size_t page, size_t count)
{
    char text[48];
    if (count <= page || page == 0 || box.cols < 24)
        return;
    size_t last = top + page < count ? top + page : count;
    snprintf(text, sizeof text, " %zu-%zu of %zu ", top + 1, last, count);
    int len = (int)strlen(text);
    canvas_text(c, box.row + box.rows - 1, box.col + box.cols - 2 - len, len, ROLE_DIM, text);
}

/* ---- row 0 ---- */

void frame_title(struct canvas *c, const struct view *v, const struct ui_state *ui)
{
    struct rect r = ui->layout.title;
    bool start = v->start.active;
    int tabs = 1;
    for (int i = 0; i < SCREEN_COUNT; i++)
        tabs += (int)strlen(screen_names[i]) + 3;
    int col = r.col + 1;
    if (start || r.cols >= tabs + 18)
        col += canvas_text(c, r.row, col, 9, ROLE_TITLE, "GEMMAIKU") + 1;
    for (int i = 0; i < SCREEN_COUNT && !start; i++) {
        char text[16];
        bool here = i == (int)ui->screen;
        int len = snprintf(text, sizeof text, "%c%d %s%c", here ? '[' : ' ', i + 1, screen_names[i], here ? ']' : ' ');
        if (here || c->cells[(size_t)col].ch != ']') /* neighbours share the cell between them */
            canvas_text(c, r.row, col, len, here ? ROLE_TAB_ACTIVE : ROLE_TAB, text);
        else
            canvas_text(c, r.row, col + 1, len - 1, ROLE_TAB, text + 1);
        col += len - (r.cols < tabs + 10);
    }
    static const char help[] = "? help";
    int help_cols = r.cols - col >= 8 ? 7 : 0;
    if (help_cols)
        canvas_right(c, r.row, r.cols - 7, 6, ROLE_HINT, help);
    int room = r.cols - col - help_cols - 3;
    struct str about = {0};
    if (v->run.name)
        str_add(&about, v->run.name);
    if (v->run.model)
        str_printf(&about, "%s%s", about.len ? "  " : "", v->run.model);
    int short_len = width_text(str_text(&about));
    if (v->run.about && short_len + 2 + width_text(v->run.about) <= room)
        str_printf(&about, "  %s", v->run.about);
    if (v->run.memory_bytes && width_text(str_text(&about)) + 14 <= room) {
        char bytes[24];
        str_printf(&about, "  mem %s", bytes_text(v->run.memory_bytes, bytes));
    }
    if (short_len <= room && !start)
        canvas_right(c, r.row, r.cols - help_cols - 2 - room, room, ROLE_DIM, str_text(&about));
    str_free(&about);
}

/* ---- the status row: segments in the order they stand, dropped by priority until they fit ---- */

enum { SEGMENTS_MAX = 16, SEGMENT_SIZE = 80 };
struct segments {
    char text[SEGMENTS_MAX][SEGMENT_SIZE];
    int priority[SEGMENTS_MAX]; /* 0 = always */
    enum role role[SEGMENTS_MAX];
    int count;
};

static void segment(struct segments *s, int priority, enum role role, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static void segment(struct segments *s, int priority, enum role role, const char *format, ...)
{
    if (s->count == SEGMENTS_MAX)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(s->text[s->count], SEGMENT_SIZE, format, args);
    va_end(args);
    s->text[s->count][utf8_complete_prefix(s->text[s->count], strlen(s->text[s->count]))] = '\0';
    s->priority[s->count] = priority;
    s->role[s->count++] = role;
}

static const struct {
    const char *glyph, *word;
    enum role role;
} states[] = {{"--", "no run", ROLE_STATUS},        {"..", "LOADING", ROLE_STATUS},   {">", "TRAIN", ROLE_STATUS_RUN},
              {">", "EVALUATE", ROLE_STATUS_RUN},   {"||", "PAUSED", ROLE_STATUS_WARN}, {"..", "STOPPING", ROLE_STATUS_WARN},
              {"ok", "DONE", ROLE_STATUS_RUN},      {"!!", "FAILED", ROLE_STATUS_ERROR}, {"[]", "STOPPED", ROLE_STATUS_WARN},
              {">", "TRAINS ELSEWHERE", ROLE_STATUS_RUN}};

static void run_segments(struct segments *s, const struct view_run *run, int cols)
{
    char a[24], b[24];
    enum role plain = ROLE_STATUS;
    segment(s, 0, states[run->state].role, "%s %s", states[run->state].glyph, states[run->state].word);
    if (run->state == RUN_NONE) {
        if (run->busy)
            segment(s, 1, plain, "%s", run->busy);
        return;
    }
    if (run->iters > 0 && run->step >= 0) {
        double share = (double)run->step / (double)run->iters;
        share = share < 0 ? 0 : share > 1 ? 1 : share;
        segment(s, 0, plain, " %ld/%ld %.0f%%", run->step, run->iters, floor(share * 100));
        if (cols >= 130) {
            char bar[48] = "[";
            int width = 24, full = (int)(share * width);
            for (int i = 0; i < width; i++)
                bar[1 + i] = i < full ? '#' : '-';
            bar[1 + width] = ']';
            segment(s, 9, plain, " %s", bar);
        }
    }
    if (!isnan(run->loss))
        segment(s, 1, plain, "  loss %s", loss_text(run->loss, a));
    if (!isnan(run->ema))
        segment(s, 6, plain, " ema %s", loss_text(run->ema, a));
    if (!isnan(run->val_loss))
        segment(s, 3, plain, "  val %s@%ld%s", loss_text(run->val_loss, a), run->val_step, run->val_step == run->best_val_step && cols >= 100 ? " best" : "");
    if (run->busy)
        segment(s, 2, plain, "  %s", run->busy);
    if (run->waits_share >= 0.05)
        segment(s, 4, ROLE_STATUS_WARN, "  waits for tasting %.0f%%", run->waits_share * 100);
    if (cols >= 130 && run->learning_rate > 0)
        segment(s, 10, plain, "  lr %s", plot_label(run->learning_rate, b));
    if (cols >= 130 && run->grad_norm >= 0)
        segment(s, 11, plain, "  gnorm %.2f", run->grad_norm);
    if (run->tokens_per_s > 0)
        segment(s, 7, plain, "  %.0f tok/s", run->tokens_per_s);
    if (run->memory_bytes && cols < 150)
        segment(s, 8, plain, "  %s", bytes_text(run->memory_bytes, a));
    if (run->state == RUN_TRAINING || run->state == RUN_EVALUATING)
        segment(s, 5, plain, "  eta %s", duration_text(run->eta_s, b));
    if (run->state == RUN_PAUSED || run->state == RUN_STOPPED)
        segment(s, 4, ROLE_STATUS_WARN, "  p resumes");
    if (run->state == RUN_FAILED)
        segment(s, 2, ROLE_STATUS_ERROR, "  7 Log says why");
}

void frame_status(struct canvas *c, const struct view *v, const struct ui_state *ui)
{
    struct rect r = ui->layout.status;
    struct segments s = {.count = 0};
    run_segments(&s, &v->run, r.cols);
    bool keep[SEGMENTS_MAX];
    int total = 1;
    for (int i = 0; i < s.count; i++) {
        keep[i] = true;
        total += width_text(s.text[i]);
    }
    while (total > r.cols) {
        int worst = -1;
        for (int i = 0; i < s.count; i++)
            if (keep[i] && s.priority[i] > 0 && (worst < 0 || s.priority[i] > s.priority[worst]))
                worst = i;
        if (worst < 0)
            break;
        keep[worst] = false;
        total -= width_text(s.text[worst]);
    }
    canvas_fill(c, r, ROLE_STATUS, ' ');
    int col = r.col + 1;
    for (int i = 0; i < s.count; i++)
        if (keep[i])
            col += canvas_text(c, r.row, col, r.cols - col, s.role[i], s.text[i]);
}

/* ---- the bottom row ---- */

static const char *prompt_label(const struct ui_state *ui)
{
    static const char *const labels[] = {"", ":", "haiku> ", "/", "show only (bad maybe dup long leak train valid test, or text): ", "prompt> ",
                                         "folder> "};
    return ui->line.label && ui->line.label[0] ? ui->line.label : labels[ui->prompt];
}

static void bottom_prompt(struct canvas *c, struct ui_state *ui)
{
    struct rect r = ui->layout.hint;
    const char *label = prompt_label(ui), *text = ui->line.text ? ui->line.text : "";
    if (ui->prompt == PROMPT_FILTER && r.cols < 90 && !(ui->line.label && ui->line.label[0]))
        label = "show only: ";
    int col = r.col + (ui->prompt == PROMPT_COMMAND || ui->prompt == PROMPT_SEARCH ? 0 : 1);
    col += canvas_fit(c, r.row, col, r.cols / 2, ROLE_HINT_KEY, label);
    size_t len = strlen(text), cursor = ui->line.cursor < len ? ui->line.cursor : len, from = 0;
    int room = r.cols - col - 1; /* one column for the cursor behind the last character */
    while (from < cursor && width_text_n(text + from, cursor - from) > room) { /* scroll in steps of half the width */
        size_t step = width_cut(text + from, cursor - from, room / 2 > 2 ? room / 2 : 2);
        from += step ? step : 1;
    }
    canvas_text_n(c, r.row, col, r.cols - col, ROLE_INPUT, text + from, len - from);
    if (from > 0)
        canvas_put(c, r.row, col - 1, ROLE_DIM, '<');
    c->cursor_row = r.row;
    c->cursor_col = col + width_text_n(text + from, cursor - from);
}

void frame_matches(struct canvas *c, const struct ui_state *ui)
{
    size_t count = ui->line.match_count;
    if (ui->prompt == PROMPT_NONE || count < 2)
        return;
    int widest = 4, rows = count < 8 ? (int)count : 8;
    for (size_t i = 0; i < count; i++) {
        int w = width_text(ui->line.matches[i]);
        widest = w > widest ? w : widest;
    }
    if (widest > ui->cols - 4)
        widest = ui->cols - 4;
    struct rect box = {ui->layout.status.row - rows - 2, 0, rows + 2, widest + 4};
    if (box.row < 1)
        return;
    canvas_fill(c, box, ROLE_DIALOG, ' ');
    canvas_box(c, box, false, NULL, NULL);
    for (int i = 0; i < rows; i++)
        canvas_fit(c, box.row + 1 + i, 2, widest, ROLE_DIALOG, ui->line.matches[i]);
    if (count > (size_t)rows)
        canvas_printf(c, box.row + rows + 1, 2, widest, ROLE_DIM, "%zu more", count - (size_t)rows);
}

/* One "key word" of the hint line; false when it does not fit. */
static bool hint(struct canvas *c, struct rect r, int *col, const char *key, const char *word)
{
    int need = width_text(key) + 1 + width_text(word);
    if (*col + need > r.cols)
        return false;
    *col += canvas_text(c, r.row, *col, r.cols, ROLE_HINT_KEY, key) + 1;
    *col += canvas_text(c, r.row, *col, r.cols, ROLE_HINT, word) + 2;
    return true;
}

/* What p does now; NULL: nothing. */
static const char *pause_word(const struct view *v)
{
    enum run_state s = v->run.state;
    return s == RUN_PAUSED || s == RUN_STOPPED                         ? "resume"
           : s == RUN_LOADING || s == RUN_TRAINING || s == RUN_EVALUATING ? "pause"
                                                                       : NULL;
}

static void bottom_hints(struct canvas *c, const struct view *v, struct ui_state *ui)
{
    struct rect r = ui->layout.hint;
    int col = r.col + 1, end = r.cols;
    enum context context = v->start.active ? CONTEXT_START : (enum context)ui->screen;
    if (ui->dialog == DIALOG_QUIT) {
        hint(c, r, &col, "s", "save and quit");
        hint(c, r, &col, "w", "quit when done");
    } else if (ui->dialog != DIALOG_NONE)
        hint(c, r, &col, "y", ui->dialog == DIALOG_STOP ? "stop" : "stop it and quit");
    if (ui->dialog != DIALOG_NONE) {
        hint(c, r, &col, "Esc", "no");
        return;
    }
    if (ui->help) {
        hint(c, r, &col, "j/k", "scroll");
        hint(c, r, &col, "/", "search");
        hint(c, r, &col, "? Esc q", "close");
        hint(c, r, &col, "1-7", "close and go there");
        return;
    }
    char keys[64], last_keys[64];
    snprintf(last_keys, sizeof last_keys, "%s", ui->zoom ? "z" : "?");
    const char *last_word = ui->zoom ? "back" : "all keys";
    r.cols = end - (int)strlen(last_keys) - 1 - (int)strlen(last_word) - 2; /* kept free: the way to all the others */
    bool form = context == CONTEXT_EXPORT && ui_focus(ui, v) == EXPORT_FORM;
    if (context == CONTEXT_EXPORT)
        hint(c, r, &col, "j/k", form ? "field" : "scroll");
    if (context == CONTEXT_EXPORT && v->export_form.path) /* what one wants next */
        hint(c, r, &col, "y", "copy path");
    if (context == CONTEXT_EXPORT && !form)
        hint(c, r, &col, "Tab", "form");
    if (context == CONTEXT_TRAIN && pause_word(v)) /* the one that matters most comes first */
        hint(c, r, &col, "p", pause_word(v));
    for (int pass = 0; pass < 2; pass++) /* the screen's own keys first */
        for (int id = 1; id < COMMAND_COUNT; id++) {
            const struct command_info *info = command_info((enum command_id)id);
            const char *word = info->hint;
            if (!word[0] || id == COMMAND_HELP)
                continue;
            keymap_keys(&ui->keys, pass == 0 ? context : CONTEXT_GLOBAL, (enum command_id)id, 1, keys, sizeof keys);
            if (!keys[0])
                continue;
            if (context == CONTEXT_START && (id == COMMAND_PAUSE || id == COMMAND_COPY || id == COMMAND_SEARCH))
                continue;
            if (context == CONTEXT_EXPORT && ((pass == 0 && !form) || id == COMMAND_SEARCH || id == COMMAND_COPY))
                continue; /* the form's keys; nothing to search; said already */
            if (id == COMMAND_PAUSE && (context == CONTEXT_TRAIN || !pause_word(v)))
                continue;
            if (id == COMMAND_PAUSE)
                word = pause_word(v);
            if ((id == COMMAND_SAVE || id == COMMAND_EVAL || id == COMMAND_STOP) && !ui_run_active(v))
                continue;
            if (id == COMMAND_ZOOM_PANE && pass == 0)
                word = "open";
            if (id == COMMAND_ZOOM_PANE && ui->zoom)
                continue;
            if (id == COMMAND_LEAVE)
                word = ui->zoom ? "back" : "quit";
            if (id == COMMAND_MOVE_DOWN) {
                if (context == CONTEXT_EXPORT || context == CONTEXT_TRAIN)
                    continue;
                snprintf(keys, sizeof keys, "j/k");
            }
            if (id == COMMAND_ZOOM_IN)
                snprintf(keys, sizeof keys, "+/-");
            hint(c, r, &col, keys, word);
        }
    r.cols = end;
    hint(c, r, &col, last_keys, last_word);
}

void frame_bottom(struct canvas *c, const struct view *v, struct ui_state *ui)
{
    struct rect r = ui->layout.hint;
    const struct view_message *m = &v->message;
    bool fresh = m->text && m->id != ui->dismissed && (m->level == MESSAGE_ERROR || v->now_s - m->time_s < 4 || v->now_s < m->time_s);
    static const enum role roles[] = {ROLE_TEXT, ROLE_WARN, ROLE_ERROR};
    static const char *const signs[] = {"", "warning: ", "error: "};
    ui->said_on = ui->said_on && (!ui->said_waits || v->chat.answering);
    if (ui->prompt != PROMPT_NONE) {
        bottom_prompt(c, ui);
        /* a message must not be lost while a line is typed: it takes the row above the status for as long as it is fresh */
        if (fresh || ui->said_on) {
            enum message_level level = ui->said_on ? ui->said_level : m->level;
            struct rect row = {ui->layout.status.row - 1, 0, 1, r.cols};
            canvas_fill(c, row, roles[level], ' ');
            canvas_printf(c, row.row, 1, r.cols - 2, roles[level], "%s%s", signs[level], ui->said_on ? str_text(&ui->said) : m->text);
        }
        return;
    }
    if (ui->said_on)
        canvas_printf(c, r.row, 1, r.cols - 1, roles[ui->said_level], "%s%s", signs[ui->said_level], str_text(&ui->said));
    else if (fresh)
        canvas_printf(c, r.row, 1, r.cols - 1, roles[m->level], "%s%s", signs[m->level], m->text);
    else
        bottom_hints(c, v, ui);
}

/* ---- dialogs ---- */

void frame_dialog(struct canvas *c, const struct view *v, const struct ui_state *ui)
{
    static const char *const quit_lines[] = {"s   save a checkpoint and quit", "w   quit when the run is done", "Esc stay", NULL};
    static const char *const stop_lines[] = {"y   stop and keep a checkpoint (gemmaiku resume goes on)", "Esc go on training", NULL};
    static const char *const leave_lines[] = {"y   stop it and quit (what is finished stays)", "Esc stay", NULL};
    const char *const *lines = ui->dialog == DIALOG_QUIT ? quit_lines : ui->dialog == DIALOG_STOP ? stop_lines : leave_lines;
    char text[96];
    bool exporting = ui->dialog != DIALOG_STOP && v->export_form.state == JOB_RUNNING;
    if (ui->dialog == DIALOG_LEAVE)
        snprintf(text, sizeof text, exporting ? "An export is running." : "The export is over.");
    else if (v->run.iters > 0)
        snprintf(text, sizeof text, exporting ? "Step %ld of %ld; an export is running, too." : "The run stands at %ld of %ld steps.", v->run.step, v->run.iters);
    else
        snprintf(text, sizeof text, "A run is being prepared.");
    int count = 0, cols = width_text(text);
    for (; lines[count]; count++)
        cols = width_text(lines[count]) > cols ? width_text(lines[count]) : cols;
    struct rect body = ui->layout.body, box = {0, 0, count + 5, cols + 6};
    box.cols = box.cols > body.cols ? body.cols : box.cols;
    box.row = body.row + (body.rows - box.rows) / 2;
    box.col = body.col + (body.cols - box.cols) / 2;
    canvas_fill(c, box, ROLE_DIALOG, ' ');
    canvas_box(c, box, true, ui->dialog == DIALOG_STOP ? "Stop training?" : "Quit?", NULL);
    int row = box.row + 1, col = box.col + 3;
    canvas_fit(c, row++, col, box.cols - 5, ROLE_DIALOG, text);
    row++;
    for (int i = 0; i < count; i++, row++) {
        int key = (int)strcspn(lines[i], " ");
        canvas_fit(c, row, col, box.cols - 5, ROLE_DIALOG, lines[i]);
        canvas_role(c, (struct rect){row, col, 1, key}, ROLE_HINT_KEY);
    }
}

/* ---- below 60 x 12 ---- */

void frame_small(struct canvas *c, const struct view *v, const struct ui_state *ui)
{
    const struct view_run *run = &v->run;
    char lines[5][96], loss[24], eta[24];
    int n = 0;
    if (run->state != RUN_NONE && run->iters > 0)
        snprintf(lines[n++], sizeof lines[0], "%s %ld/%ld  loss %s  eta %s", states[run->state].word, run->step, run->iters,
                 loss_text(run->loss, loss), duration_text(run->eta_s, eta));
    else
        snprintf(lines[n++], sizeof lines[0], "gemmaiku: %s", states[run->state].word);
    if (ui->dialog == DIALOG_QUIT)
        snprintf(lines[n++], sizeof lines[0], "quit? s save, w when done, Esc stay");
    else if (ui->dialog == DIALOG_LEAVE)
        snprintf(lines[n++], sizeof lines[0], "quit? y stop the export, Esc stay");
    else
        snprintf(lines[n++], sizeof lines[0], "q quit  p %s", run->state == RUN_PAUSED ? "resume" : "pause");
    snprintf(lines[n++], sizeof lines[0], "%dx%d is too small: %dx%d shows all", ui->cols, ui->rows, LAYOUT_MIN_COLS, LAYOUT_MIN_ROWS);
    int row = c->rows > n ? (c->rows - n) / 2 : 0;
    for (int i = 0; i < n && row + i < c->rows; i++)
        canvas_fit(c, row + i, c->cols > 20, c->cols - (c->cols > 20), i == 0 ? ROLE_TITLE : ROLE_TEXT, lines[i]);
}
