/* train.c - screen 2: the live curve with axis, smoothing, validation marks and a cursor; the run; its last samples. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "ui/core/width.h"
#include "ui/screens/state.h"

static const char *const metric_names[METRIC_COUNT] = {"loss", "form rate %", "learning rate", "grad norm", "tokens/s"};
static const double weights[] = {0, 0.6, 0.9, 0.97, 0.99};
enum { WEIGHT_COUNT = sizeof weights / sizeof weights[0] };

void train_free(struct train_state *t)
{
    mem_free(t->ema);
    t->ema = NULL;
}

static const struct view_series *series_of(const struct view *v, enum metric metric)
{
    const struct view_series *const all[METRIC_COUNT] = {&v->curves.loss, &v->curves.form_rate, &v->curves.learning_rate,
                                                         &v->curves.grad_norm, &v->curves.tokens_per_s};
    return all[metric];
}

static bool smoothable(enum metric metric)
{
    return metric == METRIC_LOSS || metric == METRIC_NORM || metric == METRIC_SPEED;
}

/* ---- the window ---- */

static double newest_x(const struct view *v)
{
    const struct view_series *loss = &v->curves.loss, *val = &v->curves.val_loss;
    double x = loss->count ? loss->x[loss->count - 1] : 0;
    if (val->count && val->x[val->count - 1] > x)
        x = val->x[val->count - 1];
    return x;
}

static void window(const struct view *v, const struct train_state *t, double *x0, double *x1)
{
    double newest = newest_x(v);
    if (newest < 10)
        newest = 10; /* the first steps do not jump about */
    double right = t->held ? t->right : newest;
    *x1 = right;
    *x0 = t->span > 0 ? right - t->span : 0;
    if (*x0 < 0)
        *x0 = 0;
    if (*x1 < *x0 + 5)
        *x1 = *x0 + 5;
}

static void zoom(struct train_state *t, const struct view *v, double factor)
{
    double x0, x1, whole = newest_x(v) < 10 ? 10 : newest_x(v);
    window(v, t, &x0, &x1);
    double span = (x1 - x0) * factor;
    if (span >= whole) {
        t->span = 0;
        t->held = false;
        return;
    }
    t->span = span < 10 ? 10 : span;
    if (t->cursor || t->held) {
        double about = t->cursor ? t->cursor_x : (x0 + x1) / 2, share = (about - x0) / (x1 - x0);
        t->held = true;
        t->right = about + (1 - share) * t->span;
        if (t->right < t->span)
            t->right = t->span;
        if (t->right >= whole)
            t->held = false;
    }
}

static void pan(struct train_state *t, const struct view *v, double share)
{
    double x0, x1, newest = newest_x(v);
    window(v, t, &x0, &x1);
    if (t->span <= 0)
        return; /* all of it is on the screen */
    t->right = x1 + share * t->span;
    t->held = t->right < newest;
    if (t->right < t->span)
        t->right = t->span;
}

/* ---- smoothing ---- */

static const double *smoothed(struct train_state *t, const struct view *v, const struct view_series *s)
{
    if (t->ema_version == v->curves.version && t->ema_count == s->count && t->ema_smooth == t->smooth && t->ema_of == s->y && t->ema)
        return t->ema;
    if (s->count > t->ema_capacity) {
        size_t more = 2 * s->count + 256;
        mem_free(t->ema);
        t->ema = mem_new(more, sizeof *t->ema);
        t->ema_capacity = more;
    }
    struct plot_ema e = {.weight = t->smooth};
    for (size_t i = 0; i < s->count; i++)
        t->ema[i] = plot_ema_next(&e, s->y[i]);
    t->ema_version = v->curves.version;
    t->ema_of = s->y;
    t->ema_count = s->count;
    t->ema_smooth = t->smooth;
    return t->ema;
}

/* ---- commands ---- */

