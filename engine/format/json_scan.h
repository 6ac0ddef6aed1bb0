/* json_scan.h - walking over JSON text without building a tree: for headers and vocabularies whose
 * tree would need many times the file.
 *
 * The caller drives: begin an object, take keys, read or skip values. The first error is kept,
 * names the byte, and every later call says false, so that a walk may check at its end. UTF-8,
 * escapes, surrogates, numbers are checked as JSON has them; NUL in strings is refused. Depth of
 * skipped values is limited (JSON_DEPTH_MAX). Threads: one walk, one thread.
 *
 *     struct json_scan s = json_scan_begin(bytes, n, label, 8, err);
 *     struct str key = {0};
 *     for (bool more = scan_object(&s); more && scan_key(&s, &key); more = scan_more(&s, '}'))
 *         if (!scan_skip(&s)) break;
 *     bool ok = scan_end(&s);      // nothing but blanks after the value, and no error
 *     str_free(&key);
 */
#ifndef GM_FORMAT_JSON_SCAN_H
#define GM_FORMAT_JSON_SCAN_H

#include "engine/base/error.h"
#include "engine/base/str.h"

struct json_scan {
    const char *label;
    const char *text, *p, *end;
    size_t base; /* place of text[0] in the file: added to the byte in errors */
    bool failed;
    struct gm_error *err;
};

struct json_scan json_scan_begin(const char *text, size_t n, const char *label, size_t base,
                                 struct gm_error *err);
/* Enters an object or array: true when it has a first member. False: it is empty, or an error
 * (s->failed). */
bool scan_object(struct json_scan *s);
bool scan_array(struct json_scan *s);
bool scan_key(struct json_scan *s, struct str *out); /* the string and its ':' */
/* After a member: true when a ',' follows; false when `close` was taken, or on error. */
bool scan_more(struct json_scan *s, char close);
bool scan_string(struct json_scan *s,
                 struct str *out); /* out is cleared first; unescaped, never holds NUL */
bool scan_u64(struct json_scan *s, uint64_t *out); /* digits alone: no sign, fraction, exponent */
bool scan_skip(struct json_scan *s);               /* any value */
char scan_peek(struct json_scan *s); /* the next byte that is no blank; 0 at the end */
bool scan_end(struct json_scan *s);
/* Error at the current byte: "read LABEL: at byte N: ...". Returns false. Only the first one
 * counts. */
bool scan_fail(struct json_scan *s, enum gm_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
