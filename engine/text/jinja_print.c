/* jinja_print.c - values as text: str() and repr() of Python, and JSON as json.dumps writes it. */
#include "engine/text/jinja_private.h"

#include "engine/text/unicode.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The shortest digits that give the number back; an exponent below 1e-4 and from 1e16 on. */
void jinja_float_text(double x, char out[40])
{
    char digits[40], mantissa[24];
    int precision = 1, exponent, n = 0;
    if (!isfinite(x)) {
        strcpy(out, x != x ? "nan" : x < 0 ? "-inf" : "inf");
        return;
    }
    do
        snprintf(digits, sizeof digits, "%.*e", precision - 1, x);
    while (strtod(digits, NULL) != x && ++precision <= 17);
    exponent = atoi(strchr(digits, 'e') + 1);
    if (exponent >= -4 && exponent < 16) {
        int decimals = precision - 1 - exponent;
        snprintf(out, 40, "%.*f", decimals > 1 ? decimals : 1, x);
        return;
    }
    for (const char *p = digits; *p != 'e'; p++)
        mantissa[n++] = *p;
    mantissa[n] = 0;
    snprintf(out, 40, "%se%c%02d", mantissa, exponent < 0 ? '-' : '+', abs(exponent));
}

/* What repr() shows as it is. Unassigned characters count as printable here. */
static bool is_printable(uint32_t c)
{
    if (c < 0x7F)
        return c >= ' ';
    return !(c < 0xA1 || c == 0xAD || unicode_is_space(c) || (c >= 0x200B && c <= 0x200F) ||
             (c >= 0x202A && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) ||
             (c >= 0xE000 && c <= 0xF8FF) || c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFB) ||
             (c >= 0xE0000 && c <= 0xE0FFF) || c >= 0xF0000 || c == 0x61C || c == 0x180E);
}

static void add_marked(struct jinja *j, struct jinja_buffer *b, const char *text, uint8_t mark)
{
    for (; *text; text++)
        jinja_buffer_char(j, b, (unsigned char)*text, mark);
}

static void repr_char(struct jinja *j, struct jinja_buffer *b, uint32_t c, char quote, uint8_t mark)
{
    static const char from[] = "\n\r\t\\";
    static const char *const to[] = {"\\n", "\\r", "\\t", "\\\\"};
    char text[16];
    const char *known = c && c < 0x80 ? strchr(from, (int)c) : NULL;
    if (known)
        add_marked(j, b, to[known - from], mark);
    else if (c == (uint32_t)quote)
        add_marked(j, b, quote == '\'' ? "\\'" : "\\\"", mark);
    else if (is_printable(c))
        jinja_buffer_char(j, b, c, mark);
    else {
        snprintf(text, sizeof text, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x",
                 (unsigned)c);
        add_marked(j, b, text, mark);
    }
}

static void repr_string(struct jinja *j, struct jinja_buffer *b, const struct jinja_string *s)
{
    char quote = memchr(s->bytes, '\'', s->n) && !memchr(s->bytes, '"', s->n) ? '"' : '\'';
    const char *end = s->bytes + s->n;
    uint32_t c;
    jinja_buffer_char(j, b, (unsigned char)quote, 0);
    for (const char *p = s->bytes; p < end && !j->failed;) {
        uint8_t mark = s->marks ? s->marks[p - s->bytes] : 0;
        p += utf8_decode(p, end, &c);
        repr_char(j, b, c, quote, mark);
    }
    jinja_buffer_char(j, b, (unsigned char)quote, 0);
}

static void repr_list(struct jinja *j, struct jinja_buffer *b, struct jinja_value v)
{
    const struct jinja_list *l = v.list;
    jinja_buffer_text(j, b, v.type == JINJA_LIST ? "[" : "(");
    for (size_t i = 0; i < l->n && !j->failed; i++) {
        if (i)
            jinja_buffer_text(j, b, ", ");
        jinja_repr(j, b, l->items[i]);
    }
    jinja_buffer_text(j, b, v.type == JINJA_LIST ? "]" : l->n == 1 ? ",)" : ")");
}

static void repr_dict(struct jinja *j, struct jinja_buffer *b, const struct jinja_dict *d)
{
    jinja_buffer_text(j, b, "{");
    for (size_t i = 0; i < d->n && !j->failed; i++) {
        if (i)
            jinja_buffer_text(j, b, ", ");
        jinja_repr(j, b, d->keys[i]);
        jinja_buffer_text(j, b, ": ");
        jinja_repr(j, b, d->values[i]);
    }
    jinja_buffer_text(j, b, "}");
}

