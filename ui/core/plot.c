#include "ui/core/plot.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"

enum { TICKS_MAX = 32, LABEL_COLS = 6 };

size_t plot_lower(const double *x, size_t count, double at)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (x[middle] < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t plot_nearest(const double *x, size_t count, double at)
{
    size_t i = plot_lower(x, count, at);
    if (i > 0 && (i == count || at - x[i - 1] < x[i] - at))
        i--;
    return i;
}

double plot_ema_next(struct plot_ema *e, double y)
{
    if (!isfinite(y))
        return y;
    if (e->decay == 0 && e->sum == 0)
        e->decay = 1;
    e->sum = e->weight * e->sum + (1 - e->weight) * y;
    e->decay *= e->weight;
    return e->sum / (1 - e->decay);
}

/* ---- ticks ---- */

static int ticks_linear(double low, double high, int most, double *out)
{
    double span = high - low;
    double raw = span / (most > 1 ? most : 1);
    double step = pow(10, floor(log10(raw)));
    double ratio = raw / step;
    step *= ratio <= 1 ? 1 : ratio <= 2 ? 2 : ratio <= 5 ? 5 : 10;
    int n = 0;
    double first = ceil(low / step - 1e-9);
    for (int i = 0; i < most + 1 && n < TICKS_MAX; i++) {
        double value = (first + i) * step;
        if (value > high + step * 1e-9)
            break;
        out[n++] = fabs(value) < step * 1e-9 ? 0 : value;
    }
    return n;
}

static int ticks_log(double low, double high, int most, double *out)
{
    static const int sets[3][3] = {{1, 2, 5}, {1, 3, 0}, {1, 0, 0}};
    int first = (int)floor(log10(low)), last = (int)floor(log10(high));
    for (int set = 0; set < 3; set++) {
        int n = 0;
        bool fits = true;
        for (int decade = first; decade <= last && fits; decade++)
            for (int k = 0; k < 3 && sets[set][k]; k++) {
                double value = sets[set][k] * pow(10, decade);
                if (value < low * 0.999999 || value > high * 1.000001)
                    continue;
                if (n == most || n == TICKS_MAX) {
                    fits = false;
                    break;
                }
                out[n++] = value;
            }
        if (fits && n >= 2)
            return n;
        if (fits && set == 0)
            break; /* not even two at the finest: the span is less than a factor of two or so */
    }
    return ticks_linear(low, high, most, out);
}

int plot_ticks(double low, double high, bool log_scale, int most, double *out)
{
    if (!(high > low) || !isfinite(low) || !isfinite(high) || most < 1)
        return 0;
    if (most > TICKS_MAX)
        most = TICKS_MAX;
    return log_scale && low > 0 ? ticks_log(low, high, most, out) : ticks_linear(low, high, most, out);
}

const char *plot_label(double value, char out[16])
{
    double size = fabs(value);
    if (value == 0)
        snprintf(out, 16, "0");
    else if (!isfinite(value))
        snprintf(out, 16, "%s", isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
    else if (size >= 1e6 && size < 1e9)
        snprintf(out, 16, "%.4gM", value / 1e6);
    else if (size >= 1e9 || size < 0.001) {
        int exponent = (int)floor(log10(size) + 1e-9);
        double mantissa = value / pow(10, exponent);
        snprintf(out, 16, "%.3ge%d", mantissa, exponent);
    } else if (size >= 10000)
        snprintf(out, 16, "%.4gk", value / 1e3);
    else
        snprintf(out, 16, "%.4g", value);
    return out;
}

/* ---- drawing ---- */

struct grid { /* dots of one series */
    int rows, cols; /* in dots */
    int dot_rows, dot_cols; /* per cell */
    uint8_t *dots;          /* per dot */
    const struct plot_frame *frame;
};

static double scale_y(const struct plot_frame *f, double y)
{
    double low = f->y0, high = f->y1;
    if (f->log_y) {
        low = log(low);
        high = log(high);
        y = log(y);
    }
    return (y - low) / (high - low);
}

static int dot_row(const struct grid *g, double y)
{
    double share = scale_y(g->frame, y);
    int row = (int)lround((1 - share) * (g->rows - 1));
    return row < 0 ? 0 : row >= g->rows ? g->rows - 1 : row;
}

static double dot_col(const struct grid *g, double x)
{
    return (x - g->frame->x0) / (g->frame->x1 - g->frame->x0) * (g->cols - 1);
}

static void stroke(struct grid *g, int col, int from, int to)
{
    if (col < 0 || col >= g->cols)
        return;
    if (from > to) {
        int swap = from;
        from = to;
        to = swap;
    }
    for (int row = from; row <= to; row++)
        g->dots[(size_t)row * (size_t)g->cols + (size_t)col] = 1;
}

/* From (c0, r0) to (c1, r1), c0 < c1: each column takes the rows the line passes in it. */
static void join(struct grid *g, int c0, int r0, int c1, int r1)
{
    int from = c0 < 0 ? 0 : c0, to = c1 >= g->cols ? g->cols - 1 : c1;
    double slope = (double)(r1 - r0) / (c1 - c0);
    for (int col = from; col <= to; col++) {
        double a = r0 + slope * (col - 0.5 - c0), b = r0 + slope * (col + 0.5 - c0);
        double low = r1 > r0 ? r0 : r1, high = r1 > r0 ? r1 : r0;
        a = a < low ? low : a > high ? high : a;
        b = b < low ? low : b > high ? high : b;
        int ra = (int)lround(a), rb = (int)lround(b);
        if (ra != rb && col > c0) /* do not double the corner that the column before has drawn */
            ra += rb > ra ? 1 : -1;
        stroke(g, col, ra, rb);
    }
}

static bool drawable(const struct plot_frame *f, double y)
{
    return isfinite(y) && (!f->log_y || y > 0);
}

static void draw_line(struct grid *g, const struct plot_series *s, double scale)
{
    size_t first = plot_lower(s->x, s->count, g->frame->x0), last = plot_lower(s->x, s->count, g->frame->x1);
    first -= first > 0; /* the neighbours outside, so that the line reaches the edge */
    last += last < s->count;
    bool open = false; /* a point before this one in the same unbroken stretch */
    int col = 0, low = 0, high = 0, row = 0;
    for (size_t i = first; i < last; i++) {
        double y = s->y[i] * scale;
        if (!drawable(g->frame, y)) {
            if (open)
                stroke(g, col, low, high);
            open = false;
            continue;
        }
        double exact = dot_col(g, s->x[i]);
        int c = exact < -1e6 ? -1000000 : exact > 1e6 ? 1000000 : (int)lround(exact), r = dot_row(g, y);
        if (open && c == col) {
            low = r < low ? r : low;
            high = r > high ? r : high;
        } else {
            if (open) {
                stroke(g, col, low, high);
                if (c > col)
                    join(g, col, row, c, r);
            }
            low = high = r;
        }
        col = c;
        row = r;
        open = true;
    }
    if (open)
        stroke(g, col, low, high);
}

static void paint(struct canvas *c, struct rect area, const struct grid *g, enum role role)
{
    static const uint8_t braille[4][2] = {{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
    for (int row = 0; row < area.rows; row++)
        for (int col = 0; col < area.cols; col++) {
            uint32_t bits = 0;
            for (int i = 0; i < g->dot_rows; i++)
                for (int k = 0; k < g->dot_cols; k++)
                    if (g->dots[(size_t)(row * g->dot_rows + i) * (size_t)g->cols + (size_t)(col * g->dot_cols + k)])
                        bits |= braille[i][k];
            if (!bits)
                continue;
            if (!c->ascii) {
                canvas_put(c, area.row + row, area.col + col, role, 0x2800 + bits);
                continue;
            }
            bool high = bits & 0x01, low = bits & 0x02; /* ASCII: two dots a cell, upper and lower half */
            canvas_put(c, area.row + row, area.col + col, role, high && low ? '|' : high ? '\'' : '.');
        }
}

static void draw_marks(struct canvas *c, const struct plot_frame *f, const struct plot_series *s, double scale)
{
    for (size_t i = plot_lower(s->x, s->count, f->x0); i < s->count && s->x[i] <= f->x1; i++) {
        double y = s->y[i] * scale;
        if (!drawable(f, y) || f->area.rows < 1)
            continue;
        int row = (int)lround((1 - scale_y(f, y)) * (f->area.rows * 4 - 1)) / 4;
        row = row < 0 ? 0 : row >= f->area.rows ? f->area.rows - 1 : row;
        canvas_put(c, f->area.row + row, plot_column(f, s->x[i]), s->role, 0x25c6);
    }
}

int plot_column(const struct plot_frame *f, double x)
{
    if (f->area.cols < 1 || !(x >= f->x0 && x <= f->x1))
        return -1;
    int col = (int)(lround((x - f->x0) / (f->x1 - f->x0) * (f->area.cols * 2 - 1)) / 2);
    return f->area.col + (col >= f->area.cols ? f->area.cols - 1 : col);
}

/* Bounds of what is visible; false when there is nothing to see. */
static bool bounds(const struct plot_series *series, size_t count, struct plot_frame *f)
{
    double low = INFINITY, high = -INFINITY;
    for (size_t k = 0; k < count; k++) {
        double scale = series[k].scale != 0 ? series[k].scale : 1;
        for (size_t i = plot_lower(series[k].x, series[k].count, f->x0); i < series[k].count && series[k].x[i] <= f->x1; i++) {
            double y = series[k].y[i] * scale;
            if (!isfinite(y))
                f->bad += k == 0;
            else if (!f->log_y || y > 0) {
                low = y < low ? y : low;
                high = y > high ? y : high;
            }
        }
    }
    f->y0 = low;
    f->y1 = high;
    return low <= high;
}

static void pad(struct plot_frame *f, const struct plot_axes *axes)
{
    double low = f->y0, high = f->y1;
    if (f->log_y) {
        double margin = high / low < 1.02 ? 1.05 : pow(high / low, 0.04);
        f->y0 = low / margin;
        f->y1 = high * margin;
    } else {
        double span = high - low;
        double margin = span > 0 ? span * 0.05 : fabs(high) > 0 ? fabs(high) * 0.1 : 1;
        f->y0 = (axes->from_zero || low - margin < 0) && low >= 0 ? 0 : low - margin;
        f->y1 = high + margin;
    }
    f->y0 = isnan(axes->y0) ? f->y0 : axes->y0;
    f->y1 = isnan(axes->y1) ? f->y1 : axes->y1;
}

static void draw_axes(struct canvas *c, struct rect r, const struct plot_frame *f)
{
    struct rect area = f->area;
    double ticks[TICKS_MAX];
    char label[16];
    int axis_col = area.col - 1, taken = -2;
    bool x_axis = area.row + area.rows < r.row + r.rows;
    for (int row = 0; row < area.rows; row++)
        canvas_put(c, area.row + row, axis_col, ROLE_PLOT_AXIS, 0x2502);
    int n = plot_ticks(f->y0, f->y1, f->log_y, area.rows / 3 > 1 ? area.rows / 3 : 2, ticks);
    for (int i = n - 1; i >= 0; i--) {
        int row = (int)lround((1 - scale_y(f, ticks[i])) * (area.rows * 4 - 1)) / 4;
        if (row < 0 || row >= area.rows || row <= taken)
            continue;
        taken = row;
        canvas_right(c, area.row + row, r.col, LABEL_COLS, ROLE_PLOT_AXIS, plot_label(ticks[i], label));
        canvas_put(c, area.row + row, axis_col, ROLE_PLOT_AXIS, 0x2524);
        for (int col = 3; col < area.cols; col += 4)
            canvas_put(c, area.row + row, area.col + col, ROLE_PLOT_GRID, 0xb7);
    }
    if (!x_axis)
        return;
    int row = area.row + area.rows;
    canvas_put(c, row, axis_col, ROLE_PLOT_AXIS, 0x2514);
    for (int col = 0; col < area.cols; col++)
        canvas_put(c, row, area.col + col, ROLE_PLOT_AXIS, 0x2500);
    if (row + 1 >= r.row + r.rows)
        return;
    n = plot_ticks(f->x0, f->x1, false, area.cols / 14 > 1 ? area.cols / 14 : 2, ticks);
    int free_col = r.col;
    for (int i = 0; i < n; i++) {
        if (ticks[i] != floor(ticks[i]))
            continue; /* there is no step 2.5 */
        int len = (int)strlen(plot_label(ticks[i], label)), at = plot_column(f, ticks[i]);
        int col = at - len / 2;
        if (col + len > area.col + area.cols)
            col = area.col + area.cols - len;
        if (at < 0 || col < free_col)
            continue;
        canvas_text(c, row + 1, col, len, ROLE_PLOT_AXIS, label);
        free_col = col + len + 2;
    }
}

static void draw_bad(struct canvas *c, const struct plot_frame *f, const struct plot_series *s)
{
    for (size_t i = plot_lower(s->x, s->count, f->x0); f->bad > 0 && i < s->count && s->x[i] <= f->x1; i++)
        if (!isfinite(s->y[i]))
            canvas_put(c, f->area.row, plot_column(f, s->x[i]), ROLE_PLOT_NAN, 'x');
}

void plot_draw(struct canvas *c, struct rect r, const struct plot_series *series, size_t count, const struct plot_axes *axes,
               struct plot_frame *frame)
{
    *frame = (struct plot_frame){.x0 = axes->x0, .x1 = axes->x1, .log_y = axes->log_y};
    if (r.rows < PLOT_MIN_ROWS || r.cols < PLOT_MIN_COLS || !(axes->x1 > axes->x0))
        return;
    int axis_rows = r.rows >= 6 ? 2 : 0;
    frame->area = (struct rect){r.row, r.col + LABEL_COLS + 2, r.rows - axis_rows, r.cols - LABEL_COLS - 2};
    if (!bounds(series, count, frame)) {
        frame->y0 = frame->log_y ? 0.1 : 0; /* an empty picture still has axes */
        frame->y1 = 1;
        if (!isnan(axes->y1))
            frame->y1 = axes->y1;
    } else
        pad(frame, axes);
    draw_axes(c, r, frame);

    struct rect area = frame->area;
    struct grid g = {.dot_rows = c->ascii ? 2 : 4, .dot_cols = c->ascii ? 1 : 2, .frame = frame};
    g.rows = area.rows * g.dot_rows;
    g.cols = area.cols * g.dot_cols;
    size_t size = (size_t)g.rows * (size_t)g.cols;
    g.dots = mem_new(size, 1);
    for (size_t k = 0; k < count; k++) {
        double scale = series[k].scale != 0 ? series[k].scale : 1;
        if (series[k].kind != PLOT_MARKS) {
            memset(g.dots, 0, size);
            draw_line(&g, &series[k], scale);
            paint(c, area, &g, series[k].role);
        }
        if (series[k].kind != PLOT_LINE)
            draw_marks(c, frame, &series[k], scale);
    }
    if (count > 0)
        draw_bad(c, frame, &series[0]);
    mem_free(g.dots);
}
