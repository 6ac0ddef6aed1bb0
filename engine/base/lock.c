/* lock.c - one owner of a directory, by flock on a LOCK file. The kernel drops the lock with the process, however it ends, so there
 * is no stale lock to clean up; the file stays, because removing it would let two processes hold locks on two files of one name. */
#include "engine/base/file.h"

#include "engine/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* The pid in the file, 0 when there is none. */
static long read_owner(int fd)
{
    char text[32] = {0};
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    long pid = n > 0 ? strtol(text, NULL, 10) : 0;
    return pid > 0 ? pid : 0;
}

static bool refuse_busy(int fd, const char *path, struct gm_error *err)
{
    long owner = read_owner(fd);
    if (owner > 0)
        return error_set(err, GM_E_BUSY, "lock %s: process %ld holds it (stop that process, or wait for it)", path, owner);
    return error_set(err, GM_E_BUSY, "lock %s: another process holds it (stop that process, or wait for it)", path);
}

bool lock_take(struct lock *l, const char *path, struct gm_error *err)
{
    *l = (struct lock){.fd = -1};
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return error_errno(err, "lock %s", path);
    int got;
    do
        got = flock(fd, LOCK_EX | LOCK_NB);
    while (got != 0 && errno == EINTR);
    struct stat mine, named;
    bool ok = got == 0;
    if (!ok && errno == EWOULDBLOCK)
        refuse_busy(fd, path, err);
    else if (!ok)
        error_errno(err, "lock %s", path);
    else if (fstat(fd, &mine) != 0 || stat(path, &named) != 0 || mine.st_ino != named.st_ino || mine.st_dev != named.st_dev)
        ok = error_set(err, GM_E_BUSY, "lock %s: the file was replaced meanwhile (try again)", path);
    if (ok) {
        char text[32];
        int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
        if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)n, 0) != n)
            ok = error_errno(err, "write %s", path);
    }
    if (!ok) {
        close(fd);
        return false;
    }
    *l = (struct lock){.fd = fd, .path = mem_copy(path)};
    return true;
}

void lock_release(struct lock *l)
{
    if (!l->path)
        return;
    if (ftruncate(l->fd, 0) != 0) {
        /* the pid of a finished process stays in the file: flock alone decides */
    }
    close(l->fd);
    mem_free(l->path);
    *l = (struct lock){.fd = -1};
}
