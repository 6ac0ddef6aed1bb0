/* pty.c - forkpty, a small environment of its own, and reading that never blocks for good. */
#include "pty.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

double pty_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void pty_start(struct pty *p, int rows, int cols, const char *const argv[])
{
    struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols};
    if (!p->folder[0]) {
        strcpy(p->folder, "/tmp/gemmaiku-e2e-XXXXXX");
        if (!mkdtemp(p->folder))
            abort();
    }
    p->pid = forkpty(&p->fd, NULL, NULL, &size);
    if (p->pid < 0)
        abort();
    if (p->pid == 0) {
        if (chdir(p->folder) != 0)
            _exit(126);
        setenv("HOME", p->folder, 1);
        unsetenv("XDG_STATE_HOME");
        unsetenv("XDG_CACHE_HOME");
        unsetenv("GEMMAIKU_RUNS");
        unsetenv("NO_COLOR");
        setenv("TERM", "xterm-256color", 1);
        setenv("LC_ALL", "C.UTF-8", 1);
        execv(argv[0], (char *const *)argv);
        _exit(127);
    }
    fcntl(p->fd, F_SETFL, O_NONBLOCK);
}

static void read_some(struct pty *p)
{
    char block[4096];
    ssize_t n;
    while ((n = read(p->fd, block, sizeof block)) > 0) {
        p->bytes += (size_t)n;
        if (p->n_recent + (size_t)n >= sizeof p->recent) { /* the older half goes */
            size_t keep = sizeof p->recent / 2 < p->n_recent ? sizeof p->recent / 2 - 1 : 0;
            memmove(p->recent, p->recent + p->n_recent - keep, keep);
            p->n_recent = keep;
        }
        memcpy(p->recent + p->n_recent, block, (size_t)n);
        p->n_recent += (size_t)n;
    }
}

void pty_drain(struct pty *p, double seconds)
{
    for (double end = pty_now() + seconds; pty_now() < end;) {
        struct pollfd fd = {p->fd, POLLIN, 0};
        if (poll(&fd, 1, seconds < 0.02 ? 1 : 20) > 0 && fd.revents & POLLHUP)
            usleep(20000);
        read_some(p);
    }
}

bool pty_wait(struct pty *p, double seconds)
{
    struct pollfd fd = {p->fd, POLLIN, 0};
    size_t before = p->bytes;
    if (poll(&fd, 1, (int)(1000 * seconds) + 1) > 0 && fd.revents & POLLHUP)
        usleep(20000);
    read_some(p);
    return p->bytes > before;
}

void pty_keys(struct pty *p, const char *keys)
{
    for (size_t n = strlen(keys); n > 0;) {
        ssize_t done = write(p->fd, keys, n);
        if (done > 0) {
            keys += done;
            n -= (size_t)done;
        } else {
            read_some(p);
            usleep(1000);
        }
    }
}

void pty_resize(struct pty *p, int rows, int cols)
{
    struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols};
    ioctl(p->fd, TIOCSWINSZ, &size);
}

static char *read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    char *text = calloc(1, 1 << 20);
    size_t n = fread(text, 1, (1 << 20) - 1, f);
    fclose(f);
    if (n == 0) {
        free(text);
        return NULL;
    }
    return text;
}

const char *pty_screen(struct pty *p)
{
    char path[128], keys[64];
    snprintf(path, sizeof path, "%s/shot-%d", p->folder, p->shots);
    snprintf(keys, sizeof keys, ":shot shot-%d\r", p->shots++);
    pty_drain(p, 0.1);
    pty_keys(p, keys);
    for (double end = pty_now() + 5; pty_now() < end;) {
        pty_drain(p, 0.05);
        char *text = read_file(path);
        if (text) {
            free(p->screen);
            p->screen = text;
            return text;
        }
    }
    return NULL;
}

bool pty_wait_screen(struct pty *p, const char *text, double seconds)
{
    for (double end = pty_now() + seconds; pty_now() < end; pty_drain(p, 0.2)) {
        const char *screen = pty_screen(p);
        if (screen && strstr(screen, text))
            return true;
    }
    fprintf(stderr, "never saw \"%s\"; the last screen:\n%s\n", text, p->screen ? p->screen : "(none)");
    return false;
}

bool pty_keys_show(struct pty *p, const char *keys, const char *text, double seconds)
{
    pty_drain(p, 0.1);
    p->n_recent = 0;
    pty_keys(p, keys);
    for (double end = pty_now() + seconds; pty_now() < end; pty_wait(p, end - pty_now()))
        if (memmem(p->recent, p->n_recent, text, strlen(text)))
            return true;
    fprintf(stderr, "\"%s\" never came\n", text);
    return false;
}

int pty_wait_end(struct pty *p, double seconds)
{
    int status;
    for (double end = pty_now() + seconds; pty_now() < end; pty_drain(p, 0.05))
        if (waitpid(p->pid, &status, WNOHANG) == p->pid) {
            close(p->fd);
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
    kill(p->pid, SIGKILL);
    waitpid(p->pid, &status, 0);
    close(p->fd);
    return -1;
}

void pty_clean(struct pty *p)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", p->folder);
    if (p->folder[0] && system(command) != 0)
        fprintf(stderr, "could not remove %s\n", p->folder);
    free(p->screen);
    *p = (struct pty){0};
}
