/* live.c - the fixture in a real terminal: to look at the screens by hand, and what live.sh drives in tmux.
 * The workbench's loop in small: poll, feed, draw. `:chat TEXT` and the chat line echo into the log file given as the first argument. */
#include <errno.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/golden/fixture.h"
#include "ui/term/term.h"

static int wake[2];
struct live {
    struct term *term;
    struct view view;
    FILE *log;
    bool quit;
};

static void on_signal(int number)
{
    char c = (char)number;
    ssize_t n = write(wake[1], &c, 1);
    (void)n;
}

static void on_crash(int number)
{
    term_restore_sigsafe();
    signal(number, SIG_DFL);
    raise(number);
}

static void on_command(void *ctx, const struct command *c)
{
    struct live *l = ctx;
    fprintf(l->log, "%d %s number=%ld text=%s\n", (int)c->id, command_info(c->id)->name, c->number, str_text(&c->text));
    fflush(l->log);
    if (c->id == COMMAND_QUIT)
        l->quit = true;
    if (c->id == COMMAND_PAUSE)
        l->view.run.state = RUN_PAUSED;
    if (c->id == COMMAND_RESUME)
        l->view.run.state = RUN_TRAINING;
    if (c->id == COMMAND_COPY)
        term_copy(l->term, str_text(&c->text));
    if (c->id == COMMAND_CHAT && strcmp(str_text(&c->text), "crash") == 0)
        raise(SIGSEGV);
    if (c->id == COMMAND_THEME) {
        struct theme t;
        if (theme_builtin(&t, str_text(&c->text)))
            term_set_theme(l->term, &t);
    }
    if (c->id == COMMAND_SUSPEND) {
        term_suspend(l->term);
        raise(SIGSTOP);
        term_resume(l->term);
    }
}

int main(int argc, char **argv)
{
    struct live l = {0};
    struct gm_error err = {0};
    struct theme theme;
    setlocale(LC_ALL, "");
    fixture_fill(&l.view);
    l.log = fopen(argc > 1 ? argv[1] : "/dev/null", "w");
    if (!l.log || pipe(wake) != 0)
        return 2;
    struct sigaction winch = {.sa_handler = on_signal}, crash = {.sa_handler = on_crash, .sa_flags = SA_RESETHAND | SA_NODEFER};
    sigaction(SIGWINCH, &winch, NULL);
    sigaction(SIGTERM, &winch, NULL);
    sigaction(SIGSEGV, &crash, NULL);
    theme_builtin(&theme, "sumi");
    l.term = term_open(&(struct term_options){.theme = &theme, .color = "auto", .history_folder = argc > 2 ? argv[2] : NULL}, &err);
    if (!l.term) {
        fprintf(stderr, "live: %s\n", err.text);
        return 1;
    }
    struct ui_state *ui = ui_new(term_utf8());
    long frames = 0;
    while (!l.quit) {
        term_draw(l.term, ui, &l.view);
        frames++;
        struct pollfd fds[2] = {{.fd = term_input_fd(l.term), .events = POLLIN}, {.fd = wake[0], .events = POLLIN}};
        if (poll(fds, 2, term_wait_ms(l.term)) < 0 && errno != EINTR)
            break;
        char c = 0;
        if ((fds[1].revents & POLLIN) && read(wake[0], &c, 1) == 1) {
            if (c == SIGTERM)
                break;
            term_resized(l.term);
        }
        if (!term_feed(l.term, ui, &l.view, on_command, &l))
            break;
    }
    fprintf(l.log, "end frames=%ld\n", frames);
    fclose(l.log);
    ui_free(ui);
    term_close(l.term);
    return 0;
}
