/* bench_latency.c - how long a key takes to the screen while the machine trains: the program itself, on a terminal of its own, trains the built-in model and
 * gets keys that change the screen. Measured is the time until the terminal has got the new screen's name. The workbench tells at its end how late its own
 * thread was (src/workbench/lateness.h).
 */
#include "src/cli/bench.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/base/number.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { ROWS = 40, COLUMNS = 120, RECENT = 1 << 16, KEYS_MAX = 1000 };
static const double PATIENCE_S = 60, KEY_PATIENCE_S = 10, PAUSE_S = 0.04;

struct terminal {
    pid_t pid;
    int fd;
    char *recent; /* [RECENT] what came since the last key */
    size_t n;
};

/* What the child needs is made before the fork: after it, a process with threads may only call what a signal handler may. */
static bool start(struct terminal *t, char *const argv[], char *const env[], struct gm_error *err)
{
    struct winsize size = {.ws_row = ROWS, .ws_col = COLUMNS};
    t->fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (t->fd < 0 || grantpt(t->fd) != 0 || unlockpt(t->fd) != 0)
        return error_set(err, GM_E_IO, "open a terminal: %s", strerror(errno));
    char name[128];
    snprintf(name, sizeof name, "%s", ptsname(t->fd));
    ioctl(t->fd, TIOCSWINSZ, &size);
    fcntl(t->fd, F_SETFL, O_NONBLOCK);
    t->pid = fork();
    if (t->pid == 0) {
        setsid();
        int fd = open(name, O_RDWR);
        ioctl(fd, TIOCSCTTY, 0);
        for (int i = 0; i < 3; i++)
            dup2(fd, i);
        execve(argv[0], argv, env);
        _exit(127);
    }
    return t->pid > 0 || error_set(err, GM_E_IO, "start a process: %s", strerror(errno));
}

/* Reads what comes for so long, or until it holds the text. */
static bool wait_for(struct terminal *t, const char *text, double seconds)
{
    for (double end = clock_seconds() + seconds, left; (left = end - clock_seconds()) > 0;) {
        struct pollfd p = {t->fd, POLLIN, 0};
        if (poll(&p, 1, (int)(1000 * left) + 1) <= 0)
            continue;
        if (t->n == RECENT) { /* the older half goes */
            memmove(t->recent, t->recent + RECENT / 2, RECENT / 2);
            t->n = RECENT / 2;
        }
        ssize_t got = read(t->fd, t->recent + t->n, RECENT - t->n);
        if (got <= 0 && errno != EAGAIN && errno != EINTR)
            return false; /* it ended */
        t->n += got > 0 ? (size_t)got : 0;
        if (text && memmem(t->recent, t->n, text, strlen(text)))
            return true;
    }
    return false;
}

static bool press_keys(struct terminal *t, struct bench_latency *out, struct gm_error *err)
{
    static const struct {
        char key;
        const char *shows;
    } screens[] = {{'7', "[7 Log]"}, {'2', "[2 Train]"}, {'3', "[3 "}, {'5', "[5 "}};
    double seconds[KEYS_MAX];
    if (!wait_for(t, "tok/s", PATIENCE_S))
        return error_set(err, GM_E_IO, "wait for the first step: none came");
    wait_for(t, NULL, 1);
    for (int i = 0; i < out->keys; i++) {
        const int k = i % (int)(sizeof screens / sizeof *screens);
        t->n = 0;
        double began = clock_seconds();
        if (write(t->fd, &screens[k].key, 1) != 1 || !wait_for(t, screens[k].shows, KEY_PATIENCE_S))
            return error_set(err, GM_E_IO, "wait for %s: it never came", screens[k].shows);
        seconds[i] = clock_seconds() - began;
        wait_for(t, NULL, PAUSE_S + 0.001 * (i * 7 % 20)); /* a terminal reads all the time */
    }
    out->key_p50 = quantile(seconds, out->keys, 0.5);
    out->key_p99 = quantile(seconds, out->keys, 0.99);
    out->key_most = quantile(seconds, out->keys, 1);
    return true;
}

