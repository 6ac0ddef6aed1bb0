/* error.c - building error texts in a fixed buffer: works with no memory left, and never lets a control byte through. */
#include "engine/base/error.h"

#include "engine/base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { RAW = 2048 }; /* room for a text before it is cleaned and cut */

/* Appends cleaned bytes at `used`; returns the new length. A text that does not fit is cut between characters. */
static size_t append(char *text, size_t size, size_t used, const char *more)
{
    return used + text_clean_fixed(text + used, size - used, more, strlen(more));
}

/* strerror is not promised to be thread-safe; its _r form comes with two signatures. */
static const char *describe(int number, char *buffer, size_t size)
{
#if defined(__GLIBC__)
    return strerror_r(number, buffer, size);
#else
    if (strerror_r(number, buffer, size) != 0)
        snprintf(buffer, size, "error %d", number);
    return buffer;
#endif
}

/* What a person can do about an errno, whichever call it came from; NULL when that depends on the call. */
static const char *usual_remedy(int number)
{
    switch (number) {
    case ENOSPC:
    case EDQUOT: return "free disk space";
    case EFBIG: return "raise the file size limit, ulimit -f";
    case EROFS: return "choose a directory on a writable file system";
    case EMFILE: return "raise the limit of open files, ulimit -n";
    default: return NULL;
    }
}

bool error_set(struct gm_error *err, enum gm_code code, const char *format, ...)
{
    if (!err)
        return false;
    char raw[RAW];
    va_list args;
    va_start(args, format);
    vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    err->code = code;
    append(err->text, sizeof err->text, 0, raw);
    return false;
}

bool error_errno(struct gm_error *err, const char *format, ...)
{
    int number = errno; /* before anything below can change it */
    if (!err)
        return false;
    char raw[RAW], reason[256];
    va_list args;
    va_start(args, format);
    vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    err->code = GM_E_IO;
    size_t used = append(err->text, sizeof err->text, 0, raw);
    used = append(err->text, sizeof err->text, used, ": ");
    append(err->text, sizeof err->text, used, describe(number, reason, sizeof reason));
    const char *remedy = usual_remedy(number);
    if (remedy)
        error_remedy(err, "%s", remedy);
    errno = number;
    return false;
}

bool error_context(struct gm_error *err, const char *format, ...)
{
    if (!err)
        return false;
    char raw[RAW], inner[sizeof err->text];
    va_list args;
    va_start(args, format);
    vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    memcpy(inner, err->text, sizeof inner);
    size_t used = append(err->text, sizeof err->text, 0, raw);
    used = append(err->text, sizeof err->text, used, ": ");
    bool said = strncmp(inner, err->text, used) == 0; /* the inner layer knew the file already */
    append(err->text, sizeof err->text, said ? 0 : used, inner);
    return false;
}

bool error_remedy(struct gm_error *err, const char *format, ...)
{
    if (!err)
        return false;
    size_t used = strlen(err->text);
    if (used > 0 && err->text[used - 1] == ')')
        return false;
    char raw[RAW];
    va_list args;
    va_start(args, format);
    vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    used = append(err->text, sizeof err->text, used, " (");
    used = append(err->text, sizeof err->text, used, raw);
    append(err->text, sizeof err->text, used, ")");
    return false;
}
