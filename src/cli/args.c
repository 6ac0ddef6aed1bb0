/* args.c - reading the command line by tables. */
#include "src/cli/args.h"

#include "src/cli/args_names.h"
#include "src/cli/cli.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char KERNELS[] = "auto|amx|avx512bf16|avx512f|avx2|neonbf16|neon|plain";
static const char MODES[] = "auto|bf16|f32";

enum { GENERAL_ROWS = 12, NAMES_MAX = 128 };

static int general_table(struct general *g, struct arg out[GENERAL_ROWS])
{
    const struct arg rows[] = {
        {"--json", ARG_FLAG, &g->json, NULL, "machine output on stdout: one JSON object, or a line each", 0, 0, NULL, NULL},
        {"--quiet", ARG_FLAG, &g->quiet, NULL, "no progress on stderr", 0, 0, NULL, NULL},
        {"--plain", ARG_FLAG, &g->plain, NULL, "scrolling text without cursor control", 0, 0, NULL, NULL},
        {"--threads", ARG_INT, &g->threads, "N", "threads that compute; 0 = physical cores", 0, 1024, NULL, NULL},
        {"--compute", ARG_CHOICE, &g->compute, MODES, "arithmetic of matrix products", 0, 0, NULL, NULL},
        {"--kernel", ARG_CHOICE, &g->kernel, KERNELS, "kernel family; auto = the fastest by a short probe", 0, 0, &g->kernel_given, NULL},
        {"--seed", ARG_U64, &g->seed, "N", "seed of all random numbers", 0, 0, &g->seed_given, NULL},
        {"--color", ARG_CHOICE, &g->color, "auto|always|never", "colour", 0, 0, NULL, NULL},
        {"--help", ARG_FLAG, &g->help, NULL, "this help", 0, 0, NULL, NULL},
        {"--version", ARG_FLAG, &g->version, NULL, "version", 0, 0, NULL, NULL},
    };
    memcpy(out, rows, sizeof rows);
    return (int)(sizeof rows / sizeof *rows);
}

enum compute_mode general_mode(const struct general *g)
{
    static const enum compute_mode modes[] = {GM_COMPUTE_AUTO, GM_COMPUTE_BF16, GM_COMPUTE_F32};
    return modes[g->compute];
}

enum family general_family(const struct general *g)
{
    static const enum family families[] = {FAMILY_AUTO, FAMILY_AMX, FAMILY_AVX512BF16, FAMILY_AVX512F, FAMILY_AVX2, FAMILY_NEONBF16, FAMILY_NEON, FAMILY_PLAIN};
    return families[g->kernel];
}

/* Edit distance, cut at 64 bytes. */
static int distance(const char *a, const char *b)
{
    int row[65], na = (int)strnlen(a, 64), nb = (int)strnlen(b, 64);
    for (int j = 0; j <= nb; j++)
        row[j] = j;
    for (int i = 1; i <= na; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= nb; j++) {
            int change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            int least = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            row[j] = change < least ? change : least;
        }
    }
    return row[nb];
}

const char *args_nearest(const char *word, const char *const *names, int n)
{
    const char *best = NULL;
    int least = (int)(strlen(word) / 2) + 1;
    for (int i = 0; i < n; i++) {
        int d = distance(word, names[i]);
        if (d < least) {
            least = d;
            best = names[i];
        }
    }
    return best;
}

static bool parse_number(const char *name, const char *value, double min, double max, bool whole, double *out, struct gm_error *err)
{
    char *end;
    errno = 0;
    double x = strtod(value, &end);
    if (end == value || *end || errno == ERANGE || !isfinite(x) || (whole && x != floor(x)))
        return error_set(err, GM_E_USAGE, "read option %s: \"%s\" is no %s", name, value, whole ? "whole number" : "number");
    if ((min != 0 || max != 0) && (x < min || x > max))
        return error_set(err, GM_E_USAGE, "read option %s: %s lies outside %g..%g", name, value, min, max);
    *out = x;
    return true;
}

static bool parse_u64(const char *name, const char *value, uint64_t *out, struct gm_error *err)
{
    char *end;
    errno = 0;
    unsigned long long x = strtoull(value, &end, 10);
    if (!isdigit((unsigned char)*value) || *end || errno == ERANGE)
        return error_set(err, GM_E_USAGE, "read option %s: \"%s\" is no whole number", name, value);
    if (x > INT64_MAX) /* JSON holds it in every reader */
        return error_set(err, GM_E_USAGE, "read option %s: %s lies outside 0..%lld", name, value, (long long)INT64_MAX);
    *out = x;
    return true;
}

