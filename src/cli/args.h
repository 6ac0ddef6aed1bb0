/* args.h - the command line, from tables: parsing, --help and docs/options.md come from the same rows.
 *
 *     struct generate_args a = ...defaults...;
 *     const struct arg table[] = {
 *         {"--temp", ARG_FLOAT, &a.sampling.temperature, "T", "temperature; 0 = greedy", 0, 100},
 *         {0}};
 *     if (!args_parse(&spec, argc, argv, &general, &err)) ...   // err.code GM_E_USAGE: exit 2
 *
 * Values are checked against their range here; what does not go together is checked by the command. Texts point into argv.
 */
#ifndef GM_CLI_ARGS_H
#define GM_CLI_ARGS_H

#include "engine/base/str.h"
#include "engine/kernel/compute.h"

enum arg_kind {
    ARG_NONE,   /* end of a table */
    ARG_FLAG,   /* bool: --json */
    ARG_ON_OFF, /* bool: --x on|off; bare = on */
    ARG_TRI,    /* int: auto -1, off 0, on 1; bare = on */
    ARG_OFF,    /* bool set to false: --no-shuffle */
    ARG_TEXT,   /* const char * */
    ARG_TEXTS,  /* struct text_list: may come more than once */
    ARG_INT,    /* int */
    ARG_U64,    /* uint64_t */
    ARG_FLOAT,  /* float */
    ARG_DOUBLE, /* double */
    ARG_FLOATS, /* struct float_list: 0.2,0.6,1.0 */
    ARG_CHOICE, /* int: index into `choices`, a list separated by | */
    ARG_CUSTOM  /* parse(target, value, err) */
};
enum { LIST_MAX = 32 };
struct text_list {
    const char *items[LIST_MAX];
    int n;
};
struct float_list {
    float items[LIST_MAX];
    int n;
};

struct arg {
    const char *name;
    enum arg_kind kind;
    void *target;
    const char *value; /* "FILE", or the choices "a|b|c" */
    const char *help;
    double min, max;   /* numbers; both 0: no bounds */
    bool *given;       /* set to true when the option stood on the line; may be NULL */
    bool (*parse)(void *target, const char *value, struct gm_error *err);
};

struct general { /* the options that every command takes */
    bool json, quiet, plain, help, help_markdown, version;
    int threads; /* 0: physical cores */
    int compute, kernel, color;
    uint64_t seed;
    bool seed_given, kernel_given;
};
enum { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER };

struct arg_spec {
    const char *command;       /* "generate" */
    const char *positional;    /* "[RUN]", "TEXT...", "" */
    const char *summary;       /* one line */
    const struct arg *table;   /* ends with a row of zeros */
    int min_words, max_words;  /* positional words */
    const char *words[256];    /* filled */
    int n_words;
    bool mlx_lm;               /* mlx-lm has the command, too: its names for options are understood (args_names.h) */
};

/* False: err says what is wrong with the line (GM_E_USAGE). When general->help came, the rest is not checked. */
bool args_parse(struct arg_spec *spec, int argc, char **argv, struct general *general, struct gm_error *err);
void args_help(const struct arg_spec *spec, int columns, struct str *out);
void args_help_markdown(const struct arg_spec *spec, struct str *out);
void args_general_markdown(struct str *out);

/* One option by name, in either spelling, as a preset or a file tells it; of flags, the value is on or off. The text must outlive the targets. */
enum args_outcome { ARGS_FAILED, ARGS_UNKNOWN, ARGS_SET, ARGS_WITHOUT_EFFECT };
enum args_outcome args_set(const struct arg_spec *spec, struct general *g, const char *name, const char *value, struct gm_error *err);
enum arg_kind args_kind(const struct arg_spec *spec, const char *name); /* ARG_NONE: there is no such option */
/* The option whose name is nearest, NULL when none is near. */
const char *args_near_option(const struct arg_spec *spec, const char *name);
/* The command that a word which is none was meant as, NULL when none is near. */
const char *args_command_meant(const char *word);
/* The value of --NAME on the line, before the line is read; NULL: it does not stand there. */
const char *args_peek(int argc, char **argv, const char *name);
bool args_asks_help(int argc, char **argv, bool *markdown);

/* Closest of n names by edit distance, NULL when none is near. */
const char *args_nearest(const char *word, const char *const *names, int n);
enum compute_mode general_mode(const struct general *g);
enum family general_family(const struct general *g);

/* Rows of all who use a chat template. */
#define CLI_TEMPLATE_ARGS(name, config) \
    {"--chat-template", ARG_TEXT, &(name), "NAME|FILE", "another template than the model's: gemma3, gemma2, zephyr, smollm2, chatml, llama3, phi3, or a Jinja file", 0, 0, NULL, NULL}, \
    {"--chat-template-config", ARG_TEXT, &(config), "JSON", "variables for the template: {\"date_string\": \"26 Jul 2024\"}", 0, 0, NULL, NULL}

#endif
