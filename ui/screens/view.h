/* view.h - what the screens show: plain structs that src/workbench fills and the screens only read.
 *
 * Every text here has been through text_clean() when it was put in; every pointer stays valid until the UI thread returns to its
 * loop (workbench owns all memory). NULL texts are shown as nothing. Unknown numbers are NAN (double) or -1 (integers).
 * The screens hold the selection, scroll and filters themselves (struct ui_state in app.h). All on the UI thread.
 */
#ifndef GM_UI_VIEW_H
#define GM_UI_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VIEW_LINES_MAX = 8 };

/* ---- the run ---- */

enum run_state { RUN_NONE, RUN_LOADING, RUN_TRAINING, RUN_EVALUATING, RUN_PAUSED, RUN_STOPPING, RUN_DONE, RUN_FAILED, RUN_STOPPED,
                 RUN_ELSEWHERE /* another process trains it; it is followed */ };

struct view_fact {
    const char *label, *value; /* "optimizer", "AdamW 0.9 0.999  wd 0  clip 1" */
};

enum { VIEW_PARTS_MAX = 24 };
struct view_part { /* of a step */
    const char *name;     /* "backward: products" */
    double ms;            /* smoothed over some steps */
    double share_of_peak; /* NAN: it counts no products, or the peak is not known */
};

struct view_run {
    enum run_state state;
    const char *name, *model; /* "demo-003", "nano" */
    const char *about;        /* "LoRA r16 a32  2 threads", for the title row of wide screens */
    long step, iters;
    double loss, ema, val_loss, best_val_loss; /* NAN: not yet */
    long val_step, best_val_step;              /* -1: none yet */
    double tokens_per_s, steps_per_s, elapsed_s, eta_s, epoch;
    double learning_rate, grad_norm;
    size_t memory_bytes, memory_peak_bytes;
    double waits_share; /* share of the last second that training waited for tasting, 0..1; 0 = none */
    const char *busy;   /* "evaluating 12/40", "loading model 40%": what runs beside or before the steps; NULL */
    const struct view_part *parts; /* where the time of a step goes, in its order; of a run that trains here */
    size_t part_count;
    double share_of_peak;          /* of the whole step; NAN: not known */
    const char *plan;   /* what it was forecast to take: "714 MB, 0.45 s a step, done in 4 min, 12 MB on disk"; NULL */
    const struct view_fact *facts; /* the run box of the Train screen */
    size_t fact_count;
};

enum message_level { MESSAGE_INFO, MESSAGE_WARN, MESSAGE_ERROR };
struct view_message {
    enum message_level level;
    const char *text; /* NULL: none */
    uint64_t id;      /* changes with every new message */
    double time_s;    /* view.now_s when it came */
};

/* ---- verse: one line of a reply and what the checker says ---- */

enum view_verdict { VERDICT_NONE, VERDICT_STRICT, VERDICT_POSSIBLE, VERDICT_NEAR, VERDICT_WRONG, VERDICT_LINES, VERDICT_REPEATS };
/* shown as                          +               ?                 ~             !              !               r */

struct view_line {
    const char *text;
    int syllables, min, max; /* most likely, and the range of accepted pronunciations; -1 not counted */
    int want;                /* what the form asks for here; 0 = nothing */
};
struct view_verse {
    const struct view_line *lines;
    size_t line_count;
    enum view_verdict verdict;
    const char *note; /* `near: line 2 has 8`, `"every": 2 or 3`; NULL */
};

/* ---- data ---- */

enum view_split { VIEW_TRAIN, VIEW_VALID, VIEW_TEST };

struct view_row {
    long id; /* 1-based, shown */
    enum view_split split;
    int tokens, supervised;                             /* -1 while it is not counted yet */
    int8_t syllables[VIEW_LINES_MAX], want[VIEW_LINES_MAX]; /* per reply line */
    bool unsure[VIEW_LINES_MAX];                        /* the line has more than one accepted count */
    int line_count;                                     /* of the reply, may exceed VIEW_LINES_MAX; -1 = not checked yet */
    enum view_verdict verdict;
    bool truncated, leak; /* longer than max_seq; stands in another split as well */
    long duplicate_of;    /* id of the earlier row with the same text; 0 none */
    const char *prompt, *first_line;
};

struct view_word {
    const char *text;     /* "every" */
    const char *broken;   /* "ev-ery" or NULL when no hyphenation is known */
    int syllables, min, max;
    const char *source;   /* "dictionary", "rule" ... */
    int line;             /* of the reply, from 0 */
};
struct view_piece {
    const char *text; /* the token as text, cleaned, line ends as "\n" two characters */
    long id;
    bool loss; /* counts in the loss */
};
struct view_turn {
    const char *role, *text; /* "system" "user" "assistant"; text may hold '\n' */
};
struct view_detail {
    const char *place; /* "train.jsonl:3" */
    const struct view_turn *turns; /* the whole conversation; the checked reply is `verse` */
    size_t turn_count;
    struct view_verse verse;
    const struct view_word *words;
    size_t word_count;
    const struct view_piece *pieces;
    size_t piece_count;
    const char *flags; /* "truncated at 512", "duplicates row 4", NULL */
    int max_seq;
};

