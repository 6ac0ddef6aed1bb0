/* cli.c - the start and end of a command, printing and reading. */
#include "src/cli/cli.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/format/json.h"
#include "engine/kernel/probe.h"
#include "ui/core/width.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { COLUMNS_PLAIN = 80, COLUMNS_LEAST = 60, COLUMNS_MOST = 110 }; /* longer lines are hard to read */

/* PATH of an XDG variable, or below the home; NULL: neither is told. mem_free */
static char *own_folder(const char *variable, const char *below_home)
{
    const char *root = getenv(variable), *home = getenv("HOME");
    if (root && *root == '/')
        return path_join(root, "gemmaiku");
    return home && *home == '/' ? path_join(home, below_home) : NULL;
}

static void remember_probe(void)
{
    const char *how = getenv("GEMMAIKU_PROBE");
    char *folder = own_folder("XDG_CACHE_HOME", ".cache/gemmaiku");
    probe_remember_in(folder, how && strcmp(how, "again") == 0);
    mem_free(folder);
}

bool cli_begin(struct arg_spec *spec, int argc, char **argv, struct general *general, int *status)
{
    struct gm_error err = {0};
    if (!args_parse(spec, argc, argv, general, &err)) {
        *status = cli_fail(&err);
        return false;
    }
    if (!general->help && !general->version) {
        remember_probe();
        return true;
    }
    struct str out = {0};
    if (general->version)
        str_printf(&out, "gemmaiku %s\n", GM_VERSION);
    else if (general->help_markdown)
        args_help_markdown(spec, &out);
    else
        args_help(spec, cli_columns(STDOUT_FILENO), &out);
    fwrite(str_text(&out), 1, out.len, stdout);
    str_free(&out);
    *status = cli_end(EXIT_DONE);
    return false;
}

