/* yaml_scalar.c - YAML's single values: plain words, quoted text, literal and folded text. */
#include "engine/format/yaml_private.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Line breaks inside of a flowing text: one is a blank, n + 1 are n breaks (YAML 1.2.2, 6.5). */
static void add_breaks(struct str *out, int breaks)
{
    if (breaks == 1)
        str_add_char(out, ' ');
    for (int i = 1; i < breaks; i++)
        str_add_char(out, '\n');
}

static void trim_end(struct str *out, size_t from)
{
    while (out->len > from && (out->data[out->len - 1] == ' ' || out->data[out->len - 1] == '\t'))
        out->data[--out->len] = 0;
}

/* At a break: over it and the empty lines behind it, to the first character of the next line with one. Counts the breaks. */
static int take_breaks(struct yaml *y)
{
    int breaks = 0;
    while (y->p < y->end && yaml_at_break(y)) {
        yaml_next_line(y);
        breaks++;
        yaml_skip_blanks(y);
    }
    return breaks;
}

/* ---- quotes ---- */

static bool hex_escape(struct yaml *y, int digits, uint32_t *out)
{
    uint32_t x = 0;
    for (int i = 0; i < digits; i++, y->p++) {
        if (y->p == y->end || hex_digit(*y->p) < 0)
            return yaml_fail(y, "an escape of %d hexadecimal digits is cut short", digits);
        x = x << 4 | (uint32_t)hex_digit(*y->p);
    }
    *out = x;
    return true;
}

/* Behind a backslash. */
static bool escape(struct yaml *y, struct str *out)
{
    static const char names[] = "abtnvfre \"/\\\t", values[] = "\a\b\t\n\v\f\r\033 \"/\\\t";
    char c = *y->p++;
    uint32_t scalar, low;
    const char *at = c ? strchr(names, c) : NULL;
    if (at) {
        str_add_char(out, values[at - names]);
        return true;
    }
    switch (c) {
    case 'N':
        scalar = 0x85;
        break;
    case '_':
        scalar = 0xa0;
        break;
    case 'L':
        scalar = 0x2028;
        break;
    case 'P':
        scalar = 0x2029;
        break;
    case 'x':
    case 'u':
    case 'U':
        if (!hex_escape(y, c == 'x' ? 2 : c == 'u' ? 4 : 8, &scalar))
            return false;
        if (scalar >= 0xd800 && scalar < 0xdc00 && c == 'u' && y->end - y->p > 2 && y->p[0] == '\\' && y->p[1] == 'u') { /* JSON's pairs */
            y->p += 2;
            if (!hex_escape(y, 4, &low))
                return false;
            if (low >= 0xdc00 && low < 0xe000)
                scalar = 0x10000 + ((scalar - 0xd800) << 10) + (low - 0xdc00);
        }
        break;
    default:
        return yaml_fail(y, "\"\\%c\" is no escape (write \\\\ for a backslash)", isprint((unsigned char)c) ? c : '?');
    }
    if (scalar == 0 || scalar > 0x10ffff || (scalar >= 0xd800 && scalar < 0xe000))
        return yaml_fail(y, "an escape names no character");
    str_add_utf8(out, scalar);
    return true;
}

bool yaml_quoted(struct yaml *y, struct str *out)
{
    char quote = *y->p++;
    int began = y->line;
    size_t kept = 0; /* blanks before it stand: they were escaped, or text follows */
    while (y->p < y->end) {
        if (yaml_at_break(y)) {
            trim_end(out, kept);
            add_breaks(out, take_breaks(y));
            kept = out->len;
            if (yaml_at_marker(y))
                break;
        } else if (*y->p == quote && quote == '\'' && y->p + 1 < y->end && y->p[1] == '\'') {
            str_add_char(out, '\'');
            y->p += 2;
        } else if (*y->p == quote) {
            y->p++;
            return true;
        } else if (*y->p == '\\' && quote == '"') {
            y->p++;
            if (yaml_at_break(y)) { /* the line goes on without a blank */
                int breaks = take_breaks(y);
                add_breaks(out, breaks > 1 ? breaks : 0);
            } else if (!escape(y, out)) {
                return false;
            }
            kept = out->len;
        } else {
            str_add_char(out, *y->p++);
        }
    }
    y->line = began;
    return yaml_fail(y, "the quote that begins here is never closed");
}

/* ---- plain ---- */

