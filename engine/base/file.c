/* file.c - reading files whole or mapped, names, and the clock. */
#include "engine/base/file.h"

#include "engine/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

/* Opens a regular file for reading and tells its size. O_NONBLOCK: a fifo must not make us wait before we refuse it. */
static int open_regular(const char *path, uint64_t *size, struct gm_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        error_errno(err, "open %s", path);
        return -1;
    }
    struct stat st;
    if (fstat(fd, &st) != 0) {
        error_errno(err, "open %s", path);
    } else if (S_ISDIR(st.st_mode)) {
        error_set(err, GM_E_INPUT, "open %s: it is a directory (name a file)", path);
    } else if (!S_ISREG(st.st_mode)) {
        error_set(err, GM_E_INPUT, "open %s: it is not a regular file (copy it into one)", path);
    } else {
        *size = (uint64_t)st.st_size;
        return fd;
    }
    close(fd);
    return -1;
}

/* Reads exactly n bytes unless the file ends; returns how many, or -1. */
static ssize_t read_full(int fd, char *to, size_t n)
{
    size_t have = 0;
    while (have < n) {
        ssize_t got = read(fd, to + have, n - have);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        have += (size_t)got;
    }
    return (ssize_t)have;
}

bool file_read_all(const char *path, size_t max_bytes, struct str *out, struct gm_error *err)
{
    uint64_t size;
    int fd = open_regular(path, &size, err);
    if (fd < 0)
        return false;
    bool ok = false;
    *out = (struct str){0};
    if (size > max_bytes || size > SIZE_MAX - 2) {
        error_set(err, GM_E_INPUT, "read %s: it has %llu bytes, at most %zu are read here", path, (unsigned long long)size, max_bytes);
    } else {
        size_t cap = (size_t)size + 2; /* the NUL, and one byte more to notice a file that grows */
        char *data = mem_alloc(cap, path, err);
        ssize_t got = data ? read_full(fd, data, cap - 1) : 0;
        if (data && got < 0)
            error_errno(err, "read %s", path);
        else if (data && (uint64_t)got != size)
            error_set(err, GM_E_INPUT, "read %s: its size changed while it was read (try again)", path);
        else
            ok = data != NULL;
        if (ok) {
            data[got] = 0;
            *out = (struct str){.data = data, .len = (size_t)got, .cap = cap};
        } else {
            mem_free(data);
        }
    }
    close(fd);
    return ok;
}

bool file_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && !S_ISDIR(st.st_mode);
}

bool dir_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool path_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

char *path_trimmed(const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    return mem_copy_n(path, n);
}

char *path_join(const char *a, const char *b)
{
    size_t n = strlen(a);
    if (n == 0)
        return mem_copy(b);
    return mem_printf("%s%s%s", a, a[n - 1] == '/' ? "" : "/", b);
}

const char *path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *path_folder(const char *path)
{
    size_t n = (size_t)(path_base(path) - path);
    return n == 0 ? mem_copy(".") : n == 1 ? mem_copy("/") : mem_copy_n(path, n - 1);
}

bool disk_free_bytes(const char *path, uint64_t *bytes, struct gm_error *err)
{
    struct statvfs fs;
    if (statvfs(path, &fs) != 0)
        return error_errno(err, "ask for the free space of %s", path);
    *bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    return true;
}

bool mapping_open(struct mapping *m, const char *path, struct gm_error *err)
{
    *m = (struct mapping){0};
    uint64_t size;
    int fd = open_regular(path, &size, err);
    if (fd < 0)
        return false;
    bool ok = true;
    if (size > SIZE_MAX) {
        ok = error_set(err, GM_E_UNSUPPORTED, "map %s: it has %llu bytes, more than this machine can address", path,
                       (unsigned long long)size);
    } else if (size > 0) {
        void *data = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fd, 0);
        if (data == MAP_FAILED)
            ok = error_errno(err, "map %s", path);
        else
            *m = (struct mapping){.data = data, .size = (size_t)size};
    }
    close(fd);
    if (ok)
        m->path = mem_copy(path);
    return ok;
}

void mapping_close(struct mapping *m)
{
    if (m->data)
        munmap((void *)(uintptr_t)m->data, m->size);
    mem_free(m->path);
    *m = (struct mapping){0};
}

bool file_append_line(int fd, const char *line, size_t n, bool sync, struct gm_error *err)
{
    char *whole = mem_copy_n(line, n);
    whole[n] = '\n'; /* over the NUL: the line goes out in one write(2), torn by nothing but a crash */
    size_t done = 0;
    bool ok = true;
    while (ok && done < n + 1) {
        ssize_t wrote = write(fd, whole + done, n + 1 - done);
        if (wrote < 0 && errno != EINTR)
            ok = error_errno(err, "append a line");
        else if (wrote > 0)
            done += (size_t)wrote;
    }
    mem_free(whole);
#ifdef __APPLE__
    if (ok && sync && fsync(fd) != 0)
#else
    if (ok && sync && fdatasync(fd) != 0)
#endif
        ok = error_errno(err, "flush a line");
    return ok;
}

double clock_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