void jinja_repr(struct jinja *j, struct jinja_buffer *b, struct jinja_value v)
{
    char text[64];
    if (!jinja_step(j, 1) || !jinja_deeper(j))
        return;
    switch (v.type) {
    case JINJA_UNDEFINED:
        jinja_buffer_text(j, b, "Undefined");
        break;
    case JINJA_NONE:
        jinja_buffer_text(j, b, "None");
        break;
    case JINJA_BOOL:
        jinja_buffer_text(j, b, v.boolean ? "True" : "False");
        break;
    case JINJA_INT:
        snprintf(text, sizeof text, "%lld", (long long)v.integer);
        jinja_buffer_text(j, b, text);
        break;
    case JINJA_FLOAT:
        jinja_float_text(v.number, text);
        jinja_buffer_text(j, b, text);
        break;
    case JINJA_STRING:
        repr_string(j, b, v.string);
        break;
    case JINJA_LIST:
    case JINJA_TUPLE:
        repr_list(j, b, v);
        break;
    case JINJA_DICT:
        repr_dict(j, b, v.dict);
        break;
    case JINJA_LOOP:
        snprintf(text, sizeof text, "<LoopContext %zu/%zu>", v.loop->index0 + 1, v.loop->items->n);
        jinja_buffer_text(j, b, text);
        break;
    default:
        jinja_fail(j, "a '%s' cannot be printed", jinja_type_name(v));
    }
    j->depth--;
}

void jinja_print(struct jinja *j, struct jinja_buffer *b, struct jinja_value v)
{
    if (v.type == JINJA_STRING)
        jinja_buffer_string(j, b, v.string);
    else if (v.type != JINJA_UNDEFINED)
        jinja_repr(j, b, v);
}

const struct jinja_string *jinja_str(struct jinja *j, struct jinja_value v)
{
    if (v.type == JINJA_STRING)
        return v.string;
    struct jinja_buffer b = {0};
    jinja_print(j, &b, v);
    return jinja_buffer_value(j, &b).string;
}

/* ---- JSON ---- */

struct json_style {
    const struct jinja_string *indent, *item, *colon; /* indent NULL: one line */
    bool ascii, sorted;
};

static void json_char(struct jinja *j, struct jinja_buffer *b, uint32_t c, bool ascii, uint8_t mark)
{
    static const char from[] = "\"\\\n\r\t\b\f";
    static const char *const to[] = {"\\\"", "\\\\", "\\n", "\\r", "\\t", "\\b", "\\f"};
    char text[16];
    const char *known = c && c < 0x80 ? strchr(from, (int)c) : NULL;
    if (known) {
        add_marked(j, b, to[known - from], mark);
    } else if (c >= ' ' && (!ascii || c < 0x7F)) {
        jinja_buffer_char(j, b, c, mark);
    } else if (c >= 0x10000) {
        snprintf(text, sizeof text, "\\u%04x\\u%04x", (unsigned)(0xD800 + ((c - 0x10000) >> 10)),
                 (unsigned)(0xDC00 + ((c - 0x10000) & 0x3FF)));
        add_marked(j, b, text, mark);
    } else {
        snprintf(text, sizeof text, "\\u%04x", (unsigned)c);
        add_marked(j, b, text, mark);
    }
}

static void json_string_out(struct jinja *j, struct jinja_buffer *b, const struct jinja_string *s,
                            bool ascii)
{
    const char *end = s->bytes + s->n;
    uint32_t c;
    jinja_buffer_text(j, b, "\"");
    for (const char *p = s->bytes; p < end && !j->failed;) {
        uint8_t mark = s->marks ? s->marks[p - s->bytes] : 0;
        p += utf8_decode(p, end, &c);
        json_char(j, b, c, ascii, mark);
    }
    jinja_buffer_text(j, b, "\"");
}

static void json_newline(struct jinja *j, struct jinja_buffer *b, const struct json_style *style,
                         int level)
{
    if (!style->indent)
        return;
    jinja_buffer_text(j, b, "\n");
    for (int i = 0; i < level; i++)
        jinja_buffer_string(j, b, style->indent);
}

static void json_out(struct jinja *j, struct jinja_buffer *b, struct jinja_value v,
                     const struct json_style *style, int level);