static bool plain_ends(const struct yaml *y, bool flow)
{
    if (*y->p == ':' && (yaml_blank_at(y, y->p + 1) || (flow && strchr(",[]{}", y->p[1]))))
        return true;
    return flow && strchr(",[]{}", *y->p);
}

bool yaml_plain(struct yaml *y, int indent, bool flow, struct str *out)
{
    if (y->p < y->end && strchr("-?:", *y->p) && (yaml_blank_at(y, y->p + 1) || (flow && strchr(",[]{}", y->p[1]))))
        return yaml_fail(y, "\"%c\" stands where a value should (put the text in quotes)", *y->p);
    if (y->p < y->end && strchr(flow ? ",[]{}#|>" : ",]}#", *y->p))
        return yaml_fail(y, "\"%c\" stands where a value should (put the text in quotes)", *y->p);
    for (;;) {
        size_t from = out->len;
        while (!yaml_at_break(y) && !plain_ends(y, flow)) {
            if (*y->p == '#' && (y->p[-1] == ' ' || y->p[-1] == '\t'))
                break;
            str_add_char(out, *y->p++);
        }
        bool broken = yaml_at_break(y) && y->p < y->end;
        const char *stop = y->p;
        trim_end(out, from);
        if (!broken)
            return true;
        struct yaml ahead = *y; /* do lines follow that belong to it? */
        int breaks = take_breaks(&ahead);
        bool more = ahead.p < ahead.end && yaml_column(&ahead) > indent && *ahead.p != '#' && !yaml_at_marker(&ahead);
        if (flow)
            more = more && !strchr(",[]{}:", *ahead.p);
        if (!more) {
            y->p = stop;
            return true;
        }
        if (!flow && memchr(ahead.line_start, '\t', (size_t)(ahead.p - ahead.line_start)) && yaml_column(&ahead) > 0) {
            *y = ahead;
            return yaml_fail(y, "a tab indents this line (YAML wants spaces)");
        }
        *y = ahead;
        add_breaks(out, breaks);
    }
}

static bool is_one_of(const char *word, const char *const *list)
{
    for (; *list; list++)
        if (strcasecmp(word, *list) == 0)
            return true;
    return false;
}

/* Digits with '_' between them, as PyYAML takes them, copied without. False: something else. */
static bool digits_only(const char *p, const char *digits, struct str *out)
{
    if (!*p || *p == '_')
        return false;
    for (; *p; p++) {
        if (*p == '_')
            continue;
        if (!strchr(digits, *p))
            return false;
        str_add_char(out, *p);
    }
    return true;
}

/* [-+]? (digits [. digits] | . digits) [e [-+] digits] */
static bool is_real(const char *p)
{
    bool digits = false;
    p += *p == '-' || *p == '+';
    for (; isdigit((unsigned char)*p) || (*p == '_' && digits); p++)
        digits = true;
    if (*p == '.')
        for (p++; isdigit((unsigned char)*p) || *p == '_'; p++)
            digits = digits || *p != '_';
    if (digits && (*p == 'e' || *p == 'E')) {
        p++;
        p += *p == '-' || *p == '+';
        if (!isdigit((unsigned char)*p))
            return false;
        while (isdigit((unsigned char)*p))
            p++;
    }
    return digits && !*p;
}

static json_t *resolve_number(struct yaml *y, const char *word, bool *no_number)
{
    const char *body = word + (*word == '-' || *word == '+');
    struct str digits = {0};
    json_t *value = NULL;
    *no_number = false;
    bool hex = body[0] == '0' && (body[1] == 'x' || body[1] == 'X');
    errno = 0;
    if (hex ? digits_only(body + 2, "0123456789abcdefABCDEF", &digits) : digits_only(body, "0123456789", &digits)) {
        unsigned long long x = strtoull(str_text(&digits), NULL, hex ? 16 : 10);
        if (!hex && digits.len > 1 && digits.data[0] == '0')
            yaml_fail(y, "\"%.40s\" begins with 0: some readers take it as octal (write it without the 0, or in quotes)", word);
        else if (errno == ERANGE || x > INT64_MAX)
            yaml_fail(y, "the number %.40s is too large", word);
        else
            value = json_integer(*word == '-' ? -(json_int_t)x : (json_int_t)x);
    } else if (is_real(word)) {
        str_clear(&digits);
        for (const char *p = word; *p; p++)
            if (*p != '_')
                str_add_char(&digits, *p);
        double x = strtod(str_text(&digits), NULL);
        if (isfinite(x))
            value = json_real(x);
        else
            yaml_fail(y, "the number %.40s is too large", word);
    } else {
        *no_number = true;
    }
    str_free(&digits);
    return value;
}