struct view_data {
    const char *name; /* "haiku", "train.jsonl" */
    const char *about; /* split in words: "train 360  valid 40  test 40" */
    size_t count;
    uint64_t version; /* changes when rows or their verdicts change: filters and sorts are made anew */
    /* Row i (0-based); the pointer is valid until the next call. Cheap: called for every visible row, and for all when filtering. */
    const struct view_row *(*row)(void *ctx, size_t i);
    /* All about row i; valid until the next call; NULL while it is not known. Called for the selected row only. */
    const struct view_detail *(*detail)(void *ctx, size_t i);
    void *ctx;
    size_t strict, possible, wrong, duplicates, leaks, truncated, checked; /* over all rows */
};

/* ---- curves ---- */

struct view_series {
    const double *x, *y; /* x = step, rising; y may be NAN/inf */
    size_t count;
};
struct view_curves {
    uint64_t version; /* changes when a point comes */
    struct view_series loss, val_loss, form_rate, learning_rate, grad_norm, tokens_per_s; /* form_rate 0..1 */
    const char *val_note; /* "valid haiku, 3 of 40 rows also in train" */
};

/* ---- samples, oldest first ---- */

struct view_sample {
    long step; /* 0 = base */
    double temperature;
    uint64_t seed;
    const char *prompt;
    struct view_verse verse;
    double seconds;
    int tokens;
};
struct view_samples {
    const struct view_sample *rows;
    size_t count;
    bool running;        /* more are on their way */
    const char *running_note; /* "sampling 4/9" */
};

/* ---- chat ---- */

enum chat_who { CHAT_USER, CHAT_MODEL, CHAT_NOTE };
struct view_chat_turn {
    enum chat_who who;
    const char *text;         /* may hold '\n' */
    struct view_verse verse;  /* CHAT_MODEL: its lines with counts, while streaming too; line_count 0: text is shown alone */
    int tokens;
    double seconds, tokens_per_s;
    bool streaming, stopped, cut; /* stopped: by the person; cut: it had the most tokens that an answer may have */
};
struct view_chat {
    const struct view_chat_turn *turns; /* oldest first */
    size_t count;
    const char *who;   /* "live @612", "checkpoint 600", "base" */
    double temperature, top_p;
    bool answering;
};

/* ---- checkpoints, in the order the workbench likes (newest first); base and live may be among them ---- */

struct view_ckpt {
    const char *name; /* "600", "live", "base" */
    long step;
    double val_loss; /* NAN: not evaluated */
    double form_rate, form_low, form_high;
    long form_n;
    size_t bytes;
    bool best_loss, best_form, loaded /* chat talks to it */, can_export;
    const char *note;
};
struct view_ckpts {
    const struct view_ckpt *rows;
    size_t count;
};

/* ---- export ---- */

enum { FORMAT_TYPES_MAX = 8 };
struct view_format {
    const char *name, *about; /* "peft", "adapter, PEFT layout" */
    bool on;                  /* ticked at first */
    size_t type_count;        /* storage types to choose from; 0: there is no choice, bytes[0] counts */
    const char *types[FORMAT_TYPES_MAX]; /* "q8_0"; the first one is proposed */
    size_t bytes[FORMAT_TYPES_MAX];      /* estimates; 0 unknown */
};
enum job_state { JOB_NONE, JOB_RUNNING, JOB_DONE, JOB_FAILED, JOB_STOPPED };
enum export_said { EXPORT_WROTE, EXPORT_FAULT, EXPORT_NOTE };
struct view_export_line {
    const char *text;
    enum export_said kind;
};
struct view_export {
    const struct view_format *formats; /* at most 16 */
    size_t format_count;
    const char *folder;  /* proposed */
    size_t free_bytes;   /* of the disk; 0 unknown */
    const char *warning; /* "out/x exists and is not empty (--force)", NULL */
    enum job_state state;
    double progress;     /* 0..1 */
    const char *stage;   /* "layer 14/18" */
    const struct view_export_line *results; /* what was written and how it was proved, or the fault; then what is to be known about it */
    size_t result_count;
    const char *path;    /* what was written, to copy; NULL */
    uint64_t version;    /* changes when the form itself is to be made anew */
};

/* ---- log, oldest first ---- */

struct view_log_line {
    const char *time; /* "10:12:20" */
    enum message_level level;
    const char *text;
};
struct view_log {
    const struct view_log_line *rows;
    size_t count;
    const char *file;
};

/* ---- start page: `gemmaiku` without a RUN ---- */

enum start_kind { START_DEMO, START_RUN, START_MODEL };
struct view_start_row {
    enum start_kind kind;
    const char *name, *about; /* "haiku-01", "stopped at 612/1500, val 0.455" */
    const char *how;          /* model: the command line that trains it; NULL */
};
struct view_start {
    bool active; /* shown instead of the seven screens */
    const struct view_start_row *rows;
    size_t count;
};

/* ---- all of it ---- */

struct view {
    double now_s; /* monotonic */
    struct view_run run;
    struct view_message message;
    struct view_data data;
    struct view_curves curves;
    struct view_samples samples;
    struct view_chat chat;
    struct view_ckpts ckpts;
    struct view_export export_form;
    struct view_log log;
    struct view_start start;
};

#endif
