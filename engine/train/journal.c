/* journal.c - see journal.h. */
#include "engine/train/journal.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Twelve digits: more than anyone reads, and 0.1 stays 0.1. */
enum {
    PIECE = 65536,
    LINE_MAX_BYTES = 16 << 20,
    FLAGS = JSON_COMPACT | JSON_REAL_PRECISION(12)
};

/* ---- writing ---- */

/* Where the last whole line ends. */
static off_t whole_lines_end(int fd, off_t size)
{
    char piece[4096];
    for (off_t end = size; end > 0;) {
        off_t from = end > (off_t)sizeof piece ? end - (off_t)sizeof piece : 0;
        ssize_t n = pread(fd, piece, (size_t)(end - from), from);
        if (n <= 0)
            return size;
        for (ssize_t i = n; i > 0; i--)
            if (piece[i - 1] == '\n')
                return from + i;
        end = from;
    }
    return 0;
}

bool journal_open(struct journal *j, const char *path, struct gm_error *err)
{
    *j = (struct journal){
        .fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0644)};
    struct stat st;
    if (j->fd < 0 || fstat(j->fd, &st) != 0)
        goto failed;
    off_t end = whole_lines_end(j->fd, st.st_size);
    if (end < st.st_size && ftruncate(j->fd, end) != 0)
        goto failed;
    j->path = mem_copy(path);
    j->size = 1024;
    j->line = mem_new(j->size, 1);
    return true;
failed:
    error_errno(err, "open %s", path);
    if (j->fd >= 0)
        close(j->fd);
    *j = (struct journal){.fd = -1};
    return false;
}

void journal_close(struct journal *j)
{
    if (!j->path)
        return;
    close(j->fd);
    mem_free(j->path);
    mem_free(j->line);
    *j = (struct journal){.fd = -1};
}

bool journal_write(struct journal *j, json_t *event, bool sync, struct gm_error *err)
{
    size_t n = json_dumpb(event, j->line, j->size, FLAGS);
    if (n > j->size) {
        size_t size = 2 * n;
        j->line = mem_grow(j->line, j->size, size, 1);
        j->size = size;
        n = json_dumpb(event, j->line, j->size, FLAGS);
    }
    json_decref(event);
    if (n == 0 || n > j->size)
        return error_set(err, GM_E_INPUT, "write %s: the event is no JSON", j->path);
    off_t before = lseek(j->fd, 0, SEEK_END);
    if (file_append_line(j->fd, j->line, n, sync, err))
        return true;
    if (before >= 0 && ftruncate(j->fd, before) != 0) {
        /* half a line stays; readers drop it, and the next opening cuts it off */
    }
    return error_context(err, "write %s", j->path);
}

/* ---- reading ---- */

struct reading {
    const char *path;
    int64_t line;
    bool (*fn)(void *arg, json_t *event);
    void *arg;
    struct gm_error
        bad; /* of the last line, where it was none; an error as soon as another one follows */
};

static bool take_line(struct reading *r, const char *text, size_t n, struct gm_error *err)
{
    r->line++;
    if (r->bad.code != GM_OK) {
        if (err)
            *err = r->bad;
        return false;
    }
    if (n == 0)
        return true;
    json_t *event = json_parse_at(text, n, r->path, r->line, &r->bad);
    if (!event)
        return true; /* a last line that a crash spoilt */
    bool go_on = r->fn(r->arg, event);
    json_decref(event);
    return go_on || error_set(err, GM_E_CANCELLED, "read %s: stopped", r->path);
}

static bool read_lines(int fd, struct reading *r, bool skip_first, struct gm_error *err)
{
    struct str kept = {0};
    char *piece = mem_new(PIECE, 1);
    bool ok = true;
    for (ssize_t n; ok && (n = read(fd, piece, PIECE)) != 0;) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            ok = error_errno(err, "read %s", r->path);
            break;
        }
        const char *p = piece, *end = piece + n;
        for (const char *stop; ok && (stop = memchr(p, '\n', (size_t)(end - p))); p = stop + 1) {
            str_add_n(&kept, p, (size_t)(stop - p));
            if (skip_first)
                skip_first = false;
            else
                ok = take_line(r, str_text(&kept), kept.len, err);
            str_clear(&kept);
        }
        str_add_n(&kept, p, (size_t)(end - p));
        if (kept.len > LINE_MAX_BYTES)
            ok = error_set(err, GM_E_INPUT, "read %s:%" PRId64 ": the line is longer than %d MiB",
                           r->path, r->line + 1, LINE_MAX_BYTES >> 20);
    }
    mem_free(piece);
    str_free(&kept); /* a line without its end is dropped */
    return ok;
}

static bool read_from(const char *path, size_t tail, bool (*fn)(void *arg, json_t *event),
                      void *arg, struct gm_error *err)
{
    struct reading r = {.path = path, .fn = fn, .arg = arg};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        error_errno(err, "open %s", path);
        if (fd >= 0)
            close(fd);
        return false;
    }
    bool ok = S_ISREG(st.st_mode), part = tail > 0 && st.st_size > (off_t)tail;
    if (!ok)
        error_set(err, GM_E_INPUT, "open %s: it is not a regular file", path);
    else if (part && lseek(fd, st.st_size - (off_t)tail, SEEK_SET) < 0)
        ok = error_errno(err, "read %s", path);
    ok = ok && read_lines(fd, &r, part, err);
    close(fd);
    return ok;
}

bool journal_read(const char *path, bool (*fn)(void *arg, json_t *event), void *arg,
                  struct gm_error *err)
{
    return read_from(path, 0, fn, arg, err);
}

bool journal_read_tail(const char *path, size_t bytes, bool (*fn)(void *arg, json_t *event),
                       void *arg, struct gm_error *err)
{
    return read_from(path, bytes, fn, arg, err);
}