enum ui_reply train_perform(struct ui_state *ui, const struct view *v, struct command *c)
{
    struct train_state *t = &ui->train;
    int step = 0;
    switch (c->id) {
    case COMMAND_TIME:
        t->time = !t->time;
        break;
    case COMMAND_LOG_Y:
        t->linear = !t->linear;
        break;
    case COMMAND_RAW:
        t->hide_raw = !t->hide_raw;
        break;
    case COMMAND_SMOOTH_MORE:
        step = 1;
        break;
    case COMMAND_SMOOTH_LESS:
        step = -1;
        break;
    case COMMAND_SMOOTH: {
        char *end;
        double w = strtod(str_text(&c->text), &end);
        if (*end || !(w >= 0 && w <= 0.999))
            ui_say(ui, MESSAGE_ERROR, "smooth wants a number from 0 to 0.999");
        else
            t->smooth = w;
        break;
    }
    case COMMAND_ZOOM_IN:
        zoom(t, v, 0.5);
        break;
    case COMMAND_ZOOM_OUT:
        zoom(t, v, 2);
        break;
    case COMMAND_FIT:
        t->span = 0;
        t->held = false;
        break;
    case COMMAND_PAN_LEFT:
        pan(t, v, -0.25);
        break;
    case COMMAND_PAN_RIGHT:
        pan(t, v, 0.25);
        break;
    case COMMAND_CURSOR: {
        double x0, x1;
        window(v, t, &x0, &x1);
        t->cursor = !t->cursor && series_of(v, t->metric)->count > 0;
        t->cursor_x = newest_x(v);
        if (t->cursor_x > x1)
            t->cursor_x = x1;
        break;
    }
    case COMMAND_METRIC: {
        static const char *const words[METRIC_COUNT] = {"loss", "form", "lr", "norm", "speed"};
        if (c->text.len == 0) {
            t->metric = (enum metric)((t->metric + 1) % METRIC_COUNT);
            break;
        }
        int k = 0;
        while (k < METRIC_COUNT && strncmp(str_text(&c->text), words[k], strlen(words[k])) != 0)
            k++;
        if (k == METRIC_COUNT)
            ui_say(ui, MESSAGE_ERROR, "metric is one of loss form lr norm speed");
        else
            t->metric = (enum metric)k;
        break;
    }
    default:
        break;
    }
    if (step) {
        int at = 0;
        while (at + 1 < WEIGHT_COUNT && weights[at] < t->smooth - 1e-9)
            at++;
        at += step;
        t->smooth = weights[at < 0 ? 0 : at >= WEIGHT_COUNT ? WEIGHT_COUNT - 1 : at];
    }
    return UI_DONE;
}

bool train_move(struct ui_state *ui, const struct view *v, enum command_id id)
{
    struct train_state *t = &ui->train;
    const struct view_series *s = series_of(v, t->metric);
    if (!t->cursor || t->time || s->count == 0)
        return false;
    long delta = id == COMMAND_MOVE_LEFT ? -1 : id == COMMAND_MOVE_RIGHT ? 1 : id == COMMAND_PAGE_UP ? -10 : id == COMMAND_PAGE_DOWN ? 10 : 0;
    long at = (long)plot_nearest(s->x, s->count, t->cursor_x);
    if (id == COMMAND_MOVE_FIRST)
        at = 0;
    else if (id == COMMAND_MOVE_LAST)
        at = (long)s->count - 1;
    else if (delta == 0)
        return false;
    else
        at += delta;
    at = at < 0 ? 0 : at >= (long)s->count ? (long)s->count - 1 : at;
    t->cursor_x = s->x[at];
    double x0, x1;
    window(v, t, &x0, &x1);
    if (t->cursor_x < x0 || t->cursor_x > x1) { /* the window comes along */
        t->held = true;
        t->right = t->cursor_x < x0 ? t->cursor_x + t->span : t->cursor_x;
    }
    return true;
}

/* ---- drawing ---- */

