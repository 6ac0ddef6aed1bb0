/* The workbench on a pseudo-terminal: what a person does from the first point of the curve to a saved run. */
#include "pty.h"

#include "engine/base/number.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char program[] = PROGRAM;

static void start_demo(struct pty *p, int rows, int cols, const char *iters)
{
    pty_start(p, rows, cols, (const char *[]){program, "demo", "--iters", iters, NULL});
}

static bool exists(const struct pty *p, const char *name)
{
    char path[256];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", p->folder, name);
    return stat(path, &st) == 0;
}

/* Esc, a pause (so that it is no Alt), then the keys. */
static void escape(struct pty *p)
{
    pty_keys(p, "\033");
    pty_drain(p, 0.3);
}

/* The first number behind `name`; NAN: there is none. */
static double number_behind(const char *screen, const char *name)
{
    const char *at = strstr(screen, name);
    double x = NAN;
    return at && sscanf(at + strlen(name), " %lf", &x) == 1 ? x : NAN;
}

/* Where the time goes, in the place of the curve: parts of a real step that make up the step. */
static void time_pane(struct pty *p)
{
    static const char *const parts[] = {"embedding", "forward: products", "forward: adapters", "forward: attention", "forward: norms, gates",
                                        "head and loss", "backward: products", "backward: adapters", "backward: attention",
                                        "backward: norms, gates", "clip and update", "\342\224\203 rest"};
    pty_keys(p, "t");
    assert_true(pty_wait_screen(p, " of the peak", 10));
    const char *screen = p->screen, *title = strstr(screen, "where the time of a step goes");
    assert_non_null(title);
    const char *ms = strstr(title, " ms,");
    assert_non_null(ms);
    while (ms > title && strchr("0123456789.", ms[-1]))
        ms--;
    const double step = strtod(ms, NULL);
    double sum = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const double each = number_behind(screen, parts[i]);
        if (!(each >= 0))
            fail_msg("no time of: %s\n%s", parts[i], screen);
        sum += each;
    }
    if (!(step > 0 && fabs(sum - step) <= 0.05 * step + 1)) /* each is rounded to a tenth of a millisecond */
        fail_msg("parts of %.1f ms are no step of %.1f ms\n%s", sum, step, screen);
    pty_keys(p, "t");
    assert_true(pty_wait_screen(p, "loss  log-y", 5));
    assert_null(strstr(p->screen, "where the time"));
}

static void demo_from_start_to_end(void **state)
{
    struct pty p = {0};
    double began = pty_now();
    start_demo(&p, 24, 80, "100000");
    assert_true(pty_wait_screen(&p, "TRAIN", 20));
    assert_true(pty_wait_screen(&p, "best val", 30)); /* the first evaluation */
    print_message("first curve after %.1f s\n", pty_now() - began);
    time_pane(&p);
    pty_keys(&p, "1");
    assert_true(pty_wait_screen(&p, "5 7 5", 20));
    pty_keys(&p, "3");
    assert_true(pty_wait_screen(&p, "5-7-5", 30));
    pty_keys(&p, "G"); /* the oldest: the coolest of the base */
    assert_true(pty_wait_screen(&p, "0.3  ", 10));
    pty_keys(&p, "7");
    assert_true(pty_wait_screen(&p, "[7 Log]", 5));
    pty_keys(&p, "2p");
    assert_true(pty_wait_screen(&p, "PAUSE", 5));
    pty_keys(&p, "p");
    assert_true(pty_wait_screen(&p, "TRAIN", 5));
    assert_true(pty_keys_show(&p, "?", "EVERYWHERE", 5));
    escape(&p);
    pty_keys(&p, "4");
    pty_drain(&p, 0.3);
    pty_keys(&p, "Write a haiku about snow.\r");
    pty_drain(&p, 2);
    escape(&p);
    assert_true(pty_wait_screen(&p, "chat with live @", 5));
    assert_true(pty_wait_screen(&p, "tok", 10)); /* the answer with its length */
    pty_keys(&p, "2s");
    pty_drain(&p, 1);
    pty_keys(&p, "5");
    assert_true(pty_wait_screen(&p, "live", 10));
    assert_true(pty_wait_screen(&p, " MB ", 30)); /* a checkpoint is there */
    pty_keys(&p, "j\r"); /* talk to it */
    pty_drain(&p, 0.3);
    escape(&p); /* out of the line that is being typed */
    assert_true(pty_wait_screen(&p, "chat with checkpoint", 5));
    pty_keys(&p, ":export out/mine\r");
    assert_true(pty_wait_screen(&p, "proved", 30));
    assert_true(exists(&p, "out/mine/peft/adapter_model.safetensors"));
    assert_true(exists(&p, "out/mine/peft/proof.json"));
    pty_keys(&p, ":export out/mine\r");
    assert_true(pty_wait_screen(&p, "it exists (choose another folder)", 10));
    pty_keys(&p, ":quit\r");
    pty_drain(&p, 0.5);
    pty_keys(&p, "c\r"); /* checkpoint and quit, whichever way the question is answered */
    assert_int_equal(pty_wait_end(&p, 60), 0);
    assert_true(exists(&p, "runs/demo-001/run.json"));
    assert_true(exists(&p, "runs/demo-001/checkpoints"));
    /* the run again, in the workbench, and as the start page */
    pty_start(&p, 60, 200, (const char *[]){program, "demo-001", NULL});
    assert_true(pty_wait_screen(&p, "demo-001", 20));
    pty_keys(&p, "5");
    assert_true(pty_wait_screen(&p, "base", 10));
    pty_keys(&p, "q");
    pty_drain(&p, 0.5);
    pty_keys(&p, "q");
    if (pty_wait_end(&p, 10) != 0)
        fail_msg("the workbench on a stopped run did not end with q");
    pty_start(&p, 24, 80, (const char *[]){program, NULL});
    assert_true(pty_wait_screen(&p, "demo-001", 10));
    pty_keys(&p, "q");
    assert_int_equal(pty_wait_end(&p, 10), 0);
    pty_clean(&p);
}

