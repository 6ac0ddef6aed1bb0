/* surface.h - a canvas onto the terminal: the one file that knows curses. Private to ui/term. */
#ifndef GM_UI_TERM_SURFACE_H
#define GM_UI_TERM_SURFACE_H

#include "ui/core/canvas.h"

struct surface {
    void *handle; /* SCREEN * of curses */
    int rows, cols;
    unsigned long attributes[ROLE_COUNT];
    short pairs[ROLE_COUNT];
};

bool surface_open(struct surface *s, const char *term_name, struct gm_error *err);
void surface_close(struct surface *s);
int surface_colors(const struct surface *s); /* 0, 8, 16, 256 ... */
void surface_theme(struct surface *s, const struct theme *theme, enum theme_level level);
void surface_resize(struct surface *s, int rows, int cols);
void surface_redraw(struct surface *s); /* everything at the next draw */
void surface_draw(struct surface *s, const struct canvas *c); /* sends what changed */
void surface_suspend(struct surface *s);
void surface_resume(struct surface *s);

#endif
