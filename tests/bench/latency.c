/* latency.c - how long a key takes to the screen while the machine trains, on a pseudo-terminal.
 *
 * Usage: latency PROGRAM [MODEL [KEYS]]     (nano, 300 keys)
 * Begins a run on MODEL, stops it after its first updates, opens it in the workbench, goes on training there, and presses keys that change the screen; measured is
 * the time until the terminal has got the new screen's name. Then it asks a few questions. The workbench tells at its end how late its own thread was, and how
 * long the first text of an answer took.
 */
#include "engine/base/number.h"
#include "engine/base/pool.h"
#include "tests/e2e/pty.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void give_up(struct pty *p, const char *why)
{
    fprintf(stderr, "latency: %s; the last that came: %.*s\n", why, (int)p->n_recent, p->recent);
    kill(p->pid, SIGKILL);
    exit(1);
}

/* Seconds from the key to the text; the terminal has been read empty before. */
static double press(struct pty *p, const char *key, const char *text)
{
    while (pty_wait(p, 0))
        ;
    p->n_recent = 0;
    double began = pty_now();
    pty_keys(p, key);
    while (!memmem(p->recent, p->n_recent, text, strlen(text))) {
        pty_wait(p, 0.5);
        if (pty_now() > began + 10)
            give_up(p, text);
    }
    return pty_now() - began;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *key, *shows;
    } screens[] = {{"7", "[7 Log]"}, {"2", "[2 Train]"}, {"3", "[3 "}, {"5", "[5 "}};
    enum { KEYS_MAX = 10000, SCREENS = sizeof screens / sizeof *screens, ANSWERS = 5 };
    int n = argc > 3 ? atoi(argv[3]) : 300, status;
    if (argc < 2 || n < 1 || n > KEYS_MAX) {
        fprintf(stderr, "usage: latency PROGRAM [MODEL [KEYS]]\n");
        return 2;
    }
    char *program = realpath(argv[1], NULL), *file = argc > 2 ? realpath(argv[2], NULL) : NULL;
    const char *model = file ? file : argc > 2 ? argv[2] : "nano";
    static double seconds[KEYS_MAX];
    struct pty p = {0};
    pty_start(&p, 40, 120, (const char *[]){program, "train", "--model", model, "--run", "big", "--iters", "100000", "--steps-per-eval", "100000", "--val-batches", "1", "--sample-every", "0",
                                            "--save-every", "1000", NULL});
    for (double end = pty_now() + 120; !memmem(p.recent, p.n_recent, "tok/s", 5);) {
        pty_wait(&p, 1);
        if (pty_now() > end)
            give_up(&p, "no first update");
    }
    pty_drain(&p, 1);
    kill(p.pid, SIGTERM);
    pty_wait_end(&p, 60);
    setenv("GEMMAIKU_LATENESS", "1", 1);
    pty_start(&p, 40, 120, (const char *[]){program, "big", NULL});
    if (!pty_wait_screen(&p, "STOPPED", 30))
        give_up(&p, "the run does not open");
    pty_keys(&p, "p");
    if (!pty_wait_screen(&p, "> TRAIN", 60))
        give_up(&p, "the run does not go on");
    pty_keys(&p, "2");
    pty_drain(&p, 1);
    thread_interactive();
    for (int i = 0; i < n; i++) {
        seconds[i] = press(&p, screens[i % SCREENS].key, screens[i % SCREENS].shows);
        pty_drain(&p, 0.02 + 0.001 * (i * 7 % 50)); /* a terminal reads all the time */
    }
    for (int i = 0; i < ANSWERS; i++) { /* the workbench tells how long the first text took */
        pty_keys(&p, "4");
        pty_drain(&p, 0.3);
        pty_keys(&p, "Write a haiku about snow.\r");
        pty_drain(&p, 0.3);
        pty_keys(&p, "\033");
        pty_drain(&p, 0.3);
        if (!pty_wait_screen(&p, " tok  ", 60))
            give_up(&p, "no answer");
        pty_drain(&p, 2);
    }
    kill(p.pid, SIGTERM);
    status = pty_wait_end(&p, 60);
    p.recent[p.n_recent < sizeof p.recent ? p.n_recent : sizeof p.recent - 1] = 0;
    printf("%d keys while %s trains: on the screen after %.1f ms (median), %.1f ms (99 %%), %.1f ms at most\n", n, model,
           1e3 * quantile(seconds, n, 0.5), 1e3 * quantile(seconds, n, 0.99), 1e3 * quantile(seconds, n, 1));
    static const char *const told[] = {"UI thread late", "first text"};
    for (int i = 0; i < 2; i++) {
        const char *at = memmem(p.recent, p.n_recent, told[i], strlen(told[i]));
        printf("%.*s\n", at ? (int)strcspn(at, "\r\n") : 0, at ? at : "");
    }
    pty_clean(&p);
    free(program);
    free(file);
    return status == 143 ? 0 : 1;
}
