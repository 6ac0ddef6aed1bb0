/* term.h - the only door to the terminal: ncurses draws, GNU Readline edits lines, and no file outside this folder includes either.
 * UI thread only, except term_restore_sigsafe(), which a crash handler may call at any time.
 *
 *     struct term *t = term_open(&(struct term_options){.theme = &theme, .color = "auto", .history_folder = dir}, &err);
 *     for (;;) {
 *         poll({term_input_fd(t), wake pipe}, term_wait_ms(t))     wait -1 unless a lone Esc is being decided
 *         if (the pipe says SIGWINCH) term_resized(t);
 *         if (!term_feed(t, ui, &view, on_command, ctx)) hang up: the terminal is gone
 *         if (something changed) term_draw(t, ui, &view);
 *     }
 *     term_close(t);
 *
 * stderr must not point to the terminal while it is open (src redirects it to the log). Signals: src installs its handlers
 * (SIGWINCH, INT, TERM, HUP, TSTP, CONT: a byte to a pipe) before term_open(): curses takes only those that are still at their default;
 * readline's own are off. Ctrl-C and Ctrl-Z arrive as keys.
 */
#ifndef GM_UI_TERM_H
#define GM_UI_TERM_H

#include "engine/base/error.h"
#include "ui/screens/app.h"

struct term;
struct term_options {
    const struct theme *theme;
    const char *color;          /* "auto" "always" "never"; NULL = auto */
    const char *history_folder; /* exists; history-chat, -command, -prompt are kept there (mode 0600); NULL = none */
};

/* Fails (GM_E_UNSUPPORTED with a remedy) when stdin or stdout is no terminal, TERM is dumb or unknown. setlocale(LC_ALL, "") first. */
struct term *term_open(const struct term_options *options, struct gm_error *err);
void term_close(struct term *t); /* restores the terminal; NULL is fine */
bool term_utf8(void);            /* does the locale speak UTF-8? for ui_new() */

int term_input_fd(const struct term *t);
int term_wait_ms(const struct term *t); /* poll timeout the input side needs; -1 = none */
void term_resized(struct term *t);      /* after SIGWINCH or SIGCONT */

typedef void (*term_on_command)(void *ctx, const struct command *c);
/* Takes every key that waits; calls on_command for each command that is the program's. False: end of input, the terminal is gone.
 * COMMAND_REDRAW is carried out here. */
bool term_feed(struct term *t, struct ui_state *ui, const struct view *view, term_on_command on_command, void *ctx);
void term_draw(struct term *t, struct ui_state *ui, const struct view *view);
const struct canvas *term_canvas(const struct term *t); /* what was drawn last: for COMMAND_SHOT */

void term_set_theme(struct term *t, const struct theme *theme);
void term_redraw(struct term *t);  /* all of it at the next draw */
/* For COMMAND_SUSPEND: suspend gives the screen back to the shell (the caller then raises SIGTSTP), resume takes it again. */
void term_suspend(struct term *t);
void term_resume(struct term *t);
/* Puts text on the clipboard of the terminal (OSC 52, cleaned, at most 100 kB). False when it is too long. */
bool term_copy(struct term *t, const char *text);
/* Async-signal-safe: leaves the alternate screen and restores the tty of the open term, if any. */
void term_restore_sigsafe(void);

/* The layers below, for tests and for src that wants them: one decoded key at a time. */
bool term_next_key(struct term *t, struct key *key);

#endif
