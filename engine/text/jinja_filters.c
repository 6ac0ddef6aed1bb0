/* jinja_filters.c - x | NAME(...). */
#include "engine/text/jinja_private.h"

#include "engine/text/unicode.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct jinja_value self_text(struct jinja *j, struct jinja_value v)
{
    return jinja_string_value(jinja_str(j, v));
}

struct jinja_value jinja_call_method(struct jinja *j, const char *name, struct jinja_value self,
                                      struct jinja_args *a)
{
    struct jinja_string s = {.bytes = name, .n = strlen(name)};
    return jinja_string_method(&s)(j, self_text(j, self), a);
}

/* ---- text ---- */

#define METHOD_FILTER(c_name, name)                                                                \
    static struct jinja_value c_name(struct jinja *j, struct jinja_value v, struct jinja_args *a)  \
    {                                                                                              \
        return jinja_call_method(j, name, v, a);                                                   \
    }

METHOD_FILTER(filter_trim, "strip")
METHOD_FILTER(filter_upper, "upper")
METHOD_FILTER(filter_lower, "lower")
METHOD_FILTER(filter_capitalize, "capitalize")

static struct jinja_value filter_replace(struct jinja *j, struct jinja_value v,
                                         struct jinja_args *a)
{
    struct jinja_value old, new, values[3];
    struct jinja_args text = {.values = values, .n = 3, .callee = "replace"};
    if (!jinja_arg_needed(j, a, 0, "old", &old) || !jinja_arg_needed(j, a, 1, "new", &new))
        return v;
    values[0] = self_text(j, old);
    values[1] = self_text(j, new);
    values[2] = jinja_int(jinja_arg_int(j, a, 2, "count", -1));
    return jinja_args_end(j, a, 3) ? jinja_call_method(j, "replace", v, &text) : v;
}

/* Each word with a capital, the rest small; words begin behind blanks, dashes and brackets. */
static struct jinja_value filter_title(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    const struct jinja_string *s = jinja_str(j, v);
    struct jinja_args none = {.callee = "title"};
    struct jinja_buffer b = {0};
    const char *p = s->bytes, *end = p + s->n;
    uint32_t c;
    jinja_args_end(j, a, 0);
    while (p < end && jinja_step(j, 1)) {
        const char *first = p, *word;
        bool is_break = true;
        while (p < end && is_break) {
            word = p;
            p += utf8_decode(p, end, &c);
            is_break = unicode_is_blank(c) || (c < 0x80 && c && strchr("-({[<", (int)c));
        }
        if (is_break)
            word = p;
        jinja_buffer_string(j, &b, jinja_slice(j, s, (size_t)(first - s->bytes),
                                               (size_t)(word - s->bytes)).string);
        while (p < end) {
            int n = utf8_decode(p, end, &c);
            if (unicode_is_blank(c) || (c < 0x80 && c && strchr("-({[<", (int)c)))
                break;
            p += n;
        }
        struct jinja_value part = jinja_slice(j, s, (size_t)(word - s->bytes),
                                              (size_t)(p - s->bytes));
        jinja_buffer_string(j, &b, jinja_str(j, jinja_call_method(j, "capitalize", part, &none)));
    }
    return jinja_buffer_value(j, &b);
}

static struct jinja_value filter_string(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    jinja_args_end(j, a, 0);
    return self_text(j, v);
}

