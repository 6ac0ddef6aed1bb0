/* theme.h - what a role looks like. Screens name roles; only the terminal layer asks for colours. A theme is a small value;
 * the two built-in ones (sumi, dark; washi, light) need no file, and *.theme files (themes/README.md) add or replace.
 *
 *     struct theme t; theme_builtin(&t, "sumi");
 *     struct style s = theme_style(&t, ROLE_ERROR, THEME_256);   s.fg is -1 (the terminal's own) or 0..255
 */
#ifndef GM_UI_THEME_H
#define GM_UI_THEME_H

#include "engine/base/error.h"
#include "engine/base/str.h"

#define ROLE_TABLE(X) \
    X(TEXT, "text") X(DIM, "dim") X(TITLE, "title") X(TAB, "tab") X(TAB_ACTIVE, "tab.active") X(STATUS, "status") \
    X(STATUS_RUN, "status.run") X(STATUS_WARN, "status.warn") X(STATUS_ERROR, "status.error") X(HINT, "hint") \
    X(HINT_KEY, "hint.key") X(BORDER, "border") X(BORDER_FOCUS, "border.focus") X(CURSOR, "cursor") \
    X(CURSOR_BLUR, "cursor.blur") X(MARK, "mark") X(MATCH, "match") X(DIALOG, "dialog") X(BUTTON, "button") \
    X(BUTTON_FOCUS, "button.focus") X(INPUT, "input") X(ERROR, "error") X(WARN, "warn") X(OK, "ok") \
    X(PLOT_AXIS, "plot.axis") X(PLOT_GRID, "plot.grid") X(PLOT_RAW, "plot.raw") X(PLOT_S1, "plot.s1") \
    X(PLOT_S2, "plot.s2") X(PLOT_S3, "plot.s3") X(PLOT_S4, "plot.s4") X(PLOT_VAL, "plot.val") \
    X(PLOT_CROSS, "plot.cross") X(PLOT_NAN, "plot.nan") X(SYL_OK, "syl.ok") X(SYL_NEAR, "syl.near") X(SYL_BAD, "syl.bad") \
    X(SYL_MAYBE, "syl.maybe") X(CHAT_USER, "chat.user") X(CHAT_MODEL, "chat.model") X(CHAT_NOTE, "chat.note") \
    X(TOKEN_MASKED, "token.masked") X(TOKEN_LOSS, "token.loss") X(TOKEN_LOSS_ALT, "token.loss.alt")

enum role {
#define X(id, name) ROLE_##id,
    ROLE_TABLE(X)
#undef X
        ROLE_COUNT
};

enum theme_level { THEME_MONO, THEME_16, THEME_256 };
enum { STYLE_BOLD = 1, STYLE_DIM = 2, STYLE_ITALIC = 4, STYLE_UNDERLINE = 8, STYLE_REVERSE = 16 };

struct style {
    int16_t fg, bg; /* -1 = default, 0..15 or 0..255 by level */
    uint8_t attributes;
};

struct theme {
    char name[32];
    bool light;
    struct style styles[3][ROLE_COUNT]; /* by level, filled for every role */
};

const char *role_name(enum role role);
bool theme_builtin(struct theme *t, const char *name); /* "sumi", "washi" */
/* Reads the text of a theme file over the built-in one it inherits from. Errors name `file` and line; t is unchanged then. */
bool theme_parse(struct theme *t, const char *text, size_t n, const char *file, struct gm_error *err);
struct style theme_style(const struct theme *t, enum role role, enum theme_level level);
/* NO_COLOR (non-empty), --color, TERM and the terminal's number of colours decide. mode: "auto" "always" "never". */
enum theme_level theme_level(const char *mode, const char *no_color, const char *term, int colors);
/* The built-in theme for the background that COLORFGBG tells of ("0;15" is light); sumi when it is NULL or says nothing. */
const char *theme_default_name(const char *colorfgbg);
int theme_rgb_to_256(int r, int g, int b);
int theme_256_to_16(int index);

#endif