/* A form rate of a few per cent must not lie flat on the ground: the axis ends at 20, 50 or 100. */
static double form_top(const struct view_series *s)
{
    double most = 0;
    for (size_t i = 0; i < s->count; i++)
        most = s->y[i] > most ? s->y[i] : most;
    return most > 0.45 ? 100 : most > 0.18 ? 50 : 20;
}

/* On the lower border, where it never hides a point. */
static void draw_legend(struct canvas *c, struct rect box, const struct view *v, const struct train_state *t)
{
    bool smooth = smoothable(t->metric) && t->smooth > 0, raw = smooth && !t->hide_raw;
    bool val = t->metric == METRIC_LOSS && v->curves.val_loss.count > 0;
    const struct {
        bool shown;
        uint32_t sign, ascii;
        enum role role;
        const char *text;
    } parts[] = {{true, 0x2501, '|', ROLE_PLOT_S1, smooth ? "smoothed" : metric_names[t->metric]},
                 {raw, 0x2500, '.', ROLE_PLOT_RAW, "raw"},
                 {val, 0x25c6, 'o', ROLE_PLOT_VAL, "valid"}};
    int col = box.col + 10, row = box.row + box.rows - 1;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (!parts[i].shown)
            continue;
        canvas_put(c, row, col, ROLE_TEXT, ' ');
        canvas_put(c, row, col + 1, parts[i].role, c->ascii ? parts[i].ascii : parts[i].sign);
        canvas_put(c, row, col + 2, ROLE_TEXT, ' ');
        col += 3 + canvas_text(c, row, col + 3, 20, ROLE_DIM, parts[i].text);
        canvas_put(c, row, col++, ROLE_TEXT, ' ');
    }
}

static void draw_cursor(struct canvas *c, const struct plot_frame *f, const struct view *v, const struct train_state *t,
                        const double *ema)
{
    const struct view_series *s = series_of(v, t->metric);
    int col = plot_column(f, t->cursor_x);
    if (!t->cursor || s->count == 0 || col < 0)
        return;
    for (int row = 0; row < f->area.rows; row++) {
        struct cell *cell = &c->cells[(size_t)(f->area.row + row) * (size_t)c->cols + (size_t)col];
        if (cell->ch == ' ' || cell->ch == 0xb7 || cell->ch == '.')
            canvas_put(c, f->area.row + row, col, ROLE_PLOT_CROSS, 0x254e);
        else
            cell->role = ROLE_PLOT_CROSS;
    }
    size_t i = plot_nearest(s->x, s->count, t->cursor_x);
    char lines[5][40], number[24], label[16];
    double scale = t->metric == METRIC_FORM ? 100 : 1;
    int n = 0;
    snprintf(lines[n++], sizeof lines[0], "step  %.0f", s->x[i]);
    snprintf(lines[n++], sizeof lines[0], "raw   %.5g", s->y[i] * scale);
    if (ema)
        snprintf(lines[n++], sizeof lines[0], "ema   %.5g", ema[i]);
    if (t->metric == METRIC_LOSS && v->curves.val_loss.count > 0) {
        size_t k = plot_nearest(v->curves.val_loss.x, v->curves.val_loss.count, t->cursor_x);
        snprintf(lines[n++], sizeof lines[0], "valid %s @%.0f", loss_text(v->curves.val_loss.y[k], number), v->curves.val_loss.x[k]);
    }
    if (t->metric == METRIC_LOSS && v->curves.learning_rate.count > 0) {
        size_t k = plot_nearest(v->curves.learning_rate.x, v->curves.learning_rate.count, t->cursor_x);
        snprintf(lines[n++], sizeof lines[0], "lr    %s", plot_label(v->curves.learning_rate.y[k], label));
    }
    struct rect box = {f->area.row + 1, col + 2, n + 2, 22};
    if (box.col + box.cols > f->area.col + f->area.cols)
        box.col = col - 1 - box.cols;
    if (box.col < f->area.col || box.rows > f->area.rows - 1) { /* no room for a box: one line */
        canvas_printf(c, f->area.row, f->area.col + 1, f->area.cols - 1, ROLE_PLOT_CROSS, " %s  %s  %s ", lines[0], lines[1], n > 2 ? lines[2] : "");
        return;
    }
    canvas_fill(c, box, ROLE_DIALOG, ' ');
    canvas_box(c, box, false, NULL, NULL);
    for (int k = 0; k < n; k++)
        canvas_fit(c, box.row + 1 + k, box.col + 2, box.cols - 3, ROLE_DIALOG, lines[k]);
}

