/* state.h - what the UI remembers between frames; shared by the files of ui/screens only. */
#ifndef GM_UI_STATE_H
#define GM_UI_STATE_H

#include "ui/core/keymap.h"
#include "ui/core/layout.h"
#include "ui/core/list.h"
#include "ui/core/plot.h"
#include "ui/screens/app.h"

enum dialog { DIALOG_NONE, DIALOG_QUIT, DIALOG_STOP, DIALOG_LEAVE /* an export */ };
enum metric { METRIC_LOSS, METRIC_FORM, METRIC_LR, METRIC_NORM, METRIC_SPEED, METRIC_COUNT };
enum data_sort { SORT_FILE, SORT_TOKENS, SORT_VERDICT, SORT_PROMPT, DATA_SORT_COUNT };
enum ckpt_sort { SORT_GIVEN, SORT_LOSS, SORT_FORM, CKPT_SORT_COUNT };

enum { FILTER_MAX = 128, EXPORT_FORMATS_MAX = COMMAND_CHOICES };

/* Rows of a list in the order and selection a person asked for: indices into the view. Made anew when the view's version moves. */
struct order {
    uint32_t *index;
    size_t count, capacity;
    uint64_t version;
    size_t of; /* rows of the view when it was made */
    bool valid;
};
void order_free(struct order *o);
void order_start(struct order *o, size_t of, uint64_t version); /* empties it */
void order_add(struct order *o, size_t i);

struct data_state {
    struct list list;
    struct order order;
    char filter[FILTER_MAX];
    enum data_sort sort;
    bool tokens; /* the detail shows tokens and the loss mask */
    int scroll;  /* of the detail */
};
struct train_state {
    bool linear, hide_raw, cursor;
    bool time; /* in place of the curve: where the time of a step goes */
    double smooth; /* the weight */
    enum metric metric;
    double span; /* steps in the window; 0 = the whole run */
    bool held;   /* the right edge stays at `right`; else it follows the newest step */
    double right, cursor_x;
    double *ema;
    size_t ema_count, ema_capacity;
    uint64_t ema_version;
    const double *ema_of; /* the values it was made from */
    double ema_smooth;
    int scroll; /* of the run box */
};
struct samples_state {
    struct list list; /* 0 = newest */
    size_t seen;      /* samples there were at the last frame: to stay on the same one when new ones come */
    int scroll;
};
struct chat_state {
    int scroll, most; /* lines up from the end; the largest that makes sense (set by drawing) */
    struct str draft;
};
struct ckpts_state {
    struct list list;
    enum ckpt_sort sort;
    struct order order;
    int scroll;
};
struct export_state {
    bool made;
    uint64_t version;
    size_t field; /* 0 checkpoint, then the formats, then folder, then the button */
    unsigned on;
    unsigned char type[EXPORT_FORMATS_MAX]; /* which of the format's */
    long ckpt; /* index into view.ckpts.rows; -1 = the best one */
    struct str folder;
    int scroll; /* of the result */
};
struct log_state {
    struct list list;
    struct order order;
    size_t seen;
    char filter[FILTER_MAX];
    bool held; /* the person moved up: do not follow */
};

struct ui_state {
    bool utf8;
    struct keymap keys;
    enum screen screen;
    int focus[LAYOUT_COUNT];
    bool zoom;
    int rows, cols; /* of the last frame */
    struct layout layout;

    struct data_state data;
    struct train_state train;
    struct samples_state samples;
    struct chat_state chat;
    struct ckpts_state ckpts;
    struct export_state export;
    struct log_state log;
    struct list start;

    bool help;
    int help_scroll, help_most;
    enum dialog dialog;
    bool cancel_armed; /* Ctrl-C with nothing to stop: the next one asks to quit */
    char search[FILTER_MAX];

    enum prompt_kind prompt;
    struct str prompt_text;
    uint64_t prompt_serial;
    struct line_view line;

    struct str said;
    enum message_level said_level;
    uint64_t dismissed; /* id of the last message of the view that a key put away */
    bool said_on, said_waits; /* said_waits: true of an answer that is coming, no longer */
};

