/* workbench.c - start, loop and end of the screen side. The UI thread waits in one poll(): keys, the wake pipe of the other threads, the pipe of signals.
 *
 * Drawing: at once for a key, at most 20 times a second for what streams in, not at all when nothing changed.
 */
#include "src/workbench/workbench.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "src/cli/cli.h"
#include "src/cli/train_args.h"
#include "src/workbench/state.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const double FRAME_S = 0.05, CLOCK_S = 1, MAIL_S = 0.003, MESSAGE_S = 10;

/* Why nothing can be drawn; NULL: it can. */
static const char *obstacle(const struct general *general)
{
    const char *term = getenv("TERM");
    if (general->plain || general->json)
        return "it is not drawn with --plain or --json";
    if (!isatty(0) || !isatty(1))
        return "there is no terminal to draw on";
    if (!term || !*term)
        return "TERM is not set";
    return strcmp(term, "dumb") == 0 ? "TERM is dumb" : NULL;
}

bool workbench_possible(const struct general *general)
{
    return !obstacle(general);
}

/* ---- the terminal's safety ---- */

static void on_crash(int number)
{
    term_restore_sigsafe();
    signal(number, SIG_DFL);
    raise(number);
}

static void guard_terminal(void)
{
    static const int deadly[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGQUIT};
    struct sigaction action = {.sa_handler = on_crash, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++)
        sigaction(deadly[i], &action, NULL);
}

/* What libraries write to stderr must not land on the screen: it goes to a file while the screen is up. Gives the descriptor to put back. */
static int redirect_stderr(void)
{
    char *folder = cli_state_folder(), *file = folder ? path_join(folder, "stderr.log") : mem_copy("/dev/null");
    int before = dup(2), fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0) {
        dup2(fd, 2);
        close(fd);
    }
    mem_free(folder);
    mem_free(file);
    return before;
}

/* ---- the loop ---- */

static void drain(int fd)
{
    char bytes[256];
    while (read(fd, bytes, sizeof bytes) > 0)
        ;
}

static void read_signals(struct workbench *w)
{
    char bytes[64];
    ssize_t n;
    while ((n = read(signals_pipe(), bytes, sizeof bytes)) > 0)
        for (ssize_t i = 0; i < n; i++)
            if (bytes[i] == SIGWINCH || bytes[i] == SIGCONT) {
                term_resized(w->term);
                w->dirty = true;
            } else if (bytes[i] == SIGTSTP) {
                act_suspend(w);
            }
    if (signals_caught() && !w->leaving)
        act(w, &(struct command){.id = COMMAND_QUIT, .number = QUIT_SAVE});
}

static void read_mails(struct workbench *w)
{
    struct mail *m;
    double until = clock_seconds() + MAIL_S; /* a long journal in pieces: keys come between */
    drain(w->wake[0]);
    for (bool first = true; clock_seconds() < until && (m = mail_take(w)); first = false) {
        if (first) /* the others came behind it */
            lateness_add(&w->lateness, clock_seconds() - m->posted_s);
        feed_mail(w, m);
        mail_free(m);
    }
}

static bool more_mails(struct workbench *w)
{
    pthread_mutex_lock(&w->mail_lock);
    bool more = w->n_mails > 0;
    pthread_mutex_unlock(&w->mail_lock);
    return more;
}

/* When the screen is to be drawn next; infinity: not before something happens. */
static double next_frame_s(const struct workbench *w)
{
    if (w->dirty)
        return w->drawn_s + FRAME_S;
    bool clock = w->view.run.state == RUN_TRAINING || w->answering || w->drawn_s < w->view.message.time_s + MESSAGE_S;
    return clock ? w->drawn_s + CLOCK_S : INFINITY;
}

static int wait_ms(struct workbench *w, bool terminal)
{
    if (more_mails(w))
        return 0;
    if (!terminal)
        return -1;
    double left = next_frame_s(w) - clock_seconds();
    int ms = left <= 0 ? 0 : left < 60 ? (int)(1000 * left) + 1 : -1, input = term_wait_ms(w->term);
    return input >= 0 && (ms < 0 || input < ms) ? input : ms;
}

static void draw(struct workbench *w)
{
    view_fill(w);
    term_draw(w->term, w->ui, &w->view);
    w->drawn_s = clock_seconds();
    w->dirty = false;
}

static void loop(struct workbench *w)
{
    bool terminal = true;
    draw(w);
    while (!w->quit) {
        struct pollfd fds[3] = {{w->wake[0], POLLIN, 0}, {signals_pipe(), POLLIN, 0}, {terminal ? term_input_fd(w->term) : -1, POLLIN, 0}};
        int ms = wait_ms(w, terminal);
        double due = clock_seconds() + 1e-3 * ms;
        int n = poll(fds, 3, ms);
        if (n == 0 && ms > 0)
            lateness_add(&w->lateness, clock_seconds() - due);
        if (n < 0 && errno != EINTR)
            break;
        read_signals(w);
        read_mails(w);
        bool key = terminal && n > 0 && fds[2].revents;
        if (key || (terminal && term_wait_ms(w->term) == 0)) { /* 0: a lone Esc is an Esc now */
            key = true;
            view_fill(w);
            if (!term_feed(w->term, w->ui, &w->view, act, w)) {
                terminal = false; /* hung up: save and go */
                act(w, &(struct command){.id = COMMAND_QUIT, .number = QUIT_SAVE});
            }
        }
        if (terminal && (key || clock_seconds() >= next_frame_s(w)))
            draw(w);
    }
}