/* What a key does is on the screen within 50 ms while all cores train: the middle one of a dozen, whatever else the machine does. */
static void keys_are_quick(void **state)
{
    enum { N = 12 };
    double seconds[N];
    struct pty p = {0};
    start_demo(&p, 24, 80, "100000");
    assert_true(pty_wait_screen(&p, "best val", 30));
    for (int i = 0; i < N; i++) {
        double before = pty_now() + 0.1; /* pty_keys_show first lets the line fall quiet for so long */
        assert_true(pty_keys_show(&p, i % 2 ? "2" : "7", i % 2 ? "[2 Train]" : "[7 Log]", 5));
        seconds[i] = pty_now() - before;
    }
    const double median = quantile(seconds, N, 0.5);
    print_message("a key shows after %.1f ms (median), %.1f ms at most\n", 1000 * median, 1000 * quantile(seconds, N, 1));
    assert_true(median < 0.05);
    kill(p.pid, SIGTERM);
    assert_int_equal(pty_wait_end(&p, 30), 143);
    pty_clean(&p);
}

/* The number behind the last `name` in a file; -1: there is none. */
static long last_number(const struct pty *p, const char *file, const char *name)
{
    char path[256];
    static char text[1 << 22];
    snprintf(path, sizeof path, "%s/%s", p->folder, file);
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f)
        fclose(f);
    text[n] = 0;
    char *last = NULL;
    for (char *at = text; (at = strstr(at, name)); at++)
        last = at + strlen(name);
    return last ? strtol(last, NULL, 10) : -1;
}

/* An answer comes while all cores train, from the adapter as it is now, and training goes on behind it. */
static void chat_answers_while_training(void **state)
{
    static const char journal[] = "runs/demo-001/journal.jsonl", step[] = "\"step\":";
    struct pty p = {0};
    start_demo(&p, 24, 80, "1000000");
    assert_true(pty_wait_screen(&p, "best val", 60));
    pty_keys(&p, "4");
    pty_drain(&p, 0.3);
    pty_keys(&p, "Write a haiku about snow.\r");
    escape(&p);
    assert_true(pty_wait_screen(&p, " tok  ", 60)); /* behind the answer: its length and time */
    assert_non_null(strstr(p.screen, "> TRAIN"));
    const char *who = strstr(p.screen, "chat with live @");
    assert_non_null(who);
    long answered_at = strtol(strchr(who, '@') + 1, NULL, 10), now = last_number(&p, journal, step);
    print_message("the answer is of update %ld, the journal at %ld\n", answered_at, now);
    assert_true(answered_at >= 0);
    for (double end = pty_now() + 60; last_number(&p, journal, step) <= now && pty_now() < end;)
        pty_drain(&p, 0.05);
    assert_true(last_number(&p, journal, step) > now); /* training goes on */
    kill(p.pid, SIGTERM);
    assert_int_equal(pty_wait_end(&p, 60), 143);
    assert_true(last_number(&p, journal, step) < 1000000); /* nobody waited for its end */
    pty_clean(&p);
}

