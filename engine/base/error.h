/* error.h - the error value of the whole engine.
 *
 * Every function that can fail returns false (or NULL) and takes `struct gm_error *err` last. The inner layer states the
 * fact, outer layers put context in front with error_context(), the surface prints it. Text shape:
 *
 *     verb object: fact (remedy)            read model.safetensors: header ends at byte 7 of 8 (copy the file again)
 *
 * Memory: a plain value, owned by the caller, no destructor. `err` may be NULL: then the text is dropped.
 * Threads: a value belongs to one thread.
 *
 *     struct gm_error err = {0};
 *     if (!file_read_all(path, 1 << 20, &text, &err)) { fprintf(stderr, "gemmaiku: %s\n", err.text); return err.code; }
 */
#ifndef GM_BASE_ERROR_H
#define GM_BASE_ERROR_H

#include <stdbool.h>
#include <stddef.h>

enum gm_code {
    GM_OK = 0,
    GM_E_INPUT,       /* a file, a row, a tensor is not what it has to be */
    GM_E_IO,          /* the operating system said no; the text holds strerror */
    GM_E_MEMORY,      /* out of memory, or over a budget */
    GM_E_USAGE,       /* the call or the command line makes no sense */
    GM_E_UNSUPPORTED, /* well-formed, but not handled by this program */
    GM_E_BUSY,        /* somebody else holds the lock */
    GM_E_CANCELLED,   /* the caller asked to stop */
    GM_E_CHECK        /* a check that was asked for said no */
};

struct gm_error {
    enum gm_code code;
    char text[1024]; /* UTF-8, always terminated, never a control byte */
};

/* Sets code and text; returns false, so that `return error_set(err, ...)` reads well. Control bytes are cleaned. */
bool error_set(struct gm_error *err, enum gm_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* As error_set with GM_E_IO and ": strerror(errno)" appended. */
bool error_errno(struct gm_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Puts "context: " in front of what is there, unless it begins so. Returns false. */
bool error_context(struct gm_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Appends " (remedy)" unless the text already ends in one. Returns false. */
bool error_remedy(struct gm_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