/* Ends it as a closed terminal would, and reads what it says of its thread. */
static void finish(struct terminal *t, struct bench_latency *out)
{
    static const char says[] = "UI thread late, of";
    out->late_p50 = out->late_p99 = NAN;
    t->n = 0;
    kill(t->pid, SIGTERM);
    if (wait_for(t, says, PATIENCE_S)) {
        wait_for(t, "at most", 1);
        t->recent[t->n < RECENT ? t->n : RECENT - 1] = 0;
        const char *line = memmem(t->recent, t->n, says, strlen(says));
        double p50, p99;
        if (sscanf(line, "UI thread late, of %*d: %lf ms (median), %lf ms", &p50, &p99) == 2) {
            out->late_p50 = p50 / 1000;
            out->late_p99 = p99 / 1000;
        }
    }
    for (double end = clock_seconds() + PATIENCE_S; waitpid(t->pid, NULL, WNOHANG) == 0;) {
        if (!wait_for(t, NULL, 0.02))
            usleep(10000);
        if (clock_seconds() > end)
            kill(t->pid, SIGKILL);
    }
}

bool bench_latency(int keys, const struct general *g, struct bench_latency *out, struct gm_error *err)
{
    char program[4096], folder[] = "/tmp/gemmaiku-bench-XXXXXX", demo[] = "demo", iters[] = "--iters", many[] = "100000", option[] = "--threads",
         threads[16], seen[] = "GEMMAIKU_LATENESS=1", term[] = "TERM=xterm-256color";
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n <= 0)
        return error_set(err, GM_E_UNSUPPORTED, "bench --while-training: the program does not find itself (this system has no /proc)");
    program[n] = 0;
    if (!mkdtemp(folder))
        return error_set(err, GM_E_IO, "make %s: %s", folder, strerror(errno));
    snprintf(threads, sizeof threads, "%d", g->threads);
    char *const argv[] = {program, demo, iters, many, g->threads ? option : NULL, threads, NULL};
    char *runs = mem_printf("GEMMAIKU_RUNS=%s", folder);
    static const char *const own[] = {"GEMMAIKU_RUNS=", "TERM=", "NO_COLOR="};
    size_t count = 0, used = 0;
    while (environ[count])
        count++;
    char **env = mem_new(count + 4, sizeof *env);
    for (size_t i = 0; i < count; i++) {
        bool ours = false;
        for (size_t k = 0; k < sizeof own / sizeof *own; k++)
            ours |= strncmp(environ[i], own[k], strlen(own[k])) == 0;
        if (!ours)
            env[used++] = environ[i];
    }
    env[used++] = runs;
    env[used++] = seen;
    env[used++] = term;
    struct terminal t = {.fd = -1, .recent = mem_new(RECENT, 1)};
    *out = (struct bench_latency){.keys = keys < KEYS_MAX ? keys : KEYS_MAX};
    thread_interactive();
    bool ok = start(&t, argv, env, err) && press_keys(&t, out, err);
    if (t.pid > 0)
        finish(&t, out);
    if (t.fd >= 0)
        close(t.fd);
    mem_free(t.recent);
    mem_free(env);
    mem_free(runs);
    return dir_remove(folder, ok ? err : NULL) && ok;
}

json_t *bench_latency_json(const struct bench_latency *l)
{
    return json_pack("{s:i, s:{s:f, s:f, s:f}, s:{s:o, s:o}}", "keys", l->keys, "key_to_screen_ms", "p50", 1000 * l->key_p50, "p99", 1000 * l->key_p99, "most",
                     1000 * l->key_most, "ui_thread_late_ms", "p50", isnan(l->late_p50) ? json_null() : json_real(1000 * l->late_p50), "p99",
                     isnan(l->late_p99) ? json_null() : json_real(1000 * l->late_p99));
}

void bench_latency_print(const struct bench_latency *l)
{
    printf("while nano trains, %d keys: half of them on the screen within %.1f ms, 99 %%\nwithin %.1f ms, all within %.1f ms; the thread of the screen is late by %.2f ms,\n99 %% of the times by less than %.2f ms\n",
           l->keys, 1000 * l->key_p50, 1000 * l->key_p99, 1000 * l->key_most, 1000 * l->late_p50, 1000 * l->late_p99);
}
