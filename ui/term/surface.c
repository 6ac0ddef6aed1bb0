#define NCURSES_WIDECHAR 1
#include "ui/term/surface.h"

#include <curses.h>
#include <stdio.h>
#include <term.h>
#include <wchar.h>

/* Wide cells are given to curses as wchar_t, which is UTF-32 on the systems this runs on. */
_Static_assert(sizeof(wchar_t) == 4, "wchar_t holds a Unicode scalar");

static void enter_modes(void)
{
    raw(); /* Ctrl-C and Ctrl-Z are keys */
    noecho();
    nonl();
    typeahead(-1); /* never cut an update short because a key waits */
    scrollok(stdscr, FALSE);
    intrflush(stdscr, FALSE);
    curs_set(0);
}

bool surface_open(struct surface *s, const char *term_name, struct gm_error *err)
{
    *s = (struct surface){0};
    SCREEN *handle = newterm(term_name, stdout, stdin);
    if (!handle)
        return error_set(err, GM_E_UNSUPPORTED, "open the workbench: TERM=%s is not known here (try TERM=xterm-256color gemmaiku)", term_name);
    s->handle = handle;
    if (!tigetstr("cup") || tigetstr("cup") == (char *)-1) {
        surface_close(s);
        return error_set(err, GM_E_UNSUPPORTED, "open the workbench: TERM=%s cannot move a cursor (use the sub-commands: gemmaiku --help)",
                         term_name);
    }
    enter_modes();
    if (has_colors()) {
        start_color();
        use_default_colors();
    }
    getmaxyx(stdscr, s->rows, s->cols);
    return true;
}

void surface_close(struct surface *s)
{
    if (!s->handle)
        return;
    curs_set(1);
    endwin();
    delscreen(s->handle);
    s->handle = NULL;
}

int surface_colors(const struct surface *s)
{
    (void)s;
    return has_colors() ? COLORS : 0;
}

void surface_theme(struct surface *s, const struct theme *theme, enum theme_level level)
{
    struct {
        int fg, bg;
    } known[ROLE_COUNT];
    int count = 0;
    for (int role = 0; role < ROLE_COUNT; role++) {
        struct style style = theme_style(theme, (enum role)role, level);
        attr_t attributes = A_NORMAL;
        int fg = style.fg, bg = style.bg;
        if (level == THEME_16 && COLORS < 16) { /* eight colours: a bright one is the plain one in bold */
            attributes |= fg >= 8 ? A_BOLD : 0;
            fg = fg >= 8 ? fg - 8 : fg;
            bg = bg >= 8 ? bg - 8 : bg;
        }
        attributes |= style.attributes & STYLE_BOLD ? A_BOLD : 0;
        attributes |= style.attributes & STYLE_DIM ? A_DIM : 0;
        attributes |= style.attributes & STYLE_UNDERLINE ? A_UNDERLINE : 0;
        attributes |= style.attributes & STYLE_REVERSE ? A_REVERSE : 0;
#ifdef A_ITALIC
        attributes |= style.attributes & STYLE_ITALIC ? A_ITALIC : 0;
#endif
        int pair = 0;
        if (level != THEME_MONO && (fg >= 0 || bg >= 0)) {
            for (pair = 0; pair < count && (known[pair].fg != fg || known[pair].bg != bg); pair++)
                ;
            if (pair == count && count + 1 < COLOR_PAIRS && init_pair((short)(count + 1), (short)fg, (short)bg) == OK) {
                known[count].fg = fg;
                known[count++].bg = bg;
            }
            pair = pair < count ? pair + 1 : 0; /* pair 0 is the terminal's own colours: still readable when pairs run out */
        }
        s->attributes[role] = attributes;
        s->pairs[role] = (short)pair;
    }
    surface_redraw(s);
}

void surface_resize(struct surface *s, int rows, int cols)
{
    if (rows == s->rows && cols == s->cols)
        return;
    resizeterm(rows, cols);
    getmaxyx(stdscr, s->rows, s->cols);
    surface_redraw(s);
}

void surface_redraw(struct surface *s)
{
    (void)s;
    clearok(curscr, TRUE);
}

void surface_draw(struct surface *s, const struct canvas *c)
{
    for (int row = 0; row < c->rows && row < s->rows; row++)
        for (int col = 0; col < c->cols && col < s->cols; col++) {
            const struct cell *cell = &c->cells[(size_t)row * (size_t)c->cols + (size_t)col];
            wchar_t text[4] = {(wchar_t)cell->ch, (wchar_t)cell->mark[0], cell->mark[0] ? (wchar_t)cell->mark[1] : 0, 0};
            cchar_t out;
            if (cell->ch == 0)
                continue; /* covered by the wide character before it */
            if (setcchar(&out, text, (attr_t)s->attributes[cell->role], s->pairs[cell->role], NULL) == OK)
                mvadd_wch(row, col, &out);
        }
    bool cursor = c->cursor_row >= 0 && c->cursor_row < s->rows && c->cursor_col >= 0 && c->cursor_col < s->cols;
    curs_set(cursor);
    if (cursor)
        move(c->cursor_row, c->cursor_col);
    wnoutrefresh(stdscr);
    doupdate();
}

void surface_suspend(struct surface *s)
{
    (void)s;
    curs_set(1);
    endwin();
}

void surface_resume(struct surface *s)
{
    (void)s;
    refresh(); /* curses puts its own modes back */
    enter_modes();
}
