/* canvas.h - a grid of character cells: what the screens draw on, and the only thing the terminal layer (or a test) reads.
 *
 * No cell ever holds a control character: canvas_text() puts U+FFFD (or '?' in ASCII) for what cannot be shown. Wide
 * characters take a cell and an empty one behind it, and are never cut in two. Drawing outside is clipped. One thread.
 *
 *     struct canvas c; canvas_init(&c); canvas_resize(&c, 24, 80, true);
 *     canvas_text(&c, (struct rect){0, 0, 1, 80}, ROLE_TITLE, "GEMMAIKU");  canvas_free(&c);
 */
#ifndef GM_UI_CANVAS_H
#define GM_UI_CANVAS_H

#include "engine/base/str.h"
#include "ui/core/theme.h"

struct rect {
    int row, col, rows, cols; /* empty when rows or cols is <= 0 */
};

struct cell {
    uint32_t ch;      /* scalar; 0 = right half of a wide character */
    uint32_t mark[2]; /* combining marks, 0 = none */
    uint8_t role;     /* enum role */
};

struct canvas {
    int rows, cols;
    bool ascii; /* draw with ASCII only: the locale is not UTF-8 */
    struct cell *cells;
    int cursor_row, cursor_col; /* where the terminal's cursor belongs; -1: hidden */
    size_t capacity;
};

void canvas_init(struct canvas *c);
void canvas_free(struct canvas *c);
void canvas_resize(struct canvas *c, int rows, int cols, bool utf8); /* also clears */
void canvas_clear(struct canvas *c);

/* One line at (row, col), at most cols wide; returns the columns used. `_fit` ends a cut text with an ellipsis. */
int canvas_text(struct canvas *c, int row, int col, int cols, enum role role, const char *text);
int canvas_text_n(struct canvas *c, int row, int col, int cols, enum role role, const char *text, size_t n);
int canvas_fit(struct canvas *c, int row, int col, int cols, enum role role, const char *text);
int canvas_right(struct canvas *c, int row, int col, int cols, enum role role, const char *text); /* right-aligned */
int canvas_printf(struct canvas *c, int row, int col, int cols, enum role role, const char *format, ...)
    __attribute__((format(printf, 6, 7)));
void canvas_put(struct canvas *c, int row, int col, enum role role, uint32_t ch);
void canvas_fill(struct canvas *c, struct rect r, enum role role, uint32_t ch);
void canvas_role(struct canvas *c, struct rect r, enum role role); /* recolour, keeping the text */
void canvas_box(struct canvas *c, struct rect r, bool focus, const char *title, const char *right); /* border + titles */
struct rect rect_inside(struct rect r); /* what a box leaves */

/* The screen as text, a line per row, trailing blanks kept off; roles as one letter a cell in `plane` when not NULL. */
void canvas_dump(const struct canvas *c, struct str *text, struct str *plane);

#endif
