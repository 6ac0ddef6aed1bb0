/* ask.c - readline() with Ctrl-C as a key: the signal stays free for whoever computes between two lines. */
#include "ui/term/ask.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include <readline/readline.h>
#include <readline/history.h>

enum { HISTORY_MAX = 1000 };

static char *history_file;

static void prepare_terminal(int meta)
{
    struct termios mode;
    rl_prep_terminal(meta);
    if (tcgetattr(STDIN_FILENO, &mode) == 0) {
        mode.c_cc[VINTR] = _POSIX_VDISABLE;
        tcsetattr(STDIN_FILENO, TCSADRAIN, &mode);
    }
}

static int empty_line(int count, int key)
{
    rl_delete_text(0, rl_end);
    rl_point = 0;
    rl_crlf();
    rl_on_new_line();
    return 0;
}

void ask_open(const char *path)
{
    rl_readline_name = "gemmaiku";
    rl_catch_signals = 0;
    rl_prep_term_function = prepare_terminal;
    rl_initialize();
    rl_bind_key(3, empty_line);
    rl_bind_key('\t', rl_insert); /* nothing to complete here */
    using_history();
    stifle_history(HISTORY_MAX);
    if (path) {
        history_file = strdup(path);
        read_history(history_file);
    }
}

char *ask_line(const char *prompt)
{
    char *line = readline(prompt);
    if (line && *line)
        add_history(line);
    return line;
}

void ask_close(void)
{
    if (history_file)
        write_history(history_file);
    free(history_file);
    history_file = NULL;
}