static bool parse_choice(const char *name, const char *value, const char *choices, int *out, struct gm_error *err)
{
    size_t n = strlen(value);
    int index = 0;
    for (const char *p = choices; *p; index++) {
        size_t length = strcspn(p, "|");
        if (length == n && memcmp(p, value, n) == 0) {
            *out = index;
            return true;
        }
        p += length + (p[length] == '|');
    }
    return error_set(err, GM_E_USAGE, "read option %s: \"%s\" is none of %s", name, value, choices);
}

static bool parse_floats(const struct arg *a, const char *value, struct gm_error *err)
{
    struct float_list *list = a->target;
    char item[64];
    list->n = 0;
    for (const char *p = value;; p++) {
        size_t length = strcspn(p, ",");
        double x;
        if (length >= sizeof item || list->n == LIST_MAX)
            return error_set(err, GM_E_USAGE, "read option %s: \"%s\" holds more than %d numbers", a->name, value, LIST_MAX);
        memcpy(item, p, length);
        item[length] = 0;
        if (!parse_number(a->name, item, a->min, a->max, false, &x, err))
            return false;
        list->items[list->n++] = (float)x;
        p += length;
        if (!*p)
            return true;
    }
}

static bool takes_value(enum arg_kind kind)
{
    return kind != ARG_FLAG && kind != ARG_OFF;
}

static bool is_on_off(const char *word)
{
    static const char *const words[] = {"on", "off", "auto", "true", "false"};
    for (int i = 0; i < 5; i++)
        if (strcmp(word, words[i]) == 0)
            return true;
    return false;
}

static bool set_value(const struct arg *a, const char *value, struct gm_error *err)
{
    double x = 0;
    switch (a->kind) {
    case ARG_NONE:
        break;
    case ARG_FLAG:
        *(bool *)a->target = true;
        return true;
    case ARG_OFF:
        *(bool *)a->target = false;
        return true;
    case ARG_ON_OFF:
    case ARG_TRI: {
        bool on = strcmp(value, "on") == 0 || strcmp(value, "true") == 0, off = strcmp(value, "off") == 0 || strcmp(value, "false") == 0;
        if (a->kind == ARG_TRI && strcmp(value, "auto") == 0) {
            *(int *)a->target = -1;
            return true;
        }
        if (!on && !off)
            return error_set(err, GM_E_USAGE, "read option %s: \"%s\" is neither on nor off%s", a->name, value,
                             a->kind == ARG_TRI ? " nor auto" : "");
        if (a->kind == ARG_TRI)
            *(int *)a->target = on;
        else
            *(bool *)a->target = on;
        return true;
    }
    case ARG_TEXT:
        *(const char **)a->target = value;
        return true;
    case ARG_TEXTS: {
        struct text_list *list = a->target;
        if (list->n == LIST_MAX)
            return error_set(err, GM_E_USAGE, "read option %s: it stands more than %d times", a->name, LIST_MAX);
        list->items[list->n++] = value;
        return true;
    }
    case ARG_INT:
        if (!parse_number(a->name, value, a->min == 0 && a->max == 0 ? -2147483647.0 : a->min, a->min == 0 && a->max == 0 ? 2147483647.0 : a->max,
                          true, &x, err))
            return false;
        *(int *)a->target = (int)x;
        return true;
    case ARG_U64:
        return parse_u64(a->name, value, a->target, err);
    case ARG_FLOAT:
        if (!parse_number(a->name, value, a->min, a->max, false, &x, err))
            return false;
        *(float *)a->target = (float)x;
        return true;
    case ARG_DOUBLE:
        return parse_number(a->name, value, a->min, a->max, false, a->target, err);
    case ARG_FLOATS:
        return parse_floats(a, value, err);
    case ARG_CHOICE:
        return parse_choice(a->name, value, a->value, a->target, err);
    case ARG_CUSTOM:
        return a->parse(a->target, value, err);
    }
    return false;
}

static const struct arg *find(const struct arg *table, const char *name)
{
    for (; table->kind != ARG_NONE; table++)
        if (strcmp(table->name, name) == 0)
            return table;
    return NULL;
}

/* The one row whose name begins so: mlx-lm's parser takes names cut short. NULL: none, or several. */
static const struct arg *find_short(const struct arg *table, const char *name)
{
    const struct arg *only = NULL;
    size_t n = strlen(name);
    for (; n > 3 && table->kind != ARG_NONE; table++)
        if (strncmp(table->name, name, n) == 0) {
            if (only)
                return NULL;
            only = table;
        }
    return only;
}

