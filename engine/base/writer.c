/* writer.c - atomic replacement of one file: temporary name beside it, flush, rename, flush of the directory. Who is killed in
 * between leaves the old file and a name `.NAME.tmp-PID-n`. */
#include "engine/base/file.h"

#include "engine/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER = 1 << 20, TRIES = 1000 };

/* The directory of a path, for fsync and for the temporary name. */
static char *parent_of(const char *path)
{
    const char *base = path_base(path);
    if (base == path)
        return mem_copy(".");
    if (base == path + 1)
        return mem_copy("/");
    return mem_copy_n(path, (size_t)(base - path - 1));
}

/* Only a regular file, or none, may be replaced: a rename over /dev/null would be a fine mess. */
static bool may_replace(const char *path, struct gm_error *err)
{
    struct stat st;
    if (path_base(path)[0] == 0)
        return error_set(err, GM_E_USAGE, "write %s: that names a directory (name a file)", path);
    if (stat(path, &st) != 0)
        return true;
    if (S_ISDIR(st.st_mode))
        return error_set(err, GM_E_IO, "write %s: it is a directory (name a file)", path);
    if (!S_ISREG(st.st_mode))
        return error_set(err, GM_E_IO, "write %s: it is not a regular file (name another one)", path);
    return true;
}

bool writer_open(struct writer *w, const char *path, struct gm_error *err)
{
    *w = (struct writer){.fd = -1};
    if (!may_replace(path, err))
        return false;
    char *parent = parent_of(path);
    for (int n = 0; w->fd < 0 && n < TRIES; n++) {
        mem_free(w->temp);
        char *name = mem_printf(".%.200s.tmp-%ld-%d", path_base(path), (long)getpid(), n); /* a name has 255 bytes at most */
        w->temp = path_join(parent, name);
        mem_free(name);
        w->fd = open(w->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (w->fd < 0 && errno != EEXIST)
            break;
    }
    if (w->fd < 0)
        error_errno(err, "write %s", path);
    mem_free(parent);
    if (w->fd < 0) {
        mem_free(w->temp);
        *w = (struct writer){.fd = -1};
        return false;
    }
    struct stat old;
    if (stat(path, &old) == 0 && fchmod(w->fd, old.st_mode & 0777) != 0) {
        /* a file system without permissions has none to keep */
    }
    w->path = mem_copy(path);
    w->buffer = mem_new(BUFFER, 1);
    return true;
}

/* Writes n bytes, or keeps the errno of the first failure. */
static void flush_bytes(struct writer *w, const unsigned char *bytes, size_t n)
{
    while (n > 0 && w->failed_errno == 0) {
        ssize_t wrote = write(w->fd, bytes, n);
        if (wrote < 0 && errno != EINTR)
            w->failed_errno = errno;
        if (wrote > 0) {
            bytes += wrote;
            n -= (size_t)wrote;
        }
    }
}

static void flush_buffer(struct writer *w)
{
    flush_bytes(w, w->buffer, w->used);
    w->used = 0;
}

void writer_write(struct writer *w, const void *bytes, size_t n)
{
    if (n == 0 || w->failed_errno != 0)
        return;
    w->written += n;
    if (n > BUFFER - w->used)
        flush_buffer(w);
    if (n >= BUFFER) {
        flush_bytes(w, bytes, n);
        return;
    }
    memcpy(w->buffer + w->used, bytes, n);
    w->used += n;
}

static void writer_close(struct writer *w)
{
    mem_free(w->path);
    mem_free(w->temp);
    mem_free(w->buffer);
    *w = (struct writer){.fd = -1};
}

/* fsync on macOS does not reach the disk; F_FULLFSYNC does. */
static int flush_to_disk(int fd)
{
#ifdef F_FULLFSYNC
    if (fcntl(fd, F_FULLFSYNC) == 0)
        return 0;
#endif
    return fsync(fd);
}

bool writer_commit(struct writer *w, struct gm_error *err)
{
    flush_buffer(w);
    if (w->failed_errno == 0 && flush_to_disk(w->fd) != 0)
        w->failed_errno = errno;
    if (close(w->fd) != 0 && w->failed_errno == 0 && errno != EINTR)
        w->failed_errno = errno;
    w->fd = -1;
    if (w->failed_errno == 0 && rename(w->temp, w->path) != 0)
        w->failed_errno = errno;
    bool ok = w->failed_errno == 0;
    if (ok) {
        char *parent = parent_of(w->path);
        ok = dir_sync(parent, err);
        mem_free(parent);
        if (!ok)
            error_context(err, "write %s", w->path);
    } else {
        unlink(w->temp);
        errno = w->failed_errno;
        error_errno(err, "write %s", w->path);
    }
    writer_close(w);
    return ok;
}

void writer_abort(struct writer *w)
{
    if (!w->path) /* never opened, committed, or aborted before */
        return;
    close(w->fd);
    unlink(w->temp);
    writer_close(w);
}

bool file_replace(const char *path, const void *bytes, size_t n, struct gm_error *err)
{
    struct writer w;
    if (!writer_open(&w, path, err))
        return false;
    writer_write(&w, bytes, n);
    return writer_commit(&w, err);
}

bool file_replace_in(const char *folder, const char *name, const void *bytes, size_t n, struct gm_error *err)
{
    char *path = path_join(folder, name);
    bool ok = file_replace(path, bytes, n, err);
    mem_free(path);
    return ok;
}
