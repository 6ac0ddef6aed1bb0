/* state.h - all that the workbench knows: what the UI thread owns, and the two doors to the other threads.
 *
 * Threads and who owns what
 *   UI thread   everything in struct workbench but the mailbox's and the job queue's insides. It only waits in poll(), and reads no file.
 *   trainer     runs one training run; posts mails; its struct trainer stays alive until the taster has put it away, or the workbench closes
 *   taster      takes jobs one after another: the start page, load a run, check rows, chat, sample, export; between them it follows the opened run
 *               when another process trains it; posts mails
 * A mail owns its texts and what `pointer` points to, until the UI thread takes it over. A full mailbox drops the oldest step mails of a trainer: a plot
 * point, never an answer; what is read from disk waits for room instead.
 */
#ifndef GM_WORKBENCH_STATE_H
#define GM_WORKBENCH_STATE_H

#include "engine/export/export.h"
#include "engine/train/trainer.h"
#include "engine/verse/form.h"
#include "src/cli/args.h"
#include "src/workbench/lateness.h"
#include "ui/term/term.h"

#include <pthread.h>
#include <stdatomic.h>

enum { CHAT_CONTEXT = 1024, LOG_MAX = 2000, EXPORT_LINES = 64, FACTS_MAX = 12 };

/* ---- mail: other threads -> UI ---- */

enum mail_kind {
    MAIL_TRAIN,       /* event (texts in text, text2), sample */
    MAIL_TRAINER,     /* pointer: a struct trainer, opened and about to run; number: the peak of its kernels, GFLOP/s, NAN: not known */
    MAIL_TRAIN_OVER,  /* flag: ended well; number: 1 = stopped after saving; text: the error, else NULL */
    MAIL_RETIRED,     /* the trainer that was put away is gone */
    MAIL_RUN,         /* pointer: struct run_info, as the run stands on disk */
    MAIL_TOOLS,       /* pointer: struct tools opened for a run that does not train */
    MAIL_DATA,        /* pointer: struct rows, checked */
    MAIL_START,       /* pointer: struct start_list */
    MAIL_BUSY,        /* text: what is being done, NULL: nothing */
    MAIL_CHAT_WHO,    /* text: the adapter that answers */
    MAIL_CHAT_TEXT,   /* text: more of the answer */
    MAIL_CHAT_OVER,   /* sample: the whole answer; text: an error */
    MAIL_SAMPLE,      /* sample, number = how many are still to come */
    MAIL_SAMPLES_OVER,/* text: an error */
    MAIL_EXPORT_AT,   /* number: share; text: stage */
    MAIL_EXPORT_LINE, /* text: a result; flag: an error */
    MAIL_EXPORT_OVER, /* flag: all went well */
    MAIL_EXPORT_PLACE,/* text: the folder that is proposed; number: free bytes of the disk */
    MAIL_NOTE         /* flag: it is an error; text */
};
struct mail {
    enum mail_kind kind;
    struct train_event event;
    struct generated sample; /* text owned; prompt in text2 */
    struct step_parts parts; /* TRAIN_STEP; n 0: read from a journal */
    char *text, *text2;
    void *pointer;
    double number;
    bool flag;
    double posted_s; /* set by mail_post */
    struct mail *next;
};

/* What answering needs; borrowed from a trainer, or owned (the taster opened it). Jobs carry a copy. */
struct tools {
    const struct model *model;
    const struct tokenizer *tokenizer;
    const struct chat_template *tpl;  /* NULL: no known one, so no chat */
    const struct dataset *dataset;    /* NULL: it could not be read */
    const struct train_options *options;
    const char *run_dir;
    struct trainer *trainer; /* NULL: nothing trains */
    int whole_step;          /* all weights were trained: `model` is the checkpoint of this step; else 0 */
    void *owned;             /* taster's: struct opened */
};

/* ---- jobs: UI -> taster ---- */

enum job_kind { TASTE_START_PAGE, TASTE_LOAD_RUN, TASTE_CHECK_ROWS, TASTE_CHAT, TASTE_SAMPLE, TASTE_EXPORT, TASTE_RETIRE, TASTE_QUIT };
enum adapter_of { ADAPTER_LIVE, ADAPTER_BASE, ADAPTER_FOLDER };
struct job {
    enum job_kind kind;
    uint64_t number;            /* counted by taster_add; what a person cancels is all up to now */
    struct tools tools;
    bool training;              /* goes on here: memory was planned without a second copy of the weights */
    bool tools_only;            /* TASTE_LOAD_RUN: the screens show the run already */
    enum adapter_of adapter;
    char *folder;               /* checkpoint, or the run to load */
    int step;
    struct chat_message *messages;
    size_t n_messages;
    struct sampling sampling;
    struct float_list temps;
    char *text;                 /* prompt; target folder of an export */
    unsigned formats;           /* bit 1 << enum export_to */
    enum export_type types[EXPORT_TO_COUNT]; /* of whole models */
    struct job *next;
};