/* The row of an option in one of its spellings. */
static const struct arg *find_option(const struct arg_spec *spec, const struct arg *general, const char *name)
{
    const struct arg *a = find(spec->table, name);
    if (!a)
        a = find(general, name);
    const char *ours = a ? NULL : args_alias(name);
    return ours && (spec->mlx_lm || name[1] != '-') ? find(spec->table, ours) : a;
}

const char *args_near_option(const struct arg_spec *spec, const char *name)
{
    const char *names[NAMES_MAX];
    struct general g = {0};
    struct arg general[GENERAL_ROWS + 1] = {{0}};
    int n = 0;
    general_table(&g, general);
    for (const struct arg *a = spec->table; a->kind != ARG_NONE && n < NAMES_MAX; a++)
        names[n++] = a->name;
    for (const struct arg *a = general; a->kind != ARG_NONE && n < NAMES_MAX; a++)
        names[n++] = a->name;
    return args_nearest(name, names, n);
}

const char *args_command_meant(const char *word)
{
    static const char *const names[] = {
#define X(name, summary) #name,
        CLI_COMMANDS(X)
#undef X
    };
    bool plain = *word && word[strspn(word, "abcdefghijklmnopqrstuvwxyz")] == 0; /* runs have numbers and hyphens */
    return plain ? args_nearest(word, names, sizeof names / sizeof *names) : NULL;
}

static bool unknown(const struct arg_spec *spec, const char *word, struct gm_error *err)
{
    const char *near = args_near_option(spec, word);
    if (!*spec->command && spec->n_words) { /* the word before was meant as a command, most likely */
        const char *meant = args_command_meant(spec->words[0]);
        error_set(err, GM_E_USAGE, "read command line: \"%s\" is no command, and the workbench has no option %s", spec->words[0], word);
        return meant ? error_remedy(err, "did you mean %s?", meant) : error_remedy(err, "gemmaiku --help lists the commands");
    }
    if (!*spec->command)
        return error_set(err, GM_E_USAGE, "read command line: there is no option %s (%s%s)", word, near ? "did you mean: " : "gemmaiku --help tells more",
                         near ? near : "");
    error_set(err, GM_E_USAGE, "read command line: %s has no option %s", spec->command, word);
    return near ? error_remedy(err, "did you mean %s?", near) : error_remedy(err, "gemmaiku %s --help lists them", spec->command);
}

/* A known option that has no row here: skipped when it changes nothing, else told with what to do. */
static bool pass_over(const struct foreign *f, const char *value, struct gm_error *err)
{
    if (!f->remedy || (f->unset && value && (strcmp(value, f->unset) == 0 || (*f->unset == '0' && strtod(value, NULL) == 0))))
        return true;
    return error_set(err, GM_E_USAGE, "read option %s: it has no counterpart here (%s)", f->name, f->remedy);
}

enum args_outcome args_set(const struct arg_spec *spec, struct general *g, const char *name, const char *value, struct gm_error *err)
{
    struct arg general[GENERAL_ROWS + 1] = {{0}};
    char called[ARG_NAME_MAX];
    general_table(g, general);
    if (!args_name(name, strlen(name), called) || strcmp(called, "--help") == 0 || strcmp(called, "--version") == 0)
        return ARGS_UNKNOWN;
    const struct arg *a = find_option(spec, general, called);
    const struct foreign *f = a || !spec->mlx_lm ? NULL : args_foreign(called);
    if (f)
        return (!f->takes_value && strcmp(value, "off") == 0) || pass_over(f, value, err) ? ARGS_WITHOUT_EFFECT : ARGS_FAILED;
    if (!a)
        return ARGS_UNKNOWN;
    if (a->kind == ARG_FLAG || a->kind == ARG_OFF) {
        if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0) {
            error_set(err, GM_E_USAGE, "read option %s: \"%s\" is neither true nor false", a->name, value);
            return ARGS_FAILED;
        }
        *(bool *)a->target = (strcmp(value, "on") == 0) == (a->kind == ARG_FLAG);
    } else if (!set_value(a, value, err)) {
        return ARGS_FAILED;
    }
    if (a->given)
        *a->given = true;
    return ARGS_SET;
}

