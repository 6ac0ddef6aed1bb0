/* str.h - a growing byte string, and UTF-8.
 *
 *     struct str s = {0};
 *     str_printf(&s, "%d rows", n);  puts(str_text(&s));  str_free(&s);
 */
#ifndef GM_BASE_STR_H
#define GM_BASE_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct str {
    char *data; /* NUL-terminated once anything was added; may hold NUL bytes */
    size_t len, cap;
};

void str_add(struct str *s, const char *text);
void str_add_n(struct str *s, const char *bytes, size_t n);
void str_add_char(struct str *s, char c);
void str_add_utf8(struct str *s, uint32_t scalar);
void str_printf(struct str *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void str_vprintf(struct str *s, const char *format, va_list args);
void str_clear(struct str *s);        /* keeps the memory */
void str_free(struct str *s);
char *str_take(struct str *s);        /* the bytes (never NULL, free with mem_free); s is empty afterwards */
const char *str_text(const struct str *s); /* "" when empty */

bool text_ends(const char *text, const char *tail);
int hex_digit(char c); /* 0..15; -1: it is none */

/* Decodes one scalar at p (end exclusive, p < end). Returns bytes consumed (1..4) and the scalar; an invalid sequence gives
 * U+FFFD and consumes its maximal subpart (1..3 bytes; Unicode 15, table 3-8, as other decoders do). Overlong forms, surrogates
 * and > U+10FFFF are invalid. */
int utf8_decode(const char *p, const char *end, uint32_t *scalar);
int utf8_encode(uint32_t scalar, char out[4]); /* bytes written; scalar must be valid */
bool utf8_valid(const char *p, size_t n);
/* Length of the longest prefix that ends on a complete sequence (an incomplete tail of at most 3 bytes is left out). */
size_t utf8_complete_prefix(const char *p, size_t n);

/* The one cleaning function for untrusted text on its way to the screen, the log and stdout: C0 and C1 control
 * characters, DEL, bidirectional overrides, U+2028/9, invalid UTF-8 become visible marks (U+FFFD, or \xNN when
 * `escape`); '\n' and '\t' are kept when `keep_lines`, else shown as marks. Appends to out. */
void text_clean(struct str *out, const char *bytes, size_t n, bool keep_lines, bool escape);
/* The same into out[size], without lines and escapes, cut between characters when it does not fit. Always terminated (size > 0);
 * returns the length. Allocates nothing. */
size_t text_clean_fixed(char *out, size_t size, const char *bytes, size_t n);

#endif