static struct jinja_value filter_escape(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    static const char from[] = "&<>'\"";
    static const char *const to[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
    const struct jinja_string *s = jinja_str(j, v);
    struct jinja_buffer b = {0};
    jinja_args_end(j, a, 0);
    for (size_t i = 0; i < s->n && jinja_step(j, 1); i++) {
        const char *known = s->bytes[i] ? strchr(from, s->bytes[i]) : NULL;
        if (!known)
            jinja_buffer_string(j, &b, jinja_slice(j, s, i, i + 1).string);
        for (const char *t = known ? to[known - from] : ""; *t; t++)
            jinja_buffer_char(j, &b, (unsigned char)*t, s->marks ? s->marks[i] : 0);
    }
    return jinja_buffer_value(j, &b);
}

static struct jinja_value filter_indent(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    struct jinja_value width = jinja_int(4), indention;
    struct jinja_buffer b = {0}, blanks = {0};
    jinja_arg(a, 0, "width", &width);
    bool first = jinja_arg_bool(j, a, 1, "first", false),
         blank = jinja_arg_bool(j, a, 2, "blank", false);
    int64_t n = 0;
    jinja_args_end(j, a, 3);
    if (v.type != JINJA_STRING)
        return jinja_fail(j, "indent: '%s' is no string", jinja_type_name(v));
    if (width.type != JINJA_STRING && !jinja_as_int(width, &n))
        return jinja_fail(j, "indent: 'width' should be a number or a string");
    for (int64_t i = 0; i < n && jinja_step(j, 1); i++)
        jinja_buffer_text(j, &blanks, " ");
    indention = width.type == JINJA_STRING ? width : jinja_buffer_value(j, &blanks);
    jinja_buffer_string(j, &b, v.string);
    jinja_buffer_text(j, &b, "\n"); /* so that a newline at the end is an empty line */
    struct jinja_args none = {.callee = "indent"};
    struct jinja_value lines = jinja_call_method(j, "splitlines", jinja_buffer_value(j, &b), &none);
    b = (struct jinja_buffer){0};
    for (size_t i = 0; !j->failed && i < lines.list->n; i++) {
        const struct jinja_string *line = lines.list->items[i].string;
        if (i)
            jinja_buffer_text(j, &b, "\n");
        if (i == 0 ? first : blank || line->n)
            jinja_buffer_string(j, &b, indention.string);
        jinja_buffer_string(j, &b, line);
    }
    return jinja_buffer_value(j, &b);
}

static struct jinja_value filter_format(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    struct jinja_value args = jinja_tuple_new(j);
    for (int i = 0; i < a->n; i++)
        jinja_list_add(j, args, a->values[i]);
    jinja_args_end(j, a, a->n);
    return jinja_format_percent(j, jinja_str(j, v), args);
}

static struct jinja_value filter_center(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    int64_t width = jinja_arg_int(j, a, 0, "width", 80);
    struct jinja_value value = jinja_int(width);
    struct jinja_args centre = {.values = &value, .n = 1, .callee = "center"};
    return jinja_args_end(j, a, 1) ? jinja_call_method(j, "center", v, &centre) : v;
}

static struct jinja_value filter_truncate(struct jinja *j, struct jinja_value v,
                                          struct jinja_args *a)
{
    bool is_list = v.type == JINJA_LIST || v.type == JINJA_TUPLE;
    if (v.type == JINJA_UNDEFINED || (is_list && v.list->n < 5))
        return v; /* whatever has a length that is small enough comes back as it is */
    if (v.type != JINJA_STRING)
        return jinja_fail(j, "truncate: '%s' is no string", jinja_type_name(v));
    const struct jinja_string *s = v.string;
    int64_t length = jinja_arg_int(j, a, 0, "length", 255),
            leeway = jinja_arg_int(j, a, 3, "leeway", 5), have = (int64_t)jinja_characters(s);
    bool kill = jinja_arg_bool(j, a, 1, "killwords", false);
    struct jinja_value end = jinja_literal(j, "..."), none = jinja_none();
    jinja_arg(a, 2, "end", &end);
    const int64_t behind = (int64_t)jinja_characters(jinja_str(j, end));
    if (!jinja_args_end(j, a, 4))
        return v;
    if (length < behind || leeway < 0)
        return jinja_fail(j, "truncate: the length is shorter than the end, or the leeway below 0");
    if (have <= length || have - length <= leeway)
        return v;
    struct jinja_value part = jinja_item_slice(j, v, none, jinja_int(length - behind), none);
    const char *blank = kill ? NULL : memrchr(part.string->bytes, ' ', part.string->n);
    if (blank)
        part = jinja_slice(j, part.string, 0, (size_t)(blank - part.string->bytes));
    return jinja_binary(j, '+', part, self_text(j, end));
}

static struct jinja_value filter_wordcount(struct jinja *j, struct jinja_value v,
                                           struct jinja_args *a)
{
    const struct jinja_string *s = jinja_str(j, v);
    bool inside = false;
    int64_t n = 0;
    uint32_t c;
    jinja_args_end(j, a, 0);
    for (const char *p = s->bytes, *end = p + s->n; p < end && jinja_step(j, 1);) {
        p += utf8_decode(p, end, &c);
        n += !inside && unicode_is_word(c);
        inside = unicode_is_word(c);
    }
    return jinja_int(n);
}

/* ---- numbers ---- */

static bool text_number(const struct jinja_string *s, char out[64])
{
    const char *p = s->bytes, *end = p + s->n;
    while (p < end && unicode_is_blank((unsigned char)*p))
        p++;
    while (end > p && unicode_is_blank((unsigned char)end[-1]))
        end--;
    if (p == end || end - p >= 64 || memchr(p, 'x', (size_t)(end - p)) ||
        memchr(p, 'X', (size_t)(end - p)) || memchr(p, 0, (size_t)(end - p)))
        return false;
    memcpy(out, p, (size_t)(end - p));
    out[end - p] = 0;
    return true;
}

static bool to_float(struct jinja *j, struct jinja_value v, double *out)
{
    char text[64], *end;
    if (v.type == JINJA_UNDEFINED)
        jinja_fail(j, "%.*s", (int)v.string->n, v.string->bytes);
    if (v.type != JINJA_STRING)
        return jinja_as_float(v, out);
    if (!text_number(v.string, text))
        return false;
    *out = strtod(text, &end);
    return *end == 0;
}

static struct jinja_value filter_int(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    struct jinja_value absent = jinja_int(0);
    char text[64], *end;
    int64_t i, base = jinja_arg_int(j, a, 1, "base", 10);
    double x;
    jinja_arg(a, 0, "default", &absent);
    if (!jinja_args_end(j, a, 2))
        return v;
    if (base != 10)
        return jinja_unknown(j, "int: base %lld is not supported", (long long)base);
    if (jinja_as_int(v, &i))
        return jinja_int(i);
    if (v.type == JINJA_STRING && text_number(v.string, text)) {
        i = strtoll(text, &end, 10);
        if (*end == 0 && i > INT64_MIN && i < INT64_MAX)
            return jinja_int(i);
    }
    if (to_float(j, v, &x) && x > -9.2e18 && x < 9.2e18)
        return jinja_int((int64_t)x);
    return absent;
}

static struct jinja_value filter_float(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    struct jinja_value absent = jinja_float(0);
    double x;
    jinja_arg(a, 0, "default", &absent);
    jinja_args_end(j, a, 1);
    return to_float(j, v, &x) ? jinja_float(x) : absent;
}

static struct jinja_value filter_round(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    struct jinja_value method = jinja_literal(j, "common");
    int64_t precision = jinja_arg_int(j, a, 0, "precision", 0), i;
    char text[400];
    double x;
    jinja_arg(a, 1, "method", &method);
    if (!jinja_args_end(j, a, 2))
        return v;
    if (!jinja_as_float(v, &x))
        return jinja_fail(j, "round: '%s' is no number", jinja_type_name(v));
    if (precision < 0 || precision > 300)
        return jinja_unknown(j, "round: a precision of %lld is not supported",
                             (long long)precision);
    bool up = method.type == JINJA_STRING && jinja_is(method.string, "ceil"),
         down = method.type == JINJA_STRING && jinja_is(method.string, "floor");
    if (up || down) {
        double scale = pow(10, (double)precision);
        double whole = up ? ceil(x * scale) : floor(x * scale);
        return jinja_float(whole / scale);
    }
    if (jinja_as_int(v, &i))
        return jinja_int(i);
    snprintf(text, sizeof text, "%.*f", (int)precision, x); /* half to even, of the exact value */
    return jinja_float(strtod(text, NULL));
}

static struct jinja_value filter_abs(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    double x;
    jinja_args_end(j, a, 0);
    if (!jinja_as_float(v, &x))
        return jinja_fail(j, "bad operand type for abs(): '%s'", jinja_type_name(v));
    return x < 0 ? jinja_negative(j, v) : v.type == JINJA_BOOL ? jinja_int(v.boolean) : v;
}

/* ---- the table ---- */

jinja_fn jinja_filter(const struct jinja_string *name)
{
    static const struct jinja_named filters[] = {
        {"trim", filter_trim},
        {"tojson", jinja_tojson},
        {"upper", filter_upper},
        {"lower", filter_lower},
        {"title", filter_title},
        {"capitalize", filter_capitalize},
        {"replace", filter_replace},
        {"string", filter_string},
        {"safe", filter_string},
        {"e", filter_escape},
        {"escape", filter_escape},
        {"forceescape", filter_escape},
        {"int", filter_int},
        {"float", filter_float},
        {"round", filter_round},
        {"abs", filter_abs},
        {"indent", filter_indent},
        {"format", filter_format},
        {"center", filter_center},
        {"truncate", filter_truncate},
        {"wordcount", filter_wordcount},
        {NULL, NULL},
    };
    jinja_fn fn = jinja_find(filters, name);
    return fn ? fn : jinja_list_filter(name);
}

bool jinja_filter_of_jinja(const struct jinja_string *name)
{
    static const char *const names[] = {"filesizeformat", "groupby",  "pprint",   "random",
                                        "slice",          "striptags", "urlencode", "urlize",
                                        "wordwrap",       "xmlattr"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (jinja_is(name, names[i]))
            return true;
    return false;
}

struct jinja_value jinja_apply_filter(struct jinja *j, const struct jinja_string *name,
                                      struct jinja_value self, struct jinja_args *args)
{
    char callee[48];
    jinja_fn fn = jinja_filter(name);
    if (j->failed)
        return self;
    if (!fn)
        return jinja_unknown(j, "filter '%.*s' is not %s", (int)(name->n < 60 ? name->n : 60),
                             name->bytes,
                             jinja_filter_of_jinja(name) ? "supported here" : "known");
    snprintf(callee, sizeof callee, "filter '%.*s'", (int)name->n, name->bytes);
    args->callee = callee;
    return fn(j, self, args);
}