json_t *yaml_resolve(struct yaml *y, const char *word, size_t n)
{
    static const char *const nulls[] = {"", "~", "null", NULL}, *const trues[] = {"true", "yes", "on", NULL},
                             *const falses[] = {"false", "no", "off", NULL},
                             *const endless[] = {".inf", "-.inf", "+.inf", ".nan", NULL};
    if (is_one_of(word, nulls))
        return json_null();
    if (is_one_of(word, trues))
        return json_true();
    if (is_one_of(word, falses))
        return json_false();
    if (is_one_of(word, endless)) {
        yaml_fail(y, "%s is no finite number", word);
        return NULL;
    }
    bool no_number = true;
    json_t *number = strchr("+-.0123456789", *word) ? resolve_number(y, word, &no_number) : NULL;
    return no_number ? json_stringn(word, n) : number;
}

/* ---- | and > ---- */

struct block_head {
    bool folded;
    char chomp;   /* '-' no break at the end, '+' all of them, 0 one */
    int explicit; /* indentation told by a digit; 0: that of the first line with text */
};

static bool read_head(struct yaml *y, struct block_head *h)
{
    *h = (struct block_head){.folded = *y->p++ == '>'};
    for (; !yaml_blank_at(y, y->p); y->p++) {
        if ((*y->p == '-' || *y->p == '+') && !h->chomp)
            h->chomp = *y->p;
        else if (*y->p >= '1' && *y->p <= '9' && !h->explicit)
            h->explicit = *y->p - '0';
        else
            return yaml_fail(y, "\"%.1s\" does not belong behind | or > (only - + and a digit do)", y->p);
    }
    yaml_skip_blanks(y);
    if (*y->p == '#')
        while (!yaml_at_break(y))
            y->p++;
    if (!yaml_at_break(y))
        return yaml_fail(y, "the text of | and > begins on the next line");
    yaml_next_line(y);
    return true;
}

/* Blanks at the start of the line. */
static int line_indent(const struct yaml *y)
{
    const char *p = y->line_start;
    while (p < y->end && *p == ' ')
        p++;
    return (int)(p - y->line_start);
}

static bool line_is_empty(const struct yaml *y)
{
    const char *p = y->line_start + line_indent(y);
    return p == y->end || *p == '\n' || *p == '\r';
}

static int first_indent(const struct yaml *y)
{
    struct yaml ahead = *y;
    while (ahead.p < ahead.end && line_is_empty(&ahead)) {
        while (!yaml_at_break(&ahead))
            ahead.p++;
        yaml_next_line(&ahead);
    }
    return ahead.p < ahead.end ? line_indent(&ahead) : 0;
}

bool yaml_block_text(struct yaml *y, int indent, struct str *out)
{
    struct block_head h;
    if (!read_head(y, &h))
        return false;
    int column = h.explicit ? (indent < 0 ? 0 : indent) + h.explicit : first_indent(y);
    int breaks = 0; /* not written yet */
    bool any = false, held = false; /* held: the line before was indented further, and keeps its breaks */
    while (y->p < y->end) {
        if (line_is_empty(y)) {
            while (!yaml_at_break(y))
                y->p++;
            if (y->p == y->end)
                break;
            breaks++;
            yaml_next_line(y);
            continue;
        }
        if (line_indent(y) < column || column <= indent || yaml_at_marker(y))
            break;
        y->p = y->line_start + column;
        bool more = *y->p == ' ' || *y->p == '\t';
        if (h.folded && any && !more && !held)
            add_breaks(out, breaks);
        else
            for (int i = 0; i < breaks; i++)
                str_add_char(out, '\n');
        while (!yaml_at_break(y))
            str_add_char(out, *y->p++);
        any = true;
        held = more;
        breaks = 0;
        if (y->p == y->end)
            break;
        breaks = 1;
        yaml_next_line(y);
    }
    if (h.chomp == '+')
        for (int i = 0; i < breaks; i++)
            str_add_char(out, '\n');
    else if (h.chomp == 0 && any)
        str_add_char(out, '\n');
    return true;
}