static void json_scalar(struct jinja *j, struct jinja_buffer *b, struct jinja_value v,
                        const struct json_style *style)
{
    char text[40];
    switch (v.type) {
    case JINJA_NONE:
        jinja_buffer_text(j, b, "null");
        break;
    case JINJA_BOOL:
        jinja_buffer_text(j, b, v.boolean ? "true" : "false");
        break;
    case JINJA_FLOAT:
        jinja_float_text(v.number, text);
        if (!isfinite(v.number))
            strcpy(text, v.number != v.number ? "NaN" : v.number < 0 ? "-Infinity" : "Infinity");
        jinja_buffer_text(j, b, text);
        break;
    case JINJA_INT:
        jinja_repr(j, b, v);
        break;
    case JINJA_STRING:
        json_string_out(j, b, v.string, style->ascii);
        break;
    default:
        jinja_fail(j, "Object of type %s is not JSON serializable", jinja_type_name(v));
    }
}

/* The order of the members: as they are, or by key. Sorting by insertion: there are few. */
static size_t *member_order(struct jinja *j, const struct jinja_dict *d, bool sorted)
{
    size_t *order = jinja_take(&j->heap, (d->n + 1) * sizeof *order);
    for (size_t i = 0; i < d->n && !j->failed; i++) {
        size_t k = i;
        for (; sorted && k > 0 && jinja_compare(j, d->keys[order[k - 1]], d->keys[i]) > 0; k--)
            order[k] = order[k - 1];
        order[k] = i;
    }
    return order;
}

static void json_members(struct jinja *j, struct jinja_buffer *b, struct jinja_value v,
                         const struct json_style *style, int level)
{
    bool is_dict = v.type == JINJA_DICT;
    size_t n = is_dict ? v.dict->n : v.list->n;
    size_t *order = is_dict ? member_order(j, v.dict, style->sorted) : NULL;
    jinja_buffer_text(j, b, is_dict ? "{" : "[");
    for (size_t i = 0; i < n && !j->failed; i++) {
        if (i)
            jinja_buffer_string(j, b, style->item);
        json_newline(j, b, style, level + 1);
        if (!is_dict) {
            json_out(j, b, v.list->items[i], style, level + 1);
            continue;
        }
        struct jinja_value key = v.dict->keys[order[i]];
        if (key.type != JINJA_STRING) {
            struct jinja_buffer text = {0};
            json_scalar(j, &text, key, style);
            key = jinja_buffer_value(j, &text);
        }
        json_string_out(j, b, key.string, style->ascii);
        jinja_buffer_string(j, b, style->colon);
        json_out(j, b, v.dict->values[order[i]], style, level + 1);
    }
    if (n)
        json_newline(j, b, style, level);
    jinja_buffer_text(j, b, is_dict ? "}" : "]");
}

static void json_out(struct jinja *j, struct jinja_buffer *b, struct jinja_value v,
                     const struct json_style *style, int level)
{
    if (!jinja_step(j, 1) || !jinja_deeper(j))
        return;
    if (v.type == JINJA_LIST || v.type == JINJA_TUPLE || v.type == JINJA_DICT)
        json_members(j, b, v, style, level);
    else
        json_scalar(j, b, v, style);
    j->depth--;
}

struct jinja_value jinja_tojson(struct jinja *j, struct jinja_value self, struct jinja_args *args)
{
    struct jinja_value indent = jinja_none(), separators = jinja_none();
    struct json_style style = {.ascii = jinja_arg_bool(j, args, 0, "ensure_ascii", false),
                               .sorted = jinja_arg_bool(j, args, 3, "sort_keys", false)};
    jinja_arg(args, 1, "indent", &indent);
    jinja_arg(args, 2, "separators", &separators);
    jinja_args_end(j, args, 4);
    int64_t width;
    if (indent.type == JINJA_STRING) {
        style.indent = indent.string;
    } else if (jinja_as_int(indent, &width)) {
        width = width < 0 ? 0 : width > 64 ? 64 : width;
        char *blanks = jinja_take(&j->heap, (size_t)width + 1);
        memset(blanks, ' ', (size_t)width);
        style.indent = jinja_literal(j, blanks).string;
    }
    style.item = jinja_literal(j, style.indent ? "," : ", ").string;
    style.colon = jinja_literal(j, ": ").string;
    if ((separators.type == JINJA_TUPLE || separators.type == JINJA_LIST) &&
        separators.list->n == 2) {
        style.item = jinja_str(j, separators.list->items[0]);
        style.colon = jinja_str(j, separators.list->items[1]);
    }
    struct jinja_buffer b = {0};
    json_out(j, &b, self, &style, 0);
    return jinja_buffer_value(j, &b);
}