static void stop(struct pty *p)
{
    pty_keys(p, "x");
    pty_drain(p, 0.3);
    pty_keys(p, "y");
    assert_true(pty_wait_screen(p, "STOPPED", 20));
}

/* Stopped, resumed in place, stopped again; another workbench looks on. It cannot go on with the run as long as the first has it, and stays what it was; then it can. */
static void stop_and_resume(void **state)
{
    struct pty p = {0}, second = {0};
    start_demo(&p, 24, 80, "100000");
    assert_true(pty_wait_screen(&p, "best val", 30));
    strcpy(second.folder, p.folder);
    second.shots = 1000; /* files of its own */
    pty_start(&second, 24, 80, (const char *[]){program, "demo-001", NULL});
    assert_true(pty_wait_screen(&second, "TRAINS ELSEWHERE", 10));
    for (int i = 0; i < 2; i++) {
        stop(&p);
        if (i == 0)
            assert_true(pty_wait_screen(&second, "STOPPED", 20));
        pty_keys(&p, "p");
        assert_true(pty_wait_screen(&p, "> TRAIN", 20));
        if (i == 0)
            assert_true(pty_wait_screen(&second, "TRAINS ELSEWHERE", 20));
    }
    stop(&p);
    assert_true(pty_wait_screen(&second, "STOPPED", 20));
    pty_keys(&second, "4");
    pty_drain(&second, 0.3);
    pty_keys(&second, "Write a haiku about snow.\r"); /* what that made of the model is put away first */
    escape(&second);
    pty_keys(&second, "2p");
    assert_true(pty_wait_screen(&second, "lock", 60));
    assert_true(pty_wait_screen(&second, "STOPPED", 20));
    pty_keys(&p, "q");
    assert_int_equal(pty_wait_end(&p, 10), 0);
    pty_keys(&second, "p");
    assert_true(pty_wait_screen(&second, "> TRAIN", 60));
    kill(second.pid, SIGTERM);
    assert_int_equal(pty_wait_end(&second, 30), 143);
    free(second.screen);
    pty_clean(&p);
}

static void signals_save(void **state)
{
    static const int numbers[] = {SIGTERM, SIGHUP, SIGINT};
    for (int i = 0; i < 3; i++) {
        struct pty p = {0};
        start_demo(&p, 24, 80, "100000");
        assert_true(pty_wait_screen(&p, "best val", 30));
        kill(p.pid, numbers[i]);
        assert_int_equal(pty_wait_end(&p, 30), 128 + numbers[i]);
        pty_start(&p, 24, 80, (const char *[]){program, "runs", "show", "demo-001", NULL});
        assert_int_equal(pty_wait_end(&p, 10), 0);
        pty_clean(&p);
    }
}

static void every_size(void **state)
{
    static const int sizes[][2] = {{12, 60}, {24, 80}, {5, 20}, {1, 1}, {60, 200}, {24, 80}};
    struct pty p = {0};
    start_demo(&p, 24, 80, "100000");
    assert_true(pty_wait_screen(&p, "TRAIN", 30));
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        pty_resize(&p, sizes[i][0], sizes[i][1]);
        pty_keys(&p, "1234");
        pty_drain(&p, 0.1);
        escape(&p);
        pty_keys(&p, "567?");
        escape(&p);
    }
    pty_keys(&p, "2");
    assert_true(pty_wait_screen(&p, "TRAIN", 10));
    kill(p.pid, SIGTERM);
    assert_int_equal(pty_wait_end(&p, 30), 143);
    pty_clean(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(demo_from_start_to_end), cmocka_unit_test(keys_are_quick),
                                       cmocka_unit_test(chat_answers_while_training), cmocka_unit_test(stop_and_resume),
                                       cmocka_unit_test(signals_save), cmocka_unit_test(every_size)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