enum arg_kind args_kind(const struct arg_spec *spec, const char *name)
{
    struct general g = {0};
    struct arg general[GENERAL_ROWS + 1] = {{0}};
    char called[ARG_NAME_MAX];
    general_table(&g, general);
    const struct arg *a = args_name(name, strlen(name), called) ? find_option(spec, general, called) : NULL;
    return a ? a->kind : ARG_NONE;
}

const char *args_peek(int argc, char **argv, const char *name)
{
    char called[ARG_NAME_MAX];
    const char *value = NULL;
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        size_t n = strcspn(argv[i], "=");
        if (argv[i][0] != '-' || !args_name(argv[i], n, called))
            continue;
        const char *ours = called[1] == '-' ? called : args_alias(called);
        if (!ours || strcmp(ours, name) != 0)
            continue;
        value = argv[i][n] ? argv[i] + n + 1 : i + 1 < argc ? argv[i + 1] : NULL;
    }
    return value;
}

bool args_asks_help(int argc, char **argv, bool *markdown)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        *markdown = strcmp(argv[i], "--help=markdown") == 0;
        if (*markdown || strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    }
    return false;
}

bool args_parse(struct arg_spec *spec, int argc, char **argv, struct general *general, struct gm_error *err)
{
    struct arg general_rows[GENERAL_ROWS + 1] = {{0}};
    general_table(general, general_rows);
    general->help = args_asks_help(argc, argv, &general->help_markdown);
    if (general->help) /* before any value is read: the help tells the defaults */
        return true;
    bool only_words = false;
    const struct arg *bare = NULL; /* the option before, where its on or off may be left out */
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        const struct arg *before = bare;
        bare = NULL;
        if (!only_words && strcmp(word, "--") == 0) {
            only_words = true;
            continue;
        }
        const char *equals = strchr(word, '=');
        bool option = !only_words && word[0] == '-' && word[1] != 0 && !(isdigit((unsigned char)word[1]) || word[1] == '.');
        if (!option) {
            if (spec->n_words == spec->max_words && before)
                return set_value(before, word, err); /* fails: it was meant as a value, and is none */
            if (spec->n_words == spec->max_words)
                return error_set(err, GM_E_USAGE, "read command line: %s takes no further word \"%s\" (gemmaiku %s%s--help)",
                                 *spec->command ? spec->command : "the workbench", word, spec->command, *spec->command ? " " : "");
            spec->words[spec->n_words++] = word;
            continue;
        }
        char name[ARG_NAME_MAX];
        const struct arg *a = args_name(word, equals ? (size_t)(equals - word) : strlen(word), name) ? find_option(spec, general_rows, name) : NULL;
        const struct foreign *foreign = a || !spec->mlx_lm ? NULL : args_foreign(name);
        if (foreign) {
            const char *told = !foreign->takes_value ? NULL : equals ? equals + 1 : i + 1 < argc ? argv[++i] : NULL;
            if (!pass_over(foreign, told, err))
                return false;
            continue;
        }
        if (!a && spec->mlx_lm)
            a = find_short(spec->table, name);
        if (!a)
            return unknown(spec, word, err);
        if (a->given)
            *a->given = true;
        const char *value = equals ? equals + 1 : NULL;
        if (!takes_value(a->kind)) {
            if (value)
                return error_set(err, GM_E_USAGE, "read option %s: it takes no value", a->name);
        } else if (!value && (a->kind == ARG_ON_OFF || a->kind == ARG_TRI)) {
            const bool told = i + 1 < argc && is_on_off(argv[i + 1]);
            value = told ? argv[++i] : "on";
            bare = told ? NULL : a;
        } else if (!value) {
            if (i + 1 == argc)
                return error_set(err, GM_E_USAGE, "read option %s: its value is missing (%s)", a->name, a->value);
            value = argv[++i];
        }
        if (!set_value(a, value, err))
            return false;
    }
    if (!general->version && spec->n_words < spec->min_words)
        return error_set(err, GM_E_USAGE, "read command line: %s needs %s (gemmaiku %s --help)", spec->command, spec->positional, spec->command);
    return true;
}

static void option_text(const struct arg *a, struct str *out)
{
    str_add(out, a->name);
    if (a->kind == ARG_ON_OFF)
        str_add(out, " on|off");
    else if (a->kind == ARG_TRI)
        str_add(out, " auto|on|off");
    else if (a->value)
        str_printf(out, " %s", a->value);
}

