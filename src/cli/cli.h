/* cli.h - what the sub-commands share: the start and end of a command, printing, and an opened model.
 *
 * A command is `int command_NAME(int argc, char **argv)`: argv holds the words behind the command's name, the result is the exit status.
 * stdout carries results only, stderr messages; everything that came from outside goes through text_clean() before it is printed as text.
 */
#ifndef GM_CLI_CLI_H
#define GM_CLI_CLI_H

#include "engine/infer/generate.h"
#include "engine/text/chat_template.h"
#include "src/cli/args.h"

#include <jansson.h>
#include <pthread.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_CHECK = 3 };

/* name, function, summary: the list of --help, in this order. */
#define CLI_COMMANDS(X) \
    X(demo, "the built-in model learns the built-in haiku, in the workbench") \
    X(train, "a training run without a screen") \
    X(resume, "go on with a run that was stopped or killed") \
    X(plan, "memory, time and disk of a run, before it starts") \
    X(lora, "mlx-lm's command line for training and testing") \
    X(fuse, "mlx-lm's command line for a fused model") \
    X(generate, "text from a prompt") \
    X(chat, "a conversation") \
    X(eval, "loss, perplexity, BLEU, chrF and form rate on a data set") \
    X(data, "what is in a data set") \
    X(syllables, "syllable counts and verdicts of text") \
    X(tokenize, "ids of text, text of ids, chat templates rendered") \
    X(logits, "next-token logits, to compare with other programs") \
    X(export, "adapters and fused models for other programs, each one proved") \
    X(inspect, "what a model, an adapter, a GGUF or a run holds") \
    X(check, "what a path is, and whether it would work") \
    X(runs, "the runs that are here: list, show") \
    X(vocab, "a vocabulary from a text, to make a model from nothing") \
    X(bench, "how fast this machine is, and how near its limits the program comes")
#define X(name, summary) int command_##name(int argc, char **argv);
CLI_COMMANDS(X)
#undef X

/* Parses; answers --help and --version. False: the command ends with *status. */
bool cli_begin(struct arg_spec *spec, int argc, char **argv, struct general *general, int *status);
int cli_columns(int fd); /* of its terminal; 80 where there is none */
/* Adds text, broken between words so that no line is wider than `columns`: the first one begins at `column`, further ones behind `indent` spaces. A word
 * that is wider than a line (a path) stays whole. */
void cli_fold(struct str *out, const char *text, int column, int indent, int columns);
void cli_say(const char *before, const char *text); /* a line on stderr, folded where that is a terminal */
/* How far something is: a line on the terminal of stderr, if there is one, that the next message or cli_share_end() takes away. */
void cli_share(const struct general *g, double share, const char *what);
void cli_share_end(void); /* before results go to stdout */
/* Prints "gemmaiku: text" and gives the exit status that belongs to the error. */
int cli_fail(const struct gm_error *err);
/* Flushes stdout; a full disk or closed pipe there is a failure. Gives status, or 1. */
int cli_end(int status);

void cli_print_json(json_t *value);                 /* one line; takes the reference */
void cli_counts(struct str *out, const struct verdict *v); /* appends "5-7-5" */
const char *cli_verdict_word(const struct verdict *v);     /* "yes", "possible", "no" */
void cli_print_clean(const char *text, size_t n);   /* to stdout, lines kept */
void cli_print_folded(const char *text, int column, int indent); /* the same; where stdout is a terminal, folded as cli_fold() does */
void cli_note(const struct general *g, const char *format, ...) __attribute__((format(printf, 2, 3))); /* a line on stderr unless --quiet */
const char *cli_runs_root(void);
char *cli_state_folder(void); /* for histories: $XDG_STATE_HOME/gemmaiku, made when missing; NULL: none to be had. mem_free */
bool cli_read_stdin(struct str *out, size_t max_bytes, struct gm_error *err);
/* Next line of stdin without its end. False at the end of input (err->code GM_OK) or on an error. */
bool cli_next_line(struct str *line, struct gm_error *err);
/* "1,2,3" -> ids (mem_free). */
bool cli_parse_ids(const char *text, int32_t **ids, int *n, struct gm_error *err);