/* A line in the middle of an empty plot, or so many rows below it. */
static void draw_middle(struct canvas *c, struct rect area, int below, const char *text)
{
    int cols = width_text(text), row = area.row + area.rows / 2 + below;
    if (row < area.row + area.rows)
        canvas_fit(c, row, area.col + (area.cols > cols ? (area.cols - cols) / 2 : 0), area.cols, ROLE_DIM, text);
}

static void draw_plot(struct canvas *c, const struct view *v, struct ui_state *ui, struct rect box, bool focus)
{
    struct train_state *t = &ui->train;
    const struct view_series *s = series_of(v, t->metric);
    bool smooth = smoothable(t->metric) && t->smooth > 0, log_y = t->metric == METRIC_LOSS && !t->linear;
    const double *ema = smooth && s->count > 0 ? smoothed(t, v, s) : NULL;
    struct plot_series lines[3];
    size_t count = 0;
    if (!smooth || !t->hide_raw)
        lines[count++] = (struct plot_series){.x = s->x, .y = s->y, .count = s->count, .role = smooth ? ROLE_PLOT_RAW : ROLE_PLOT_S1};
    if (ema)
        lines[count++] = (struct plot_series){.x = s->x, .y = ema, .count = s->count, .role = ROLE_PLOT_S1};
    if (t->metric == METRIC_LOSS)
        lines[count++] = (struct plot_series){.x = v->curves.val_loss.x,
                                              .y = v->curves.val_loss.y,
                                              .count = v->curves.val_loss.count,
                                              .kind = PLOT_MARKS,
                                              .role = ROLE_PLOT_VAL};
    struct plot_axes axes = {.y0 = NAN, .y1 = NAN, .log_y = log_y, .from_zero = t->metric != METRIC_LOSS};
    if (t->metric == METRIC_FORM) {
        lines[0].scale = 100;
        lines[0].kind = PLOT_LINE_MARKS;
        axes.y0 = 0;
        axes.y1 = form_top(s);
    }
    window(v, t, &axes.x0, &axes.x1);
    struct plot_frame frame;
    plot_draw(c, rect_inside(box), lines, count, &axes, &frame);

    struct str title = {0}, right = {0};
    str_add(&title, metric_names[t->metric]);
    if (t->metric == METRIC_LOSS)
        str_add(&title, log_y ? "  log-y" : "  linear");
    if (smoothable(t->metric))
        str_printf(&title, "  smooth %.4g", t->smooth);
    if (v->curves.val_note && t->metric == METRIC_LOSS && width_text(v->curves.val_note) + 44 < box.cols)
        str_printf(&title, "  %s", v->curves.val_note);
    if (frame.bad > 0)
        str_printf(&right, "%zu not finite (x)  ", frame.bad);
    str_add(&right, t->held ? "held" : t->span > 0 ? "zoomed, follow" : "fit, follow");
    canvas_box(c, box, focus, str_text(&title), str_text(&right));
    str_free(&title);
    str_free(&right);
    draw_legend(c, box, v, t);
    draw_cursor(c, &frame, v, t, ema);
    if (s->count == 0 && v->curves.val_loss.count == 0 && frame.area.rows > 2) {
        const char *text = v->run.state == RUN_NONE      ? "no run"
                           : v->run.state == RUN_LOADING ? "loading; the first point comes with the first step"
                           : t->metric == METRIC_FORM    ? "form rates come with the evaluations"
                                                         : "no points yet";
        draw_middle(c, frame.area, 0, text);
        if (v->run.plan && v->run.state != RUN_NONE) {
            struct str plan = {0};
            str_printf(&plan, "plan: %s", v->run.plan);
            draw_middle(c, frame.area, 1, str_text(&plan));
            str_free(&plan);
        }
    }
}