/* ---- what the UI thread keeps ---- */

struct verse_text { /* a text with its counts, ready to be shown */
    char *text;     /* cleaned; the lines point into it */
    struct view_line lines[FORM_LINES];
    int n_lines;
    enum view_verdict verdict;
    char note[96];
};
enum curve { CURVE_LOSS, CURVE_VAL_LOSS, CURVE_FORM_RATE, CURVE_FORM_N, CURVE_LEARNING_RATE, CURVE_GRAD_NORM, CURVE_SPEED, CURVE_COUNT };
struct points {
    double *x, *y;
    size_t n, cap;
};
struct sample_row {
    struct verse_text verse;
    char *prompt;
    long step;
    double temperature, seconds;
    uint64_t seed;
    int tokens;
};
struct chat_turn {
    enum chat_who who;
    struct str raw; /* as it came */
    struct verse_text verse;
    int tokens;
    double seconds;
    bool streaming, stopped, cut;
};
struct ckpt_row {
    char name[16];
    long step;
    char *path; /* NULL: live or base */
    double val_loss, form_rate, form_low, form_high;
    long form_n;
    size_t bytes;
    bool best_loss, best_form;
};
struct log_row {
    char time[12];
    enum message_level level;
    char *text;
};
struct rows { /* of the Data screen; made by the taster, then the UI's */
    const struct dataset *dataset;
    struct view_row *rows;
    char **texts; /* two a row */
    size_t n, strict, possible, wrong;
};

struct start_list { /* of the start page; made by the taster, then the UI's */
    struct view_start_row *rows;
    char **texts; /* four a row: name, about, how, and the name as it is on disk */
    size_t n, cap;
};

struct detail; /* data_view.c */
struct follow; /* taster_run.c */

struct workbench {
    struct general general;
    struct pool *pool;
    struct syllables *syllables;
    struct term *term;
    struct ui_state *ui;
    struct theme theme;
    struct view view;
    bool dirty, quit;
    int wake[2];
    double drawn_s;
    struct lateness_count lateness, first_text; /* of the answers */
    double asked_s; /* when the question that is being answered was sent; 0: its answer has begun */

    pthread_mutex_t mail_lock;
    pthread_cond_t mail_room;
    struct mail *mails, *last_mail;
    size_t n_mails;
    bool mail_closed; /* nobody waits for room any more */

    pthread_mutex_t job_lock;
    pthread_cond_t job_ready;
    struct job *jobs;
    uint64_t jobs_added, cancelled_upto;
    pthread_t taster;
    bool taster_runs;
    atomic_bool cancel;    /* the job that runs shall end */
    atomic_bool following; /* cleared by the UI thread before this process trains the run itself */
    struct follow *follow; /* the taster's */

    pthread_t trainer_thread;
    bool trainer_started /* and not over */, retiring, quit_when_done, leaving;
    atomic_bool stop_training;
    _Atomic(struct trainer *) running;  /* set by the trainer's thread */
    enum run_state state_before;        /* the run was to go on */
    struct train_options start_options; /* of a new run */
    char *resume_dir;                   /* or the run to go on with */
    struct trainer *trainer;            /* once it is there */
    struct tools tools, *opened;        /* tools.model NULL: nothing loaded yet */

    struct points curves[CURVE_COUNT];
    double ema, ema_weight, step_seconds, peak_gflops;
    struct step_parts parts; /* smoothed */
    struct view_part part_views[VIEW_PARTS_MAX];
    struct sample_row *samples;
    struct view_sample *sample_views;
    size_t n_samples, cap_samples;
    int samples_left;
    struct chat_turn *turns;
    struct view_chat_turn *turn_views;
    size_t n_turns, cap_turns;
    struct sampling chat_sampling;
    bool answering;
    char chat_who[48];
    enum adapter_of chat_adapter;
    char *chat_folder;
    int chat_step;
    struct ckpt_row *ckpts;
    struct view_ckpt *ckpt_views;
    size_t n_ckpts, cap_ckpts;
    struct log_row *log;
    struct view_log_line *log_views;
    size_t n_log, cap_log;
    struct rows *rows;
    struct detail *detail;
    struct view_format formats[EXPORT_TO_COUNT];
    struct view_export_line export_lines[EXPORT_LINES]; /* texts owned; notes behind the results */
    int n_export_lines;
    char *export_path; /* as told to the terminal: cleaned */
    char export_stage[96], export_folder[512], busy[96], message[1024], failure[1024], run_name[128], model_name[256], data_name[256], data_about[96],
        about[96], val_note[96], plan[FORECAST_LINE];
    char fact_values[FACTS_MAX][96];
    struct view_fact facts[FACTS_MAX];
    struct start_list *start;
};

