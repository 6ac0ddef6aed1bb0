/* line.h - the line that is being typed: GNU Readline with its display and its terminal taken away. Keys go in, a view comes out.
 *
 * Readline is one per process, so there is one line at a time; line_open() switches its history. Private to ui/term.
 *
 *     line_start(folder);                                   once, before curses
 *     line_open(PROMPT_CHAT, "");
 *     switch (line_key(&key, ui, view)) { case LINE_ACCEPTED: use(line_text()); ... }
 */
#ifndef GM_UI_TERM_LINE_H
#define GM_UI_TERM_LINE_H

#include "ui/screens/app.h"

enum line_result { LINE_EDITING, LINE_ACCEPTED, LINE_LEFT };

bool line_start(const char *history_folder, struct gm_error *err);
void line_stop(void);
void line_open(enum prompt_kind kind, const char *text);
void line_close(void);
bool line_is_open(void);
enum line_result line_key(const struct key *key, const struct ui_state *ui, const struct view *view);
const char *line_text(void);              /* the accepted line, until the next line_open() or line_stop() */
void line_show(struct line_view *view);   /* pointers are good until the next line_* call */
void line_size(int rows, int cols);

#endif