static void draw_side(struct canvas *c, const struct view *v, struct ui_state *ui, int pane, enum metric metric, bool focus)
{
    struct rect box = ui->layout.pane[pane];
    const struct view_series *s = series_of(v, metric);
    struct plot_series line = {.x = s->x, .y = s->y, .count = s->count, .role = ROLE_PLOT_S2};
    struct plot_axes axes = {.y0 = NAN, .y1 = NAN, .from_zero = true};
    if (metric == METRIC_FORM) {
        line.scale = 100;
        line.kind = PLOT_LINE_MARKS;
        axes.y0 = 0;
        axes.y1 = form_top(s);
    }
    window(v, &ui->train, &axes.x0, &axes.x1);
    char value[24] = "-";
    if (s->count > 0)
        plot_label(s->y[s->count - 1] * (metric == METRIC_FORM ? 100 : 1), value);
    canvas_box(c, box, focus, metric == METRIC_FORM ? "form rate 5-7-5 %" : metric_names[metric], value);
    struct plot_frame frame;
    plot_draw(c, rect_inside(box), &line, 1, &axes, &frame);
}

static void draw_run(struct canvas *c, const struct view *v, struct ui_state *ui, struct rect box, bool focus)
{
    const struct view_run *run = &v->run;
    struct train_state *t = &ui->train;
    struct rect in = rect_inside(box);
    char title[64], a[24], b[24];
    snprintf(title, sizeof title, "run%s%s", run->name ? " " : "", run->name ? run->name : "");
    canvas_box(c, box, focus, title, NULL);
    struct str lines[3] = {{0}};
    if (run->learning_rate > 0)
        str_printf(&lines[0], "lr %s", plot_label(run->learning_rate, a));
    if (run->grad_norm >= 0)
        str_printf(&lines[0], "   gnorm %.2f", run->grad_norm);
    if (run->epoch >= 0)
        str_printf(&lines[0], "   epoch %.1f", run->epoch);
    if (run->tokens_per_s > 0)
        str_printf(&lines[1], "%.0f tok/s", run->tokens_per_s);
    if (run->steps_per_s > 0)
        str_printf(&lines[1], "  %.2f it/s", run->steps_per_s);
    if (run->memory_bytes)
        str_printf(&lines[1], "  %s", bytes_text(run->memory_bytes, a));
    if (run->memory_peak_bytes && in.cols >= 50)
        str_printf(&lines[1], " (peak %s)", bytes_text(run->memory_peak_bytes, b));
    if (run->elapsed_s > 0)
        str_printf(&lines[2], "%s %s", duration_text(run->elapsed_s, a), run->state == RUN_DONE ? "in all" : "so far");
    if (!isnan(run->best_val_loss))
        str_printf(&lines[2], "%sbest val %.3f@%ld", lines[2].len ? "   " : "", run->best_val_loss, run->best_val_step);
    int total = 3 + (int)run->fact_count;
    if (t->scroll > total - in.rows)
        t->scroll = total > in.rows ? total - in.rows : 0;
    for (int i = 0; i < in.rows && i + t->scroll < total; i++) {
        int k = i + t->scroll;
        if (k < 3) {
            canvas_fit(c, in.row + i, in.col + 1, in.cols - 2, ROLE_TEXT, str_text(&lines[k]));
            continue;
        }
        const struct view_fact *fact = &run->facts[k - 3];
        canvas_fit(c, in.row + i, in.col + 1, 10, ROLE_DIM, fact->label);
        canvas_fit(c, in.row + i, in.col + 12, in.cols - 13, ROLE_TEXT, fact->value);
    }
    if (focus)
        scroll_mark(c, box, (size_t)t->scroll, (size_t)(in.rows > 0 ? in.rows : 0), (size_t)total);
    for (int i = 0; i < 3; i++)
        str_free(&lines[i]);
}