/* Tables that several commands share. */
#define CLI_ADAPTER_HELP "adapter folder or file, or RUN (= RUN:best), RUN:best-form, RUN:last, RUN:600"
#define CLI_CHOOSING_ARGS(s) \
    {"--temp", ARG_FLOAT, &(s).temperature, "T", "temperature; 0 = greedy", 0, 100, NULL, NULL}, \
    {"--top-k", ARG_INT, &(s).top_k, "K", "only the K likeliest tokens; 0 = all", 0, 1e9, NULL, NULL}, \
    {"--top-p", ARG_FLOAT, &(s).top_p, "P", "only the likeliest tokens that together reach P; 1 = all", 0, 1, NULL, NULL}, \
    {"--min-p", ARG_FLOAT, &(s).min_p, "P", "only tokens at least P times as likely as the likeliest; 0 = all", 0, 1, NULL, NULL}, \
    {"--repeat-penalty", ARG_FLOAT, &(s).repeat_penalty, "R", "penalty on the last 64 tokens; 1 = none", 0, 100, NULL, NULL}
#define CLI_SAMPLING_ARGS(s) \
    CLI_CHOOSING_ARGS(s), \
    {"--max-tokens", ARG_INT, &(s).max_tokens, "N", "longest answer", 1, 1e6, NULL, NULL}
#define CLI_PACKED_ARG(packed) \
    {"--packed", ARG_TRI, &(packed), NULL, "a second copy of the weights, packed to be read faster (auto: once it pays and there is room)", 0, 0, NULL, NULL}
#define CLI_HEAD_ARG(head) \
    {"--head", ARG_CHOICE, &(head), "exact|int8", "int8: a second copy of the head in one byte a weight, what may be chosen computed again exactly", 0, 0, NULL, NULL}

/* An opened model with all that belongs to it. */
struct session_options {
    const char *model, *adapter, *chat_template, *chat_template_config;
    bool needs_template, needs_weights;
    bool no_text; /* ids alone are used: a folder without a tokenizer will do, and session.tokenizer is NULL */
};
struct session {
    struct pool *pool;
    struct compute compute;
    struct model *model;            /* NULL: only the tokenizer was asked for */
    struct model_source *source;    /* the model's, or the tokenizer's own */
    struct tokenizer *tokenizer;
    struct chat_template *tpl;
    struct lora *lora;
    struct syllables *syllables;
    char *model_name, *adapter_name; /* as told; adapter "base" when there is none */
    char *run_dir;                   /* of the adapter; NULL: it is of no run */
    char *system, *chat_template, *chat_template_config; /* what the run of the adapter was trained with; NULL: nothing, or no run */
    int step;                        /* of the adapter's checkpoint; 0 for the base, -1 unknown */
    bool owns_source;
};
bool session_open(struct session *s, const struct session_options *o, const struct general *g, struct gm_error *err);
void session_close(struct session *s);
/* Opens the template where it was not needed so far: as told, as the run was trained, or the model's own. */
bool session_template(struct session *s, const struct session_options *o, struct gm_error *err);
/* Ids of a prompt: through the template, or raw. system NULL: as the adapter's run was trained; "": none. */
bool session_prompt(const struct session *s, const char *system, const char *prompt, bool raw, struct id_list *ids, struct gm_error *err);
json_t *session_generated_json(const struct session *s, const struct generated *r, const char *prompt);

/* Signals: the first SIGINT, SIGTERM or SIGHUP only sets the flag; a second SIGINT ends the process. */
void signals_install(void);
int signals_caught(void);    /* the first one; 0: none */
void signals_clear(void);    /* the signal was answered */
void signals_on_interrupt(atomic_bool *flag); /* set by the handler, too; NULL: none any more */
int signals_exit(int signal_number);  /* 130, 143, 129 */
void signals_watch_window(void); /* SIGWINCH, SIGCONT and SIGTSTP write a byte, too */
void signals_before_exit(void (*fn)(void)); /* async-signal-safe; called when a second SIGINT ends the process */
int signals_thread(pthread_t *thread, void *(*run)(void *), void *arg); /* pthread_create; signals stay with the caller, but for its own faults */
int signals_pipe(void);      /* readable end: a byte for each signal (poll) */
/* Calls fn, on a thread of its own, for each signal that comes or came; for those who compute and do not poll. */
void signals_watch(void (*fn)(void *arg), void *arg);
void signals_unwatch(void);  /* no call is under way any more */

#endif
