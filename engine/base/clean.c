/* clean.c - the one cleaning function for untrusted text: what a terminal could take for a command, or what would let
 * a line read differently from how it is stored, becomes a visible mark. One scalar at a time, so that it works into a growing
 * string as well as into a fixed buffer. */
#include "engine/base/str.h"

#include <string.h>

enum { MARK_MAX = 16 }; /* the longest replacement of one scalar: four bytes as \xNN */

/* Unicode 15, General_Category Cc, and those of Cf/Zl/Zp that move text about or hide in it. U+200C and U+200D stay: scripts and
 * emoji need them. */
static bool is_harmful(uint32_t c, bool keep_lines)
{
    if (c < 0x20)
        return !(keep_lines && (c == '\n' || c == '\t'));
    return (c >= 0x7F && c <= 0x9F)         /* DEL, C1 */
        || c == 0x061C                      /* Arabic letter mark */
        || c == 0x200B                      /* zero width space */
        || c == 0x200E || c == 0x200F       /* directional marks */
        || (c >= 0x2028 && c <= 0x202E)     /* line and paragraph separators, embeddings, overrides */
        || (c >= 0x2066 && c <= 0x206F)     /* isolates, deprecated format characters */
        || c == 0xFEFF                      /* byte order mark */
        || (c >= 0xFFF9 && c <= 0xFFFB);    /* interlinear annotation */
}

/* Writes the clean form of the scalar at *p to out, moves *p behind it, returns the number of bytes written. */
static size_t clean_one(const char **p, const char *end, bool keep_lines, bool escape, char out[MARK_MAX])
{
    static const char digits[] = "0123456789ABCDEF";
    const char *from = *p;
    uint32_t scalar;
    int n = utf8_decode(from, end, &scalar);
    *p += n;
    bool invalid = scalar == 0xFFFD && !(n == 3 && memcmp(from, "\xEF\xBF\xBD", 3) == 0);
    if (!invalid && !is_harmful(scalar, keep_lines)) {
        memcpy(out, from, (size_t)n);
        return (size_t)n;
    }
    if (!escape) {
        memcpy(out, "\xEF\xBF\xBD", 3);
        return 3;
    }
    size_t used = 0;
    for (int i = 0; i < n; i++) {
        unsigned char byte = (unsigned char)from[i];
        out[used++] = '\\';
        out[used++] = 'x';
        out[used++] = digits[byte >> 4];
        out[used++] = digits[byte & 15];
    }
    return used;
}

void text_clean(struct str *out, const char *bytes, size_t n, bool keep_lines, bool escape)
{
    const char *p = bytes, *end = bytes + n;
    str_add_n(out, "", 0);
    while (p < end) {
        const char *plain = p; /* a run of printable ASCII is copied at once */
        while (p < end && *p >= 0x20 && *p < 0x7F)
            p++;
        str_add_n(out, plain, (size_t)(p - plain));
        if (p < end) {
            char mark[MARK_MAX];
            size_t used = clean_one(&p, end, keep_lines, escape, mark);
            str_add_n(out, mark, used);
        }
    }
}

size_t text_clean_fixed(char *out, size_t size, const char *bytes, size_t n)
{
    size_t used = 0;
    const char *p = bytes, *end = bytes + n;
    while (p < end) {
        char mark[MARK_MAX];
        size_t add = clean_one(&p, end, false, false, mark);
        if (used + add + 1 > size)
            break;
        memcpy(out + used, mark, add);
        used += add;
    }
    if (size > 0)
        out[used] = 0;
    return used;
}