int cli_columns(int fd)
{
    struct winsize size = {0};
    if (!isatty(fd) || ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return COLUMNS_PLAIN;
    return size.ws_col < COLUMNS_LEAST ? COLUMNS_LEAST : size.ws_col > COLUMNS_MOST ? COLUMNS_MOST : size.ws_col;
}

void cli_fold(struct str *out, const char *text, int column, int indent, int columns)
{
    int at = column;
    while (*text) {
        size_t space = strspn(text, " "), word = strcspn(text + space, " \n");
        int width = width_text_n(text + space, word);
        if (word > 0 && at > indent && at + (int)space + width > columns) {
            str_printf(out, "\n%*s", indent, "");
            at = indent;
        } else {
            str_add_n(out, text, space);
            at += (int)space;
        }
        str_add_n(out, text + space, word);
        at += width;
        text += space + word;
        if (*text == '\n') {
            str_add_char(out, *text++);
            at = 0;
        }
    }
}

static bool share_shown;

void cli_share(const struct general *g, double share, const char *what)
{
    if (g->quiet || g->plain || !isatty(STDERR_FILENO))
        return;
    struct str clean = {0};
    text_clean(&clean, what, strlen(what), false, false);
    fprintf(stderr, "\r%3.0f %%  %-60.60s", 100 * share, str_text(&clean));
    fflush(stderr);
    share_shown = true;
    str_free(&clean);
}

void cli_share_end(void)
{
    if (share_shown)
        fputs("\r\033[K", stderr);
    share_shown = false;
}

void cli_say(const char *before, const char *text)
{
    cli_share_end();
    struct str line = {0}, out = {0};
    str_printf(&line, "%s%s", before, text);
    if (isatty(STDERR_FILENO))
        cli_fold(&out, str_text(&line), 0, 2, cli_columns(STDERR_FILENO));
    fprintf(stderr, "%s\n", isatty(STDERR_FILENO) ? str_text(&out) : str_text(&line));
    str_free(&line);
    str_free(&out);
}

int cli_fail(const struct gm_error *err)
{
    fflush(stdout);
    cli_say("gemmaiku: ", err->text);
    switch (err->code) {
    case GM_E_USAGE:
        return EXIT_USAGE;
    case GM_E_CHECK:
        return EXIT_CHECK;
    default:
        return EXIT_FAILED;
    }
}

int cli_end(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    fprintf(stderr, "gemmaiku: write standard output: %s\n", strerror(errno));
    return EXIT_FAILED;
}

void cli_print_json(json_t *value)
{
    char *line = json_line(value);
    json_decref(value);
    fputs(line, stdout);
    fputc('\n', stdout);
    mem_free(line);
}

void cli_counts(struct str *out, const struct verdict *v)
{
    for (int i = 0; i < v->n_lines && i < FORM_LINES; i++)
        str_printf(out, "%s%d", i ? "-" : "", v->syllables[i]);
}

const char *cli_verdict_word(const struct verdict *v)
{
    return v->strict ? "yes" : v->possible ? "possible" : "no";
}

void cli_print_clean(const char *text, size_t n)
{
    struct str clean = {0};
    text_clean(&clean, text, n, true, false);
    fwrite(str_text(&clean), 1, clean.len, stdout);
    str_free(&clean);
}

void cli_print_folded(const char *text, int column, int indent)
{
    struct str clean = {0}, out = {0};
    text_clean(&clean, text, strlen(text), true, false);
    if (isatty(STDOUT_FILENO))
        cli_fold(&out, str_text(&clean), column, indent, cli_columns(STDOUT_FILENO));
    fputs(isatty(STDOUT_FILENO) ? str_text(&out) : str_text(&clean), stdout);
    str_free(&clean);
    str_free(&out);
}

void cli_note(const struct general *g, const char *format, ...)
{
    if (g->quiet)
        return;
    va_list args;
    va_start(args, format);
    struct str line = {0}, clean = {0};
    str_vprintf(&line, format, args);
    va_end(args);
    text_clean(&clean, str_text(&line), line.len, true, false);
    cli_say("", str_text(&clean));
    str_free(&line);
    str_free(&clean);
}

const char *cli_runs_root(void)
{
    const char *root = getenv("GEMMAIKU_RUNS");
    return root && *root ? root : "runs";
}

char *cli_state_folder(void)
{
    char *folder = own_folder("XDG_STATE_HOME", ".local/state/gemmaiku");
    if (folder && !dir_make(folder, NULL)) {
        mem_free(folder);
        folder = NULL;
    }
    return folder;
}

bool cli_read_stdin(struct str *out, size_t max_bytes, struct gm_error *err)
{
    char block[65536];
    size_t n;
    while ((n = fread(block, 1, sizeof block, stdin)) > 0) {
        if (out->len + n > max_bytes)
            return error_set(err, GM_E_INPUT, "read standard input: more than %zu bytes came", max_bytes);
        str_add_n(out, block, n);
    }
    return !ferror(stdin) || error_errno(err, "read standard input");
}

bool cli_next_line(struct str *line, struct gm_error *err)
{
    enum { LINE_MAX_BYTES = 16 << 20 };
    str_clear(line);
    int c;
    while ((c = getc(stdin)) != EOF && c != '\n') {
        if (line->len == LINE_MAX_BYTES)
            return error_set(err, GM_E_INPUT, "read standard input: a line is longer than %d bytes", LINE_MAX_BYTES);
        str_add_char(line, (char)c);
    }
    if (c == EOF && ferror(stdin))
        return error_errno(err, "read standard input");
    if (c == EOF && line->len == 0)
        return false;
    if (line->len > 0 && line->data[line->len - 1] == '\r')
        line->data[--line->len] = 0;
    return true;
}

bool cli_parse_ids(const char *text, int32_t **ids, int *n, struct gm_error *err)
{
    size_t cap = 1;
    for (const char *p = text; *p; p++)
        cap += *p == ',';
    *ids = mem_new(cap, sizeof **ids);
    *n = 0;
    for (const char *p = text; *p;) {
        char *end;
        errno = 0;
        long value = strtol(p, &end, 10);
        if (end == p || errno || value < 0 || value > INT32_MAX || (*end != ',' && *end != 0)) {
            mem_free(*ids);
            *ids = NULL;
            return error_set(err, GM_E_USAGE, "read ids: \"%s\" is no list of ids (write 1,2,3)", text);
        }
        (*ids)[(*n)++] = (int32_t)value;
        p = end + (*end == ',');
    }
    if (*n > 0)
        return true;
    mem_free(*ids);
    *ids = NULL;
    return error_set(err, GM_E_USAGE, "read ids: the list is empty (write 1,2,3)");
}