/* ---- start and end ---- */

static bool open_all(struct workbench *w, struct gm_error *err)
{
    char *history = cli_state_folder();
    thread_interactive();
    feed_reset_run(w);
    mail_init(w);
    w->chat_sampling = sampling_default();
    w->chat_adapter = ADAPTER_BASE;
    theme_builtin(&w->theme, "sumi");
    static const char *const colors[] = {"auto", "always", "never"};
    struct term_options options = {.theme = &w->theme, .color = colors[w->general.color], .history_folder = history};
    bool ok = (w->syllables = syllables_open(err)) && (w->pool = pool_new(w->general.threads, err));
    if (ok && (w->term = term_open(&options, err))) {
        w->ui = ui_new(term_utf8());
        guard_terminal();
        signals_before_exit(term_restore_sigsafe);
    }
    mem_free(history);
    return ok && w->term && taster_start(w, err);
}

static void close_all(struct workbench *w)
{
    term_close(w->term);
    signals_before_exit(NULL);
    mail_close_door(w);
    taster_stop(w);
    runner_end(w);
    ui_free(w->ui);
    data_view_free(w);
    tools_free(w->opened);
    feed_free(w);
    start_list_free(w->start);
    mail_end(w);
    syllables_free(w->syllables);
    pool_free(w->pool);
}

static void tell_lateness(const struct workbench *w)
{
    struct str line = {0};
    if (getenv("GEMMAIKU_LATENESS")) {
        lateness_tell(&w->lateness, "UI thread late", &line);
        str_add_char(&line, '\n');
        lateness_tell(&w->first_text, "first text of an answer", &line);
        cli_say("", str_text(&line));
    }
    str_free(&line);
}

/* begin: what happens first, once everything stands. */
static int run(struct workbench *w, bool (*begin)(struct workbench *, const char *, struct gm_error *), const char *what)
{
    struct gm_error err = {0};
    signals_install();
    signals_watch_window();
    int stderr_before = redirect_stderr();
    bool ok = open_all(w, &err) && begin(w, what, &err);
    if (ok)
        loop(w);
    char *failed = w->view.run.state == RUN_FAILED ? mem_copy(w->failure) : NULL;
    char *run_dir = w->trainer ? clean_copy(trainer_run_dir(w->trainer), false) : NULL;
    bool unfinished = w->view.run.state != RUN_DONE;
    close_all(w);
    dup2(stderr_before, 2);
    close(stderr_before);
    tell_lateness(w);
    int status = EXIT_DONE;
    if (!ok) {
        status = cli_fail(&err);
    } else if (failed) {
        cli_say("gemmaiku: ", failed);
        status = EXIT_FAILED;
    } else if (run_dir) {
        fprintf(stderr, "saved in %s%s%s\n", run_dir, unfinished ? "; go on with: gemmaiku resume " : "", unfinished ? run_dir : "");
    }
    if (signals_caught())
        status = signals_exit(signals_caught());
    mem_free(failed);
    mem_free(run_dir);
    return status;
}

static bool begin_training(struct workbench *w, const char *unused, struct gm_error *err)
{
    ui_go(w->ui, SCREEN_TRAIN);
    return runner_start(w, err);
}

static bool begin_run(struct workbench *w, const char *dir, struct gm_error *err)
{
    ui_go(w->ui, SCREEN_TRAIN);
    start_load(w, mem_copy(dir));
    return true;
}

static bool begin_start_page(struct workbench *w, const char *unused, struct gm_error *err)
{
    start_show(w);
    return true;
}

int workbench_train(const struct train_options *options, const struct general *general)
{
    struct workbench *w = mem_new(1, sizeof *w);
    w->general = *general;
    w->start_options = *options;
    int status = run(w, begin_training, NULL);
    mem_free(w);
    return status;
}

int workbench_main(int argc, char **argv)
{
    struct general g = {0};
    int status;
    const struct arg table[] = {{0}};
    struct arg_spec spec = {.command = "", .positional = "[RUN]", .table = table, .max_words = 1, .summary = "The workbench on a run, or its start page."};
    if (!cli_begin(&spec, argc, argv, &g, &status))
        return status;
    struct gm_error err = {0};
    char *dir = NULL;
    if (spec.n_words && !(dir = run_resolve(cli_runs_root(), spec.words[0], &err))) {
        const char *meant = args_command_meant(spec.words[0]);
        if (meant)
            error_set(&err, GM_E_USAGE, "read command line: %s is neither a command nor a run (did you mean %s?)", spec.words[0], meant);
        return cli_fail(&err);
    }
    if (!workbench_possible(&g)) {
        error_set(&err, GM_E_UNSUPPORTED, "open the workbench: %s (gemmaiku --help lists what works without: runs, chat, generate ...)", obstacle(&g));
        mem_free(dir);
        return cli_fail(&err);
    }
    struct train_args demo;
    struct workbench *w = mem_new(1, sizeof *w);
    w->general = g;
    train_args_init(&demo); /* the start page may begin the demo */
    train_args_demo(&demo);
    bool ok = train_args_finish(&demo, &g, &err);
    w->start_options = demo.o;
    status = ok ? run(w, dir ? begin_run : begin_start_page, dir) : cli_fail(&err);
    train_options_free(&demo.o);
    mem_free(dir);
    mem_free(w);
    return status;
}
