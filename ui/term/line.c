#include "ui/term/line.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <readline/readline.h>
#include <readline/history.h>

#include "engine/base/mem.h"

enum { HISTORY_MAX = 1000, LINE_MAX_BYTES = 65536, KINDS = PROMPT_FOLDER + 1, MATCHES_MAX = 64 };

/* Readline keeps all its state in globals and calls back without an argument: what belongs to it can only stand beside it. */
static struct {
    bool started, open, accepted, left;
    FILE *nowhere_in, *nowhere_out;
    char *folder;
    enum prompt_kind kind;
    HISTORY_STATE history[KINDS];
    bool loaded[KINDS];
    struct str queue; /* bytes readline has not read yet, from `at` on */
    size_t at;
    struct str text, label;
    char *matches[MATCHES_MAX];
    size_t match_count;
    const struct ui_state *ui; /* during line_key() only */
    const struct view *view;
    struct str head;           /* the line up to the cursor, for completion */
    size_t word_start;
} line;

/* ---- readline's callbacks ---- */

static int next_byte(FILE *unused)
{
    (void)unused;
    return line.at < line.queue.len ? (unsigned char)line.queue.data[line.at++] : 0; /* never EOF: that would end the line */
}

static int byte_waits(void)
{
    return line.at < line.queue.len;
}

static void show_nothing(void)
{
}

static void forget_matches(void)
{
    for (size_t i = 0; i < line.match_count; i++)
        mem_free(line.matches[i]);
    line.match_count = 0;
}

/* matches[0] is the common part; 1..count are the matches. */
static void take_matches(char **matches, int count, int longest)
{
    (void)longest;
    forget_matches();
    for (int i = 1; i <= count && line.match_count < MATCHES_MAX; i++) {
        struct str clean = {0};
        const char *name = matches[i];
        const char *slash = strrchr(name, '/');
        if (slash && slash[1]) /* of file names the last part */
            name = slash + 1;
        text_clean(&clean, name, strlen(name), false, false);
        line.matches[line.match_count++] = str_take(&clean);
    }
}

static char *generate(const char *text, int state)
{
    static size_t i;
    (void)text;
    if (state == 0)
        i = 0;
    const char *match = ui_complete(line.ui, line.view, str_text(&line.head), line.word_start, i++);
    return match ? strdup(match) : NULL; /* readline frees it */
}

static char **complete(const char *text, int start, int end)
{
    str_clear(&line.head);
    str_add_n(&line.head, rl_line_buffer, (size_t)end);
    line.word_start = (size_t)start;
    rl_attempted_completion_over = !ui_completes_files(line.ui, str_text(&line.head));
    return rl_completion_matches(text, generate);
}

static char *history_path(enum prompt_kind kind)
{
    const char *name = kind == PROMPT_CHAT ? "chat" : kind == PROMPT_COMMAND ? "command" : kind == PROMPT_SAMPLE ? "prompt" : NULL;
    return line.folder && name ? mem_printf("%s/history-%s", line.folder, name) : NULL;
}

