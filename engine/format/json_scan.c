/* json_scan.c - the walk over JSON text. */
#include "engine/format/json_scan.h"

#include "engine/format/json.h"

#include <stdio.h>
#include <string.h>

struct json_scan json_scan_begin(const char *text, size_t n, const char *label, size_t base,
                                 struct gm_error *err)
{
    return (struct json_scan){
        .label = label, .text = text, .p = text, .end = text + n, .base = base, .err = err};
}

bool scan_fail(struct json_scan *s, enum gm_code code, const char *format, ...)
{
    if (s->failed)
        return false;
    s->failed = true;
    char fact[600];
    va_list args;
    va_start(args, format);
    vsnprintf(fact, sizeof fact, format, args);
    va_end(args);
    return error_set(s->err, code, "read %s: at byte %zu: %s", s->label,
                     s->base + (size_t)(s->p - s->text), fact);
}

static bool expected(struct json_scan *s, const char *what)
{
    if (s->p >= s->end)
        return scan_fail(
            s, GM_E_INPUT,
            "the text ends where %s should stand (it is cut short: copy the file again)", what);
    return scan_fail(s, GM_E_INPUT, "%s should stand here (the file is damaged: copy it again)",
                     what);
}

char scan_peek(struct json_scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\t' || *s->p == '\r'))
        s->p++;
    return s->p < s->end ? *s->p : 0;
}

static bool take(struct json_scan *s, char c, const char *what)
{
    if (s->failed)
        return false;
    if (scan_peek(s) != c || s->p >= s->end)
        return expected(s, what);
    s->p++;
    return true;
}

static bool enter(struct json_scan *s, char open, char close, const char *what)
{
    if (!take(s, open, what))
        return false;
    if (scan_peek(s) != close)
        return true;
    s->p++;
    return false;
}

bool scan_object(struct json_scan *s)
{
    return enter(s, '{', '}', "an object, '{',");
}
bool scan_array(struct json_scan *s)
{
    return enter(s, '[', ']', "an array, '[',");
}

bool scan_more(struct json_scan *s, char close)
{
    if (s->failed)
        return false;
    char c = scan_peek(s);
    if (c != ',' && c != close)
        return expected(s, close == '}' ? "',' or '}'" : "',' or ']'");
    s->p++;
    return c == ',';
}

bool scan_key(struct json_scan *s, struct str *out)
{
    return scan_string(s, out) && take(s, ':', "':'");
}

/* Four hex digits after "\u". */
static bool hex4(struct json_scan *s, uint32_t *out)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        int digit = s->p < s->end ? hex_digit(*s->p) : -1;
        if (digit < 0)
            return expected(s, "a hexadecimal digit");
        v = v * 16 + (uint32_t)digit;
        s->p++;
    }
    *out = v;
    return true;
}

static bool unicode_escape(struct json_scan *s, struct str *out)
{
    uint32_t c, low;
    if (!hex4(s, &c))
        return false;
    if (c == 0)
        return scan_fail(s, GM_E_INPUT, "a NUL character inside a string (names cannot hold one)");
    if (c >= 0xDC00 && c < 0xE000)
        return scan_fail(s, GM_E_INPUT, "half a surrogate pair in a string (write the whole pair)");
    if (c >= 0xD800 && c < 0xDC00) {
        if (s->end - s->p < 2 || s->p[0] != '\\' || s->p[1] != 'u')
            return scan_fail(s, GM_E_INPUT,
                             "half a surrogate pair in a string (write the whole pair)");
        s->p += 2;
        if (!hex4(s, &low))
            return false;
        if (low < 0xDC00 || low >= 0xE000)
            return scan_fail(s, GM_E_INPUT,
                             "half a surrogate pair in a string (write the whole pair)");
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
    }
    str_add_utf8(out, c);
    return true;
}

static bool escape(struct json_scan *s, struct str *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char c = s->p < s->end ? *s->p : 0;
    if (c == 'u') {
        s->p++;
        return unicode_escape(s, out);
    }
    const char *known = c ? strchr(from, c) : NULL;
    if (!known)
        return expected(s, "a known escape");
    s->p++;
    str_add_char(out, to[known - from]);
    return true;
}

