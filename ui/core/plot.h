/* plot.h - curves in character cells: braille dots (2 x 4 a cell), or ASCII strokes.
 *
 * Per dot column the minimum and the maximum of all points in it are drawn, so that a spike cannot vanish; points are then joined.
 * Non-finite values (and values <= 0 on a logarithmic axis) leave a gap; NaN and infinite ones of the first series an x on the top row.
 * Later series win a cell whole. Memory: one bitmap a call.
 *
 *     struct plot_frame f;                          where things ended up: for a cursor read-out
 *     plot_draw(&canvas, rect, series, 2, &(struct plot_axes){.x0 = 0, .x1 = 600, .y0 = NAN, .y1 = NAN, .log_y = true}, &f);
 */
#ifndef GM_UI_PLOT_H
#define GM_UI_PLOT_H

#include "ui/core/canvas.h"

enum plot_kind { PLOT_LINE, PLOT_MARKS, PLOT_LINE_MARKS };
struct plot_series {
    const double *x, *y; /* x rising */
    size_t count;
    double scale; /* y is multiplied by this; 0 = 1 */
    enum plot_kind kind;
    enum role role;
};
struct plot_axes {
    double x0, x1; /* the visible window */
    double y0, y1; /* NAN: from the data */
    bool log_y;
    bool from_zero; /* linear axis: start at 0 unless the data stay far from it */
};
struct plot_frame {
    struct rect area; /* the cells of the curves; empty when there was no room */
    double x0, x1, y0, y1;
    bool log_y;
    size_t bad; /* visible points of the first series that are NaN or infinite */
};

enum { PLOT_MIN_ROWS = 3, PLOT_MIN_COLS = 16 };
void plot_draw(struct canvas *c, struct rect r, const struct plot_series *series, size_t count, const struct plot_axes *axes,
               struct plot_frame *frame);

/* Index of the point nearest to x; count when there is none. */
size_t plot_nearest(const double *x, size_t count, double at);
/* First index with x >= at. */
size_t plot_lower(const double *x, size_t count, double at);
int plot_column(const struct plot_frame *f, double x); /* canvas column; -1 outside */

/* Exponential smoothing, debiased: s = w s + (1-w) y, shown s / (1 - w^n); non-finite values give themselves and are skipped. */
struct plot_ema {
    double weight, sum, decay; /* decay = weight^n */
};
double plot_ema_next(struct plot_ema *e, double y);

/* Ticks in 1-2-5 steps (decades with 1-2-5 on a log axis): writes at most `most` values, rising; returns how many. */
int plot_ticks(double low, double high, bool log_scale, int most, double *out);
/* "0.45" "1.2k" "3e-5": at most 6 characters. */
const char *plot_label(double value, char out[16]);

#endif
