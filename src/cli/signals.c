/* signals.c - a signal sets a flag and writes a byte; what happens then is decided by who polls. */
#include "src/cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

static volatile sig_atomic_t caught, interrupts;
static void (*volatile before_exit)(void);
static int pipe_ends[2] = {-1, -1};
static atomic_bool *_Atomic interrupt_flag;

static void on_signal(int number)
{
    int saved = errno;
    if (number == SIGINT && interrupts++ > 0) { /* asked twice: a person does not want to wait for the saving */
        if (before_exit)
            before_exit();
        _exit(130);
    }
    if (!caught)
        caught = number;
    atomic_bool *flag = atomic_load(&interrupt_flag);
    if (flag)
        atomic_store(flag, true);
    char byte = (char)number;
    if (write(pipe_ends[1], &byte, 1) < 0) {
        /* the pipe is full: somebody is already awake */
    }
    errno = saved;
}

static void on_window(int number)
{
    int saved = errno;
    char byte = (char)number;
    if (write(pipe_ends[1], &byte, 1) < 0) {
        /* somebody is already awake */
    }
    errno = saved;
}

void signals_watch_window(void)
{
    struct sigaction action = {.sa_handler = on_window, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGWINCH, &action, NULL);
    sigaction(SIGCONT, &action, NULL);
    sigaction(SIGTSTP, &action, NULL);
}

int signals_thread(pthread_t *thread, void *(*run)(void *), void *arg)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    sigset_t mine, before;
    sigfillset(&mine);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        sigdelset(&mine, faults[i]); /* whoever crashes: the terminal is put right */
    pthread_sigmask(SIG_BLOCK, &mine, &before);
    int failed = pthread_create(thread, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

void signals_before_exit(void (*fn)(void)) { before_exit = fn; }

void signals_install(void)
{
    if (pipe_ends[0] >= 0 || pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK) != 0)
        return;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    struct sigaction before;
    sigaction(SIGHUP, NULL, &before);
    if (before.sa_handler != SIG_IGN) /* nohup: stay deaf */
        sigaction(SIGHUP, &action, NULL);
}

/* ---- a thread that waits for the first signal, for those who compute meanwhile ---- */

static struct watch {
    pthread_t thread;
    void (*fn)(void *arg);
    void *arg;
    bool runs;
} watch;

static void *watch_thread(void *unused)
{
    struct pollfd fd = {pipe_ends[0], POLLIN, 0};
    char byte;
    for (;;) {
        poll(&fd, 1, -1);
        if (read(pipe_ends[0], &byte, 1) != 1)
            continue;
        if (byte == 0)
            return unused;
        watch.fn(watch.arg);
    }
}

void signals_watch(void (*fn)(void *arg), void *arg)
{
    watch = (struct watch){.fn = fn, .arg = arg};
    watch.runs = signals_thread(&watch.thread, watch_thread, NULL) == 0;
}

void signals_unwatch(void)
{
    if (!watch.runs)
        return;
    while (write(pipe_ends[1], "", 1) != 1)
        ; /* full of signals: the thread is reading */
    pthread_join(watch.thread, NULL);
    watch.runs = false;
}

int signals_caught(void) { return caught; }
void signals_clear(void) { caught = interrupts = 0; }
void signals_on_interrupt(atomic_bool *flag) { atomic_store(&interrupt_flag, flag); }
int signals_exit(int number) { return 128 + number; }
int signals_pipe(void) { return pipe_ends[0]; }