bool scan_string(struct json_scan *s, struct str *out)
{
    str_clear(out);
    if (!take(s, '"', "a string"))
        return false;
    while (s->p < s->end) {
        const char *from = s->p;
        while (s->p < s->end && (unsigned char)*s->p >= 0x20 && *s->p != '"' && *s->p != '\\')
            s->p++;
        if (s->p > from && !utf8_valid(from, (size_t)(s->p - from)))
            return scan_fail(
                s, GM_E_INPUT,
                "the string that ends here is not UTF-8 (the file is damaged: copy it again)");
        str_add_n(out, from, (size_t)(s->p - from));
        if (s->p >= s->end)
            break;
        char c = *s->p++;
        if (c == '"')
            return true;
        if (c != '\\') {
            s->p--;
            return scan_fail(
                s, GM_E_INPUT,
                "a raw control character inside a string (the file is damaged: copy it again)");
        }
        if (!escape(s, out))
            return false;
    }
    return expected(s, "the end of a string");
}

bool scan_u64(struct json_scan *s, uint64_t *out)
{
    if (s->failed)
        return false;
    uint64_t v = 0;
    char first = scan_peek(s);
    if (first < '0' || first > '9')
        return expected(s, "a whole number without a sign");
    const char *from = s->p;
    for (; s->p < s->end && *s->p >= '0' && *s->p <= '9'; s->p++)
        if (__builtin_mul_overflow(v, 10u, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*s->p - '0'), &v))
            return scan_fail(
                s, GM_E_INPUT,
                "a number that does not fit 64 bits (the file is damaged: copy it again)");
    if ((first == '0' && s->p - from > 1) ||
        (s->p < s->end && (*s->p == '.' || *s->p == 'e' || *s->p == 'E')))
        return expected(s, "a whole number");
    *out = v;
    return true;
}

static void digits(struct json_scan *s)
{
    while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
        s->p++;
}

static bool skip_number(struct json_scan *s)
{
    if (*s->p == '-')
        s->p++;
    const char *from = s->p;
    digits(s);
    if (s->p == from || (*from == '0' && s->p - from > 1))
        return expected(s, "a number");
    if (s->p < s->end && *s->p == '.') {
        from = ++s->p;
        digits(s);
        if (s->p == from)
            return expected(s, "a digit");
    }
    if (s->p < s->end && (*s->p == 'e' || *s->p == 'E')) {
        s->p++;
        if (s->p < s->end && (*s->p == '+' || *s->p == '-'))
            s->p++;
        from = s->p;
        digits(s);
        if (s->p == from)
            return expected(s, "a digit");
    }
    return true;
}

static bool skip_word(struct json_scan *s)
{
    static const char *const words[] = {"true", "false", "null"};
    for (int i = 0; i < 3; i++) {
        size_t n = strlen(words[i]);
        if ((size_t)(s->end - s->p) >= n && memcmp(s->p, words[i], n) == 0) {
            s->p += n;
            return true;
        }
    }
    return expected(s, "a value");
}

static bool skip_value(struct json_scan *s, struct str *scratch, int depth)
{
    if (depth > JSON_DEPTH_MAX)
        return scan_fail(s, GM_E_INPUT,
                         "nested deeper than %d levels (the file is damaged: copy it again)",
                         JSON_DEPTH_MAX);
    char c = scan_peek(s);
    if (c == '"')
        return scan_string(s, scratch);
    if (c == '{') {
        for (bool more = scan_object(s); more; more = scan_more(s, '}'))
            if (!scan_key(s, scratch) || !skip_value(s, scratch, depth + 1))
                return false;
        return !s->failed;
    }
    if (c == '[') {
        for (bool more = scan_array(s); more; more = scan_more(s, ']'))
            if (!skip_value(s, scratch, depth + 1))
                return false;
        return !s->failed;
    }
    if (c == '-' || (c >= '0' && c <= '9'))
        return skip_number(s);
    return skip_word(s);
}

bool scan_skip(struct json_scan *s)
{
    struct str scratch = {0};
    bool ok = !s->failed && skip_value(s, &scratch, 1);
    str_free(&scratch);
    return ok;
}

bool scan_end(struct json_scan *s)
{
    if (s->failed)
        return false;
    scan_peek(s);
    return s->p == s->end || expected(s, "the end of the text");
}
