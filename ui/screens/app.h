/* app.h - the seven screens as one pure thing: a view and the state of the UI go in, a canvas or a command comes out.
 * No terminal, no file, no clock. UI thread only.
 *
 * Two ways to use it. With a terminal, term_feed() and term_draw() (ui/term/term.h) do all of this. Without (tests):
 *
 *     struct ui_state *ui = ui_new(true);
 *     ui_draw(&canvas, &view, ui);
 *     switch (ui_key(ui, &view, key, &command)) {
 *     case UI_COMMAND: ... command is for the program ...
 *     case UI_LINE:    the key belongs to the line editor; when a line is accepted: ui_line(ui, &view, text, &command)
 *     case UI_DONE:    nothing more to do but to draw
 *     }
 */
#ifndef GM_UI_APP_H
#define GM_UI_APP_H

#include "ui/core/canvas.h"
#include "ui/core/command.h"
#include "ui/screens/view.h"

enum screen { SCREEN_DATA, SCREEN_TRAIN, SCREEN_SAMPLES, SCREEN_CHAT, SCREEN_CKPTS, SCREEN_EXPORT, SCREEN_LOG, SCREEN_COUNT };

/* The line that is being typed, if any. Each kind has its own history. */
enum prompt_kind { PROMPT_NONE, PROMPT_COMMAND, PROMPT_CHAT, PROMPT_SEARCH, PROMPT_FILTER, PROMPT_SAMPLE, PROMPT_FOLDER };

struct line_view {
    const char *label; /* "", or what readline shows instead, e.g. "(reverse-i-search)`x': " */
    const char *text;
    size_t cursor;     /* byte offset in text */
    const char *const *matches; /* completions to show above the line */
    size_t match_count;
};

enum ui_reply { UI_DONE, UI_COMMAND, UI_LINE };

struct ui_state;
struct ui_state *ui_new(bool utf8);
void ui_free(struct ui_state *ui);
void ui_go(struct ui_state *ui, enum screen screen); /* which screen to open on; SCREEN_TRAIN at first */
enum screen ui_screen(const struct ui_state *ui);

void ui_draw(struct canvas *c, const struct view *view, struct ui_state *ui);
enum ui_reply ui_key(struct ui_state *ui, const struct view *view, struct key key, struct command *out);

/* The line editor's side. */
enum prompt_kind ui_prompt(const struct ui_state *ui);
const char *ui_prompt_text(const struct ui_state *ui); /* what the line starts with when the prompt opens */
uint64_t ui_prompt_serial(const struct ui_state *ui);  /* changes whenever a prompt opens anew */
void ui_set_line(struct ui_state *ui, const struct line_view *line); /* what to draw; pointers kept until the next call */
enum ui_reply ui_line(struct ui_state *ui, const struct view *view, const char *text, struct command *out); /* Enter */
void ui_line_leave(struct ui_state *ui);               /* Esc, Ctrl-C or Ctrl-D on an empty line */
/* The i-th completion of what is typed (`word` starts at byte `start` of `text`), NULL after the last. */
const char *ui_complete(const struct ui_state *ui, const struct view *view, const char *text, size_t start, size_t i);
bool ui_completes_files(const struct ui_state *ui, const char *text); /* a file name may stand where the cursor is */

/* A message of the UI itself (unknown command ...); also used by the workbench for what term_* reports. */
void ui_say(struct ui_state *ui, enum message_level level, const char *text);

/* docs/keys.md, made from the command table. */
void ui_keys_markdown(struct str *out);

#endif
