/* pty.h - drives the program as a person at a terminal does: a pseudo-terminal of a given size, keys in, screens out.
 *
 * The screen is read by the program's own `:shot FILE`, so no terminal emulator is needed. Every wait has a limit; a test that runs into it prints the last screen.
 *
 *     struct pty p;
 *     pty_start(&p, 24, 80, (const char *[]){PROGRAM, "demo", NULL});
 *     pty_wait_screen(&p, "loss", 10);
 *     pty_keys(&p, "q");
 */
#ifndef GM_TESTS_PTY_H
#define GM_TESTS_PTY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct pty {
    pid_t pid;
    int fd;
    char folder[64]; /* a fresh one under /tmp: runs, home, shots */
    char *screen;    /* the last one read */
    int shots;
    size_t bytes;    /* the program wrote so far */
    char recent[16384]; /* the last of them */
    size_t n_recent;
};

void pty_start(struct pty *p, int rows, int cols, const char *const argv[]); /* folder "" : a new one, else that one again */
void pty_keys(struct pty *p, const char *keys);
void pty_resize(struct pty *p, int rows, int cols);
const char *pty_screen(struct pty *p);                                  /* by :shot; NULL when none came within 5 s */
bool pty_wait_screen(struct pty *p, const char *text, double seconds);  /* until a screen holds it */
/* Presses keys and waits until what the program sends holds the text: for what :shot cannot see, because typing it closes it. */
bool pty_keys_show(struct pty *p, const char *keys, const char *text, double seconds);
bool pty_wait(struct pty *p, double seconds);                           /* until anything comes, and takes it; false: nothing came */
void pty_drain(struct pty *p, double seconds);                          /* reads what comes, for so long */
int pty_wait_end(struct pty *p, double seconds);                        /* exit status; 128 + signal; -1: still there (killed then) */
void pty_clean(struct pty *p);                                          /* removes the folder */
double pty_now(void);

#endif