static void remember(const char *text)
{
    if (text[strspn(text, " ")] == '\0')
        return;
    HIST_ENTRY *last = history_length > 0 ? history_get(history_base + history_length - 1) : NULL;
    if (last && strcmp(last->line, text) == 0)
        return;
    add_history(text);
    char *path = history_path(line.kind);
    if (path) {
        int fd = open(path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
        if (fd >= 0) {
            close(fd);
            append_history(1, path); /* line by line: a crash loses nothing; a failure is no reason to trouble anybody */
        }
        mem_free(path);
    }
}

static void on_line(char *text)
{
    str_clear(&line.text);
    if (text) {
        str_add(&line.text, text);
        line.accepted = true;
        remember(text);
    } else
        line.left = true; /* Ctrl-D on an empty line */
    free(text); /* readline's malloc */
    rl_callback_handler_remove();
    line.open = false;
}

/* ---- life ---- */

bool line_start(const char *history_folder, struct gm_error *err)
{
    if (line.started)
        return true;
    line.nowhere_in = fopen("/dev/null", "re");
    line.nowhere_out = fopen("/dev/null", "we");
    if (!line.nowhere_in || !line.nowhere_out) {
        error_errno(err, "open /dev/null");
        if (line.nowhere_in)
            fclose(line.nowhere_in);
        if (line.nowhere_out)
            fclose(line.nowhere_out);
        line.nowhere_in = line.nowhere_out = NULL;
        return false;
    }
    line.folder = history_folder ? mem_copy(history_folder) : NULL;
    rl_readline_name = "gemmaiku";
    rl_instream = line.nowhere_in;
    rl_outstream = line.nowhere_out;
    rl_catch_signals = 0;
    rl_catch_sigwinch = 0;
    rl_change_environment = 0; /* else LINES and COLUMNS are set and curses never sees a resize again */
    rl_prep_term_function = NULL;
    rl_deprep_term_function = NULL;
    rl_getc_function = next_byte;
    rl_input_available_hook = byte_waits;
    rl_redisplay_function = show_nothing;
    rl_completion_display_matches_hook = take_matches;
    rl_attempted_completion_function = complete;
    rl_completion_query_items = 0;
    rl_basic_word_break_characters = " ";
    rl_completer_quote_characters = "";
    rl_initialize();
    rl_variable_bind("enable-bracketed-paste", "off");
    rl_variable_bind("bell-style", "none");
    rl_variable_bind("show-all-if-ambiguous", "on");
    rl_variable_bind("editing-mode", "emacs"); /* Esc leaves the line, as everywhere in the program */
    using_history();
    stifle_history(HISTORY_MAX);
    line.started = true;
    return true;
}

void line_stop(void)
{
    if (!line.started)
        return;
    line_close();
    for (int kind = 0; kind < KINDS; kind++) {
        if (!line.loaded[kind])
            continue;
        history_set_history_state(&line.history[kind]);
        clear_history();
        HISTORY_STATE *state = history_get_history_state();
        free(state->entries);
        free(state);
        HISTORY_STATE none = {0};
        history_set_history_state(&none);
        line.loaded[kind] = false;
    }
    forget_matches();
    rl_instream = rl_outstream = NULL;
    fclose(line.nowhere_in);
    fclose(line.nowhere_out);
    mem_free(line.folder);
    str_free(&line.queue);
    str_free(&line.text);
    str_free(&line.label);
    str_free(&line.head);
    memset(&line, 0, sizeof line);
}

static void use_history(enum prompt_kind kind)
{
    if (!line.loaded[kind]) {
        HISTORY_STATE none = {0};
        history_set_history_state(&none);
        using_history();
        stifle_history(HISTORY_MAX);
        char *path = history_path(kind);
        if (path) {
            if (read_history(path) == 0 && history_length >= HISTORY_MAX)
                history_truncate_file(path, HISTORY_MAX);
            mem_free(path);
        }
        line.loaded[kind] = true;
    } else
        history_set_history_state(&line.history[kind]);
    using_history();
}

static void store_history(enum prompt_kind kind)
{
    HISTORY_STATE *state = history_get_history_state();
    line.history[kind] = *state;
    free(state);
}

void line_open(enum prompt_kind kind, const char *text)
{
    if (!line.started)
        return;
    line_close();
    line.kind = kind;
    line.accepted = line.left = false;
    str_clear(&line.queue);
    line.at = 0;
    rl_completer_word_break_characters = kind == PROMPT_CHAT ? " /" : " ";
    use_history(kind);
    rl_callback_handler_install("", on_line);
    line.open = true;
    rl_insert_text(text);
    rl_point = rl_end;
}

void line_close(void)
{
    if (line.open) {
        rl_callback_handler_remove();
        line.open = false;
    }
    if (line.kind != PROMPT_NONE)
        store_history(line.kind);
    line.kind = PROMPT_NONE;
    forget_matches();
}

bool line_is_open(void)
{
    return line.open;
}

/* ---- keys ---- */

/* The bytes readline binds the key to by default; "" for those it does not know. */
static void key_bytes(uint32_t code, struct str *out)
{
    static const struct {
        uint32_t code;
        const char *bytes, *with_ctrl;
    } named[] = {{KEY_UP, "\033[A", "\033[A"},      {KEY_DOWN, "\033[B", "\033[B"},   {KEY_RIGHT, "\033[C", "\033[1;5C"}, {KEY_LEFT, "\033[D", "\033[1;5D"},
                 {KEY_HOME, "\033[H", "\033[H"},    {KEY_END, "\033[F", "\033[F"},    {KEY_DELETE, "\033[3~", "\033d"},   {KEY_BACKSPACE, "\177", "\027"},
                 {KEY_ENTER, "\r", "\r"},           {KEY_TAB, "\t", "\t"},            {KEY_INSERT, "\033[2~", ""},        {KEY_PAGE_UP, "", ""},
                 {KEY_PAGE_DOWN, "", ""},           {KEY_BACKTAB, "", ""}};
    uint32_t plain = code & ~(uint32_t)(KEY_CTRL | KEY_ALT);
    bool alt = code & KEY_ALT, ctrl = code & KEY_CTRL;
    if (plain >= 0x110000) {
        for (size_t i = 0; i < sizeof named / sizeof named[0]; i++)
            if (named[i].code == plain) {
                if (alt && (plain == KEY_LEFT || plain == KEY_RIGHT))
                    str_add(out, plain == KEY_LEFT ? "\033b" : "\033f");
                else {
                    if (alt && named[i].bytes[0] && named[i].bytes[0] != 033)
                        str_add_char(out, 033);
                    str_add(out, ctrl ? named[i].with_ctrl : named[i].bytes);
                }
            }
        return;
    }
    if (alt)
        str_add_char(out, 033);
    if (ctrl)
        str_add_char(out, plain == ' ' ? '\0' : (char)(plain & 0x1f));
    else
        str_add_utf8(out, plain);
}

static void insert_paste(const char *text, size_t n)
{
    struct str one_line = {0}, clean = {0};
    n = utf8_complete_prefix(text, n < LINE_MAX_BYTES ? n : LINE_MAX_BYTES);
    for (size_t i = 0; i < n; i++) { /* line ends become spaces, once */
        bool end = text[i] == '\n' || text[i] == '\r' || text[i] == '\t';
        if (!end)
            str_add_char(&one_line, text[i]);
        else if (one_line.len > 0 && one_line.data[one_line.len - 1] != ' ')
            str_add_char(&one_line, ' ');
    }
    text_clean(&clean, str_text(&one_line), one_line.len, false, false);
    rl_insert_text(str_text(&clean));
    str_free(&one_line);
    str_free(&clean);
}

enum line_result line_key(const struct key *key, const struct ui_state *ui, const struct view *view)
{
    if (!line.open)
        return LINE_LEFT;
    bool searching = RL_ISSTATE(RL_STATE_ISEARCH | RL_STATE_NSEARCH) != 0;
    forget_matches();
    line.ui = ui;
    line.view = view;
    if (key->code == KEY_PASTE) {
        if (!searching)
            insert_paste(key->text, key->len);
        return LINE_EDITING;
    }
    if (!searching && key->code == KEY_ESC)
        return LINE_LEFT;
    if (!searching && key->code == (KEY_CTRL | 'c')) {
        if (rl_end == 0)
            return LINE_LEFT;
        rl_replace_line("", 1);
        rl_point = 0;
        return LINE_EDITING;
    }
    if (rl_end >= LINE_MAX_BYTES && key->code < 0x110000) /* a stuck key does not fill the memory */
        return LINE_EDITING;
    str_clear(&line.queue);
    line.at = 0;
    if (searching && (key->code == KEY_ESC || key->code == (KEY_CTRL | 'c')))
        str_add_char(&line.queue, '\007'); /* abort the search, keep the line as it was */
    else
        key_bytes(key->code, &line.queue);
    while (line.open && line.at < line.queue.len)
        rl_callback_read_char();
    line.ui = NULL;
    line.view = NULL;
    return line.accepted ? LINE_ACCEPTED : line.left ? LINE_LEFT : LINE_EDITING;
}

const char *line_text(void)
{
    return str_text(&line.text);
}

void line_show(struct line_view *view)
{
    *view = (struct line_view){.text = ""};
    if (!line.open)
        return;
    view->text = rl_line_buffer ? rl_line_buffer : "";
    view->cursor = (size_t)rl_point;
    view->matches = (const char *const *)line.matches;
    view->match_count = line.match_count;
    str_clear(&line.label);
    if (RL_ISSTATE(RL_STATE_ISEARCH | RL_STATE_NSEARCH | RL_STATE_NUMERICARG) && rl_display_prompt)
        text_clean(&line.label, rl_display_prompt, strlen(rl_display_prompt), false, false);
    view->label = str_text(&line.label);
}

void line_size(int rows, int cols)
{
    if (line.started)
        rl_set_screen_size(rows, cols);
}