/* "; default 4", read from the target, where the sentence does not say it and the value is one that may be given. */
static void default_text(const struct arg *a, struct str *out)
{
    if (strstr(a->help, "default"))
        return;
    double x = a->kind == ARG_INT ? *(const int *)a->target : a->kind == ARG_FLOAT ? (double)*(const float *)a->target
             : a->kind == ARG_DOUBLE ? *(const double *)a->target : 0;
    bool bounded = a->min != 0 || a->max != 0;
    switch (a->kind) {
    case ARG_INT:
    case ARG_FLOAT:
    case ARG_DOUBLE:
        if (!bounded || (x >= a->min && x <= a->max))
            str_printf(out, "; default %.6g", x);
        break;
    case ARG_U64:
        str_printf(out, "; default %llu", (unsigned long long)*(const uint64_t *)a->target);
        break;
    case ARG_ON_OFF:
        str_printf(out, "; default %s", *(const bool *)a->target ? "on" : "off");
        break;
    case ARG_TRI: {
        int value = *(const int *)a->target;
        str_printf(out, "; default %s", value < 0 ? "auto" : value ? "on" : "off");
        break;
    }
    case ARG_CHOICE: {
        const char *p = a->value;
        for (int i = *(const int *)a->target; i > 0 && *p; i--) {
            p += strcspn(p, "|");
            p += *p == '|';
        }
        str_printf(out, "; default %.*s", (int)strcspn(p, "|"), p);
        break;
    }
    default:
        break;
    }
}

/* A list of choices that is wider than a line goes on behind one of its bars. */
static void option_lines(const char *option, int columns, struct str *out)
{
    int indent = 2;
    while ((int)strlen(option) + indent > columns) {
        int n = columns - indent;
        while (n > 0 && option[n - 1] != '|')
            n--;
        if (n == 0)
            break;
        str_printf(out, "%*s%.*s\n", indent, "", n, option);
        option += n;
        indent = 6;
    }
    str_printf(out, "%*s%s", indent, "", option);
}

static void rows_help(const struct arg *a, int columns, struct str *out)
{
    enum { NAMES = 34 }; /* columns in front of the meaning */
    for (; a->kind != ARG_NONE; a++) {
        struct str left = {0}, right = {0};
        option_text(a, &left);
        if (left.len + 4 > NAMES) {
            option_lines(str_text(&left), columns, out);
            str_printf(out, "\n%*s", NAMES, "");
        } else
            str_printf(out, "  %-*s", NAMES - 2, str_text(&left));
        str_add(&right, a->help);
        default_text(a, &right);
        cli_fold(out, str_text(&right), NAMES, NAMES, columns);
        str_add_char(out, '\n');
        str_free(&left);
        str_free(&right);
    }
}

void args_help(const struct arg_spec *spec, int columns, struct str *out)
{
    struct general g = {0};
    struct arg rows[GENERAL_ROWS + 1] = {{0}};
    general_table(&g, rows);
    str_printf(out, "usage: gemmaiku%s%s%s%s [OPTIONS]\n\n", *spec->command ? " " : "", spec->command, *spec->positional ? " " : "", spec->positional);
    cli_fold(out, spec->summary, 0, 0, columns);
    str_add(out, "\n\n");
    rows_help(spec->table, columns, out);
    str_add(out, spec->table->kind == ARG_NONE ? "every command:\n" : "\nevery command:\n");
    rows_help(rows, columns, out);
}

static void rows_markdown(const struct arg *a, struct str *out)
{
    str_add(out, "| option | meaning |\n|---|---|\n");
    for (; a->kind != ARG_NONE; a++) {
        struct str left = {0};
        option_text(a, &left);
        str_add(out, "| `");
        for (size_t i = 0; i < left.len; i++) {
            if (left.data[i] == '|')
                str_add_char(out, '\\');
            str_add_char(out, left.data[i]);
        }
        str_printf(out, "` | %s", a->help);
        default_text(a, out);
        str_add(out, " |\n");
        str_free(&left);
    }
}

void args_help_markdown(const struct arg_spec *spec, struct str *out)
{
    str_printf(out, "## `gemmaiku %s%s%s`\n\n%s\n\n", spec->command, *spec->positional ? " " : "", spec->positional, spec->summary);
    if (spec->table->kind != ARG_NONE)
        rows_markdown(spec->table, out);
    str_add_char(out, '\n');
}

void args_general_markdown(struct str *out)
{
    struct general g = {0};
    struct arg rows[GENERAL_ROWS + 1] = {{0}};
    general_table(&g, rows);
    rows_markdown(rows, out);
}
