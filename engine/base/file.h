/* file.h - files appear whole or not at all.
 *
 * Reading checks sizes before allocation; writing goes to a temporary name in the same directory, is flushed, renamed, and the
 * directory is flushed. Errors name the path and carry a remedy where there is one (disk full). Threads: any.
 */
#ifndef GM_BASE_FILE_H
#define GM_BASE_FILE_H

#include "engine/base/error.h"
#include "engine/base/str.h"

#include <stdint.h>

bool file_read_all(const char *path, size_t max_bytes, struct str *out, struct gm_error *err); /* refuses dirs, fifos */
bool file_exists(const char *path);
bool dir_exists(const char *path);
bool path_exists(const char *path); /* either */
bool dir_make(const char *path, struct gm_error *err);        /* with parents */
bool dir_sync(const char *path, struct gm_error *err);        /* fsync of a directory */
/* Removes a directory tree that this program made. Does not follow links. */
bool dir_remove(const char *path, struct gm_error *err);
/* Names in a directory, sorted bytewise, without "." and "..". Free each with mem_free and the array with mem_free. */
bool dir_list(const char *path, char ***names, size_t *count, struct gm_error *err);
char *path_join(const char *a, const char *b);                 /* mem_free */
char *path_trimmed(const char *path);                          /* a copy without slashes at the end ("/" stays); mem_free */
const char *path_base(const char *path);                       /* after the last '/' */
char *path_folder(const char *path);                           /* before it; "." where there is none. mem_free */
bool disk_free_bytes(const char *path, uint64_t *bytes, struct gm_error *err);

/* A read-only mapping of a whole file. A file that shrinks under it would raise SIGBUS: the size is checked at open. */
struct mapping {
    const unsigned char *data;
    size_t size;
    char *path;
};
bool mapping_open(struct mapping *m, const char *path, struct gm_error *err); /* empty file: data NULL, size 0, true */
void mapping_close(struct mapping *m);

/* Atomic replacement of one file.
 *     struct writer w;
 *     if (!writer_open(&w, path, err)) return false;
 *     writer_write(&w, bytes, n);              // errors are kept until the end
 *     return writer_commit(&w, err);           // or writer_abort(&w)
 */
struct writer {
    int fd;
    char *path, *temp;
    unsigned char *buffer;
    size_t used;
    uint64_t written;
    int failed_errno;
};
bool writer_open(struct writer *w, const char *path, struct gm_error *err);
void writer_write(struct writer *w, const void *bytes, size_t n);
bool writer_commit(struct writer *w, struct gm_error *err);
void writer_abort(struct writer *w);
bool file_replace(const char *path, const void *bytes, size_t n, struct gm_error *err); /* the three in one */
bool file_replace_in(const char *folder, const char *name, const void *bytes, size_t n, struct gm_error *err);

/* Appends one line (adds '\n') with a single write(2); `sync` adds fdatasync. For journals. */
bool file_append_line(int fd, const char *line, size_t n, bool sync, struct gm_error *err);

/* A LOCK file held by flock for as long as the process lives. Busy: GM_E_BUSY naming the owner's pid. */
struct lock {
    int fd;
    char *path;
};
bool lock_take(struct lock *l, const char *path, struct gm_error *err);
void lock_release(struct lock *l);

bool sha256_file(const char *path, char hex[65], uint64_t *bytes, struct gm_error *err); /* read in pieces: no page of it stays; bytes may be NULL */
void sha256_bytes(const void *bytes, size_t n, char hex[65]);
double clock_seconds(void); /* monotonic */

#endif