/* mail.c */
void mail_init(struct workbench *w);
void mail_post(struct workbench *w, const struct mail *m);         /* any thread; takes what the mail owns */
void mail_post_patient(struct workbench *w, const struct mail *m); /* the same, but waits while the box is full; not the UI thread */
struct mail *mail_take(struct workbench *w);                       /* UI thread; NULL: none. mail_free */
void mail_free(struct mail *m);
void mail_close_door(struct workbench *w); /* nobody waits any more; what still comes is thrown away at the end */
void mail_end(struct workbench *w);

/* feed.c: mails into the state */
void feed_mail(struct workbench *w, struct mail *m);
void feed_say(struct workbench *w, enum message_level level, const char *format, ...) __attribute__((format(printf, 3, 4)));
void feed_reset_run(struct workbench *w);
void feed_reset_export(struct workbench *w);
void feed_free(struct workbench *w);
void points_add(struct points *p, double x, double y); /* x rises: what stood at x and behind it goes */

/* runner.c: the trainer's thread */
bool runner_start(struct workbench *w, struct gm_error *err); /* start_options, or resume_dir */
void runner_ask_stop(struct workbench *w); /* at once, or as soon as it is opened */
void runner_reap(struct workbench *w); /* the thread has said its last word */
void runner_end(struct workbench *w);  /* stops, waits, frees the trainer; no tasting any more */

/* taster.c */
bool taster_start(struct workbench *w, struct gm_error *err);
void taster_add(struct workbench *w, struct job *job); /* takes what it points to; fills job->tools where there are some */
void taster_cancel(struct workbench *w);               /* the job that runs, and those that wait */
void taster_stop(struct workbench *w);
void tools_free(struct tools *t);
/* taster_run.c: what the jobs do, on the taster's thread */
void taste_load_run(struct workbench *w, struct job *job);
void taste_check_rows(struct workbench *w, struct job *job);
void taste_follow(struct workbench *w); /* what was written to the run since */
void follow_free(struct follow *f);
void post_run(struct workbench *w, const char *dir); /* MAIL_RUN; any thread but the UI's */
/* taster_jobs.c */
struct kitchen; /* what the taster keeps between jobs */
void taste_chat(struct workbench *w, struct kitchen *k, struct job *job);
void taste_sample(struct workbench *w, struct kitchen *k, struct job *job);
void taste_export(struct workbench *w, struct kitchen *k, struct job *job);
void taste_retire(struct workbench *w, struct kitchen *k, struct job *job);
void post_export_place(struct workbench *w, const char *run_dir);
void kitchen_free(struct kitchen *k);
struct kitchen *kitchen_new(void);

/* verse_view.c */
/* The sign a text gets, the same in every list and detail. */
enum view_verdict verse_decide(const struct verdict *verdict, const struct form *form, const char *text, size_t n);
void verse_set(struct verse_text *v, const struct syllables *s, const char *text, size_t n);
void verse_free(struct verse_text *v);
struct view_verse verse_view(const struct verse_text *v);
char *clean_copy(const char *text, bool lines); /* mem_free */
char *line_copy(const char *text); /* clean, breaks between lines as " / " */

/* data_view.c */
void data_view_fill(struct workbench *w);
void data_view_free(struct workbench *w);
void rows_free(struct rows *r);

/* view_fill.c */
void view_fill(struct workbench *w);

/* start.c */
void start_show(struct workbench *w);
void start_open(struct workbench *w, long index);
void start_load(struct workbench *w, char *folder); /* a run on disk, to be looked at and followed; takes the text */
void start_list_free(struct start_list *l);
void taste_start_page(struct workbench *w); /* on the taster's thread */

/* act.c: commands of the person */
void act(void *workbench, const struct command *c);
void act_suspend(struct workbench *w);

#endif