static void draw_samples(struct canvas *c, const struct view *v, struct rect box, bool focus)
{
    const struct view_samples *s = &v->samples;
    struct rect in = rect_inside(box);
    if (s->count == 0) {
        canvas_box(c, box, focus, "last samples", s->running ? s->running_note : NULL);
        canvas_fit(c, in.row, in.col + 1, in.cols - 2, ROLE_DIM, "with each evaluation (e: now)");
        return;
    }
    const struct view_sample *last = &s->rows[s->count - 1];
    char title[64], right[64];
    size_t first = s->count - 1;
    while (first > 0 && s->rows[first - 1].step == last->step)
        first--;
    bool headers = in.rows >= 8;
    size_t strict = 0, one = first + (s->count - first) / 2; /* the middle temperature when there is room for one */
    for (size_t i = first; i < s->count; i++)
        strict += s->rows[i].verse.verdict == VERDICT_STRICT;
    if (headers)
        snprintf(title, sizeof title, "samples @%ld", last->step);
    else
        snprintf(title, sizeof title, "sample @%ld T=%.1f", s->rows[one].step, s->rows[one].temperature);
    snprintf(right, sizeof right, "%zu/%zu 5-7-5", strict, s->count - first);
    canvas_box(c, box, focus, title, right);
    int row = 0;
    for (size_t i = headers ? first : one; i < s->count && row < in.rows; i++) {
        const struct view_sample *x = &s->rows[i];
        if (headers) {
            int need = 1 + (int)x->verse.line_count;
            if (row > 0 && row + need > in.rows)
                break;
            canvas_put(c, in.row + row, in.col + 1, verse_role(x->verse.verdict), (uint32_t)verse_mark(x->verse.verdict));
            canvas_printf(c, in.row + row, in.col + 3, in.cols - 4, ROLE_DIM, "T %.1f  %s", x->temperature, x->prompt ? x->prompt : "");
            row++;
        }
        row += verse_draw(c, in.row + row, in.col + (headers ? 3 : 1), in.rows - row, in.cols - (headers ? 4 : 2), &x->verse, false);
        if (!headers)
            break;
        row += row + 5 <= in.rows && in.rows >= 14;
    }
}

void train_draw(struct canvas *c, const struct view *v, struct ui_state *ui)
{
    const struct layout *l = &ui->layout;
    int focus = ui_focus(ui, v);
    if (layout_shown(l, TRAIN_PLOT) && ui->train.time)
        step_time_draw(c, v, l->pane[TRAIN_PLOT], focus == TRAIN_PLOT);
    else if (layout_shown(l, TRAIN_PLOT))
        draw_plot(c, v, ui, l->pane[TRAIN_PLOT], focus == TRAIN_PLOT);
    if (layout_shown(l, TRAIN_RUN))
        draw_run(c, v, ui, l->pane[TRAIN_RUN], focus == TRAIN_RUN);
    if (layout_shown(l, TRAIN_SAMPLE))
        draw_samples(c, v, l->pane[TRAIN_SAMPLE], focus == TRAIN_SAMPLE);
    if (layout_shown(l, TRAIN_LR))
        draw_side(c, v, ui, TRAIN_LR, METRIC_LR, focus == TRAIN_LR);
    if (layout_shown(l, TRAIN_NORM))
        draw_side(c, v, ui, TRAIN_NORM, METRIC_NORM, focus == TRAIN_NORM);
    if (layout_shown(l, TRAIN_SPEED))
        draw_side(c, v, ui, TRAIN_SPEED, METRIC_SPEED, focus == TRAIN_SPEED);
    if (layout_shown(l, TRAIN_FORM))
        draw_side(c, v, ui, TRAIN_FORM, METRIC_FORM, focus == TRAIN_FORM);
}