/* ---- app.c ---- */
enum layout_kind ui_kind(const struct ui_state *ui, const struct view *view);
int ui_focus(const struct ui_state *ui, const struct view *view);
void ui_say_format(struct ui_state *ui, enum message_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void ui_open_prompt(struct ui_state *ui, enum prompt_kind kind, const char *text);
void ui_close_prompt(struct ui_state *ui);
void ui_open_chat_line(struct ui_state *ui); /* with what was being typed there */
bool ui_run_active(const struct view *view); /* a run is training, paused or busy */

/* ---- perform.c ---- */
void ui_set_filter(struct ui_state *ui, const char *text);
void ui_set_search(struct ui_state *ui, const char *text);
/* Carries out a command that came from a key or a line. */
enum ui_reply ui_perform(struct ui_state *ui, const struct view *view, struct command *c, bool from_key);

/* ---- move.c: the list commands ---- */
enum ui_reply ui_move(struct ui_state *ui, const struct view *view, enum command_id id);
void ui_search(struct ui_state *ui, const struct view *view, int direction, bool from_here);

/* ---- frame.c ---- */
void frame_title(struct canvas *c, const struct view *v, const struct ui_state *ui);
void frame_status(struct canvas *c, const struct view *v, const struct ui_state *ui);
void frame_bottom(struct canvas *c, const struct view *v, struct ui_state *ui);
void frame_small(struct canvas *c, const struct view *v, const struct ui_state *ui);
void frame_dialog(struct canvas *c, const struct view *v, const struct ui_state *ui);
void frame_matches(struct canvas *c, const struct ui_state *ui);

/* ---- one file a screen: draws, and answers questions about its selection ---- */
void data_draw(struct canvas *c, const struct view *v, struct ui_state *ui);
void data_refresh(const struct view *v, struct ui_state *ui); /* filter and sort, if needed */
long data_selected(const struct view *v, struct ui_state *ui); /* index into the view, -1 */
bool data_row_matches(const struct view_row *row, const char *text); /* substring, smart case */
void train_draw(struct canvas *c, const struct view *v, struct ui_state *ui);
enum ui_reply train_perform(struct ui_state *ui, const struct view *v, struct command *c);
bool train_move(struct ui_state *ui, const struct view *v, enum command_id id); /* the cursor; false: not for the plot */
void train_free(struct train_state *t);
void step_time_draw(struct canvas *c, const struct view *v, struct rect box, bool focus); /* step_time.c: where the time of a step goes */
void samples_draw(struct canvas *c, const struct view *v, struct ui_state *ui);
const struct view_sample *samples_selected(const struct view *v, const struct ui_state *ui);
void chat_draw(struct canvas *c, const struct view *v, struct ui_state *ui);
void ckpts_draw(struct canvas *c, const struct view *v, struct ui_state *ui);
void ckpts_refresh(const struct view *v, struct ui_state *ui);
long ckpts_selected(const struct view *v, struct ui_state *ui);
long ckpts_best(const struct view *v); /* what an export without a word takes; -1 */
void export_draw(struct canvas *c, const struct view *v, struct ui_state *ui);
void export_make(const struct view *v, struct ui_state *ui);
size_t export_fields(const struct view *v);
bool export_type(struct ui_state *ui, const struct view *v, int direction);
void export_toggle(struct ui_state *ui, const struct view *v, int direction);
enum ui_reply export_enter(struct ui_state *ui, const struct view *v, struct command *c);
enum ui_reply export_emit(struct ui_state *ui, const struct view *v, struct command *c);
void log_draw(struct canvas *c, const struct view *v, struct ui_state *ui);
void log_refresh(const struct view *v, struct ui_state *ui);
void start_draw(struct canvas *c, const struct view *v, struct ui_state *ui);
void help_draw(struct canvas *c, const struct view *v, struct ui_state *ui);
void help_search(struct ui_state *ui, const struct view *v, int direction); /* scrolls to the next line with ui->search */

/* ---- verse.c: lines with counts, shared by data, samples, chat ---- */
char verse_mark(enum view_verdict verdict);            /* + ? ~ ! r, ' ' */
const char *verse_word(enum view_verdict verdict);     /* "5-7-5", "maybe" ... */
enum role verse_role(enum view_verdict verdict);
enum { VERSE_COUNT_COLS = 6 }; /* no count is wider */
/* "5 ok", "7~ 8?", "8 +1", "72~" for one line; role by meaning. Returns out. */
const char *verse_count(const struct view_line *line, char out[24], enum role *role);
/* All lines of a verse from `row` on, text left, count at the right of `cols`; returns the rows used (at most `rows`). A line too long is cut, or,
 * whole, goes on in the next row. */
int verse_draw(struct canvas *c, int row, int col, int rows, int cols, const struct view_verse *verse, bool whole);

/* ---- small helpers (frame.c) ---- */
const char *duration_text(double seconds, char out[24]); /* "16:27", "1:02:03", "--" */
const char *bytes_text(size_t bytes, char out[24]);      /* "15.2 MB" */
const char *loss_text(double loss, char out[24]);        /* "0.438", "-" */
bool text_contains(const char *text, const char *part);  /* smart case: an upper-case letter makes it exact */
void scroll_mark(struct canvas *c, struct rect box, size_t top, size_t page, size_t count); /* where the list stands, on the border */

#endif
