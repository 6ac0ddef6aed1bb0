/* jinja_format.c - "{} {name}".format(...) and "%s %5.2f" % (...). */
#include "engine/text/jinja_private.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- braces ---- */

/* The value that {}, {2} or {name} stands for. */
static bool field_value(struct jinja *j, struct jinja_args *a, const struct jinja_string *field,
                        int *next, struct jinja_value *out)
{
    size_t i = 0;
    while (i < field->n && i < 9 && field->bytes[i] >= '0' && field->bytes[i] <= '9')
        i++;
    int position = *next;
    if (field->n == 0)
        (*next)++;
    else if (i == field->n)
        for (position = 0, i = 0; i < field->n; i++)
            position = position * 10 + field->bytes[i] - '0';
    else {
        for (int k = 0; k < a->n_keywords; k++)
            if (jinja_same_text(a->keywords[k].name, field)) {
                *out = a->keywords[k].value;
                return true;
            }
        jinja_unknown(j, "format: {%.*s} is not supported (known are {}, {0}, {name})",
                      (int)(field->n < 40 ? field->n : 40), field->bytes);
        return false;
    }
    if (position >= a->n) {
        jinja_fail(j, "Replacement index %d out of range for positional args tuple", position);
        return false;
    }
    *out = a->values[position];
    return true;
}

struct jinja_value jinja_format_braces(struct jinja *j, struct jinja_value self,
                                       struct jinja_args *a)
{
    const struct jinja_string *s = self.string;
    struct jinja_buffer b = {0};
    int next = 0;
    for (size_t i = 0; i < s->n && jinja_step(j, 1); i++) {
        char c = s->bytes[i];
        if ((c == '{' || c == '}') && i + 1 < s->n && s->bytes[i + 1] == c) {
            jinja_buffer_string(j, &b, jinja_slice(j, s, i, i + 1).string);
            i++;
        } else if (c == '{') {
            const char *close = memchr(s->bytes + i, '}', s->n - i);
            struct jinja_value v;
            if (!close)
                return jinja_fail(j, "expected '}' before end of string");
            size_t end = (size_t)(close - s->bytes);
            if (!field_value(j, a, jinja_slice(j, s, i + 1, end).string, &next, &v))
                return self;
            jinja_print(j, &b, v);
            i = end;
        } else if (c == '}') {
            return jinja_fail(j, "Single '}' encountered in format string");
        } else {
            jinja_buffer_string(j, &b, jinja_slice(j, s, i, i + 1).string);
        }
    }
    return jinja_buffer_value(j, &b);
}

/* ---- per cent ---- */

/* A number as %[flags][width][.precision]letter has it. */
static void number_text(struct jinja *j, struct jinja_buffer *b, struct jinja_value v, char letter,
                        const char *flags, int width, int precision)
{
    char text[400];
    int64_t whole;
    double x;
    jinja_as_float(v, &x);
    if (!jinja_as_int(v, &whole))
        whole = x > -9e18 && x < 9e18 ? (int64_t)x : 0;
    uint64_t size = whole < 0 ? 0 - (uint64_t)whole : (uint64_t)whole;
    bool negative = strchr("feg", letter) ? signbit(x) : whole < 0;
    x = fabs(x);
    switch (letter) {
    case 'f':
        snprintf(text, sizeof text, "%.*f", precision < 0 ? 6 : precision, x);
        break;
    case 'e':
        snprintf(text, sizeof text, "%.*e", precision < 0 ? 6 : precision, x);
        break;
    case 'g':
        snprintf(text, sizeof text, "%.*g", precision < 0 ? 6 : precision, x);
        break;
    case 'x':
        snprintf(text, sizeof text, "%.*llx", precision < 0 ? 1 : precision,
                 (unsigned long long)size);
        break;
    default:
        snprintf(text, sizeof text, "%.*llu", precision < 0 ? 1 : precision,
                 (unsigned long long)size);
    }
    const char *sign = negative ? "-" : strchr(flags, '+') ? "+" : strchr(flags, ' ') ? " " : "";
    int gap = width - (int)strlen(text) - (int)strlen(sign);
    bool left = strchr(flags, '-'), zeros = !left && strchr(flags, '0');
    for (int i = 0; i < gap && !left && !zeros; i++)
        jinja_buffer_text(j, b, " ");
    jinja_buffer_text(j, b, sign);
    for (int i = 0; i < gap && zeros; i++)
        jinja_buffer_text(j, b, "0");
    jinja_buffer_text(j, b, text);
    for (int i = 0; i < gap && left; i++)
        jinja_buffer_text(j, b, " ");
}

static int small_number(const struct jinja_string *s, size_t *i)
{
    int n = 0;
    for (; *i < s->n && s->bytes[*i] >= '0' && s->bytes[*i] <= '9'; (*i)++)
        n = n < 100 ? n * 10 + s->bytes[*i] - '0' : n;
    return n < 300 ? n : 300;
}

/* One conversion of "%5.2f" kind, from behind the % to behind the letter. */
static size_t percent(struct jinja *j, struct jinja_buffer *b, const struct jinja_string *s,
                      size_t i, struct jinja_value v)
{
    char flags[8] = "";
    double x;
    for (size_t n = 0; i < s->n && s->bytes[i] && strchr("-+ 0", s->bytes[i]) && n < 7; i++)
        flags[n++] = s->bytes[i];
    int width = small_number(s, &i), precision = -1;
    if (i < s->n && s->bytes[i] == '.') {
        i++;
        precision = small_number(s, &i);
    }
    char letter = i < s->n ? s->bytes[i++] : 0;
    letter = letter == 'i' ? 'd' : letter;
    bool plain = !flags[0] && width == 0 && precision < 0;
    if (letter == 's' && plain)
        jinja_print(j, b, v);
    else if (letter == 'r' && plain)
        jinja_repr(j, b, v);
    else if (letter && strchr("dxfeg", letter) && jinja_as_float(v, &x))
        number_text(j, b, v, letter, flags, width, precision);
    else
        jinja_unknown(j, "%% formatting: this conversion is not supported for '%s' (known are %%s, "
                         "%%r, %%d, %%x, %%f, %%e, %%g)",
                      jinja_type_name(v));
    return i;
}

struct jinja_value jinja_format_percent(struct jinja *j, const struct jinja_string *s,
                                        struct jinja_value args)
{
    struct jinja_buffer b = {0};
    size_t used = 0, given = args.type == JINJA_TUPLE ? args.list->n : 1;
    for (size_t i = 0; i < s->n && jinja_step(j, 1);) {
        if (s->bytes[i] != '%') {
            const char *next = memchr(s->bytes + i, '%', s->n - i);
            size_t end = next ? (size_t)(next - s->bytes) : s->n;
            jinja_buffer_string(j, &b, jinja_slice(j, s, i, end).string);
            i = end;
        } else if (i + 1 < s->n && s->bytes[i + 1] == '%') {
            jinja_buffer_string(j, &b, jinja_slice(j, s, i, i + 1).string);
            i += 2;
        } else if (used == given) {
            return jinja_fail(j, "not enough arguments for format string");
        } else {
            i = percent(j, &b, s, i + 1, args.type == JINJA_TUPLE ? args.list->items[used] : args);
            used++;
        }
    }
    if (used < given && args.type != JINJA_DICT && args.type != JINJA_LIST &&
        args.type != JINJA_UNDEFINED)
        return jinja_fail(j, "not all arguments converted during string formatting");
    return jinja_buffer_value(j, &b);
}
