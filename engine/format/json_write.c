/* json_write.c - JSON as text: numbers as short as they can be read back, text that is safe on a
 * terminal. */
#include "engine/format/json.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/base/str.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Characters that a terminal would act on, or that reorder or break the line they stand in: written
 * as escapes. */
static bool needs_escape(uint32_t c)
{
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x2028 || c == 0x2029 ||
           (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
}

void json_quote(struct str *out, const char *text, size_t n)
{
    const char *end = text + n;
    str_add_char(out, '"');
    for (const char *p = text; p < end;) {
        uint32_t c;
        const char *at = p;
        p += utf8_decode(p, end, &c);
        if (c == '"' || c == '\\') {
            str_add_char(out, '\\');
            str_add_char(out, (char)c);
        } else if (c == '\n') {
            str_add(out, "\\n");
        } else if (c == '\t') {
            str_add(out, "\\t");
        } else if (c == '\r') {
            str_add(out, "\\r");
        } else if (needs_escape(c)) {
            str_printf(out, "\\u%04x", (unsigned)c);
        } else if (c == 0xFFFD) {
            str_add(out,
                    "\xEF\xBF\xBD"); /* also what stood there as invalid bytes: JSON is UTF-8 */
        } else {
            str_add_n(out, at, (size_t)(p - at));
        }
    }
    str_add_char(out, '"');
}

/* The shortest of 15, 16, 17 digits that reads back as the same number; always with a mark of a
 * fraction. */
static void put_real(struct str *out, double x)
{
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtod(text, NULL) == x)
            break;
    }
    for (char *p = text; *p; p++)
        if (*p == ',')
            *p = '.'; /* a locale with a decimal comma */
    str_add(out, text);
    if (!strpbrk(text, ".eE"))
        str_add(out, ".0");
}

static bool is_flat(const json_t *array)
{
    size_t i;
    json_t *v;
    json_array_foreach(array, i, v) if (json_is_object(v) || json_is_array(v)) return false;
    return true;
}

static void new_line(struct str *out, int indent)
{
    if (indent < 0)
        return;
    str_add_char(out, '\n');
    for (int i = 0; i < indent; i++)
        str_add(out, "  ");
}

static void put_value(struct str *out, const json_t *v, int indent);

/* indent < 0: everything on one line, without blanks. */
static void put_object(struct str *out, const json_t *v, int indent)
{
    const char *key, *sep = "";
    json_t *child,
        *object =
            (json_t *)(uintptr_t)v; /* Jansson's iterators want it writable and do not write */
    int inner = indent < 0 ? indent : indent + 1;
    str_add_char(out, '{');
    json_object_foreach(object, key, child)
    {
        str_add(out, sep);
        new_line(out, inner);
        json_quote(out, key, strlen(key));
        str_add(out, indent < 0 ? ":" : ": ");
        put_value(out, child, inner);
        sep = ",";
    }
    if (*sep)
        new_line(out, indent);
    str_add_char(out, '}');
}

static void put_array(struct str *out, const json_t *v, int indent)
{
    bool flat = indent >= 0 && is_flat(v);
    int inner = indent < 0 || flat ? -1 : indent + 1;
    size_t i;
    json_t *child;
    str_add_char(out, '[');
    json_array_foreach(v, i, child)
    {
        if (i > 0)
            str_add(out, flat ? ", " : ",");
        new_line(out, inner);
        put_value(out, child, inner);
    }
    if (inner >= 0)
        new_line(out, indent);
    str_add_char(out, ']');
}

static void put_value(struct str *out, const json_t *v, int indent)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        put_object(out, v, indent);
        break;
    case JSON_ARRAY:
        put_array(out, v, indent);
        break;
    case JSON_STRING:
        json_quote(out, json_string_value(v), json_string_length(v));
        break;
    case JSON_INTEGER:
        str_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        break;
    case JSON_REAL:
        put_real(out, json_real_value(v));
        break;
    case JSON_TRUE:
        str_add(out, "true");
        break;
    case JSON_FALSE:
        str_add(out, "false");
        break;
    default:
        str_add(out, "null");
    }
}

char *json_line(const json_t *value)
{
    struct str out = {0};
    put_value(&out, value, -1);
    return str_take(&out);
}

char *json_pretty(const json_t *value)
{
    struct str out = {0};
    put_value(&out, value, 0);
    str_add_char(&out, '\n');
    return str_take(&out);
}

bool json_write_file(const char *path, const json_t *value, struct gm_error *err)
{
    char *text = json_pretty(value);
    bool ok = file_replace(path, text, strlen(text), err);
    mem_free(text);
    return ok;
}

bool json_write_in(const char *folder, const char *name, json_t *value, struct gm_error *err)
{
    char *path = path_join(folder, name);
    bool ok = json_write_file(path, value, err);
    json_decref(value);
    mem_free(path);
    return ok;
}
