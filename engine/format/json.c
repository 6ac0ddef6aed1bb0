/* json.c - Jansson behind one door: what it would accept silently or report badly is handled here.
 */
#include "engine/format/json.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/base/str.h"
#include "engine/format/sniff.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Line (from 1) and column (in characters, from 1) of a byte. */
static void place_of(const char *text, size_t at, int64_t *line, int64_t *column)
{
    int64_t breaks = 0, since = 1;
    for (size_t i = 0; i < at; i++) {
        if (text[i] == '\n') {
            breaks++;
            since = 1;
        } else if (((unsigned char)text[i] & 0xC0) != 0x80) {
            since++;
        }
    }
    *line = breaks;
    *column = since;
}

/* The depth of brackets outside of strings. Jansson recurses up to 2048 deep; whoever walks the
 * tree should not have to. */
static bool check_depth(const char *text, size_t n, const char *label, int64_t first_line,
                        struct gm_error *err)
{
    int depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (quoted) {
            if (c == '\\')
                i++;
            else if (c == '"')
                quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '[' || c == '{') {
            if (++depth > JSON_DEPTH_MAX) {
                int64_t line, column;
                place_of(text, i, &line, &column);
                return error_set(err, GM_E_INPUT,
                                 "read %s:%" PRId64 ":%" PRId64
                                 ": nested deeper than %d levels (flatten it)",
                                 label, line + first_line, column, JSON_DEPTH_MAX);
            }
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return true;
}

static const char *remedy_of(enum json_error_code code)
{
    switch (code) {
    case json_error_premature_end_of_input:
        return "it is cut short: copy it again";
    case json_error_invalid_utf8:
        return "save it as UTF-8";
    case json_error_duplicate_key:
        return "remove one of the two";
    default:
        return "mend the JSON there";
    }
}

json_t *json_parse_at(const char *text, size_t n, const char *label, int64_t first_line,
                      struct gm_error *err)
{
    if (n >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        text += 3;
        n -= 3;
    }
    size_t blank = 0;
    while (blank < n && strchr(" \t\r\n", text[blank]) && text[blank])
        blank++;
    if (blank == n) {
        error_set(err, GM_E_INPUT,
                  "read %s:%" PRId64 ":1: there is no JSON, only %s (put a value there)", label,
                  first_line, n ? "blanks" : "an empty text");
        return NULL;
    }
    if (!check_depth(text, n, label, first_line, err))
        return NULL;
    json_error_t problem;
    json_t *value = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &problem);
    if (value)
        return value;
    enum json_error_code code = json_error_code(&problem);
    int64_t line = 0, column = 1;
    size_t at = problem.position > 0 ? (size_t)problem.position : 0;
    place_of(text, at <= n ? at : n, &line, &column);
    /* Jansson's position is the byte after the offending token. */
    error_set(err, code == json_error_out_of_memory ? GM_E_MEMORY : GM_E_INPUT,
              "read %s:%" PRId64 ":%" PRId64 ": %s (%s)", label, line + first_line,
              column > 1 ? column - 1 : 1, problem.text, remedy_of(code));
    return NULL;
}

json_t *json_parse(const char *text, size_t n, const char *label, struct gm_error *err)
{
    return json_parse_at(text, n, label, 1, err);
}

json_t *json_load_file_checked(const char *path, size_t max_bytes, struct gm_error *err)
{
    struct str text = {0};
    if (!file_read_all(path, max_bytes, &text, err))
        return NULL;
    json_t *value = NULL;
    if (sniff_refuse((const unsigned char *)str_text(&text), text.len, SNIFF_JSON, path, err))
        value = json_parse(str_text(&text), text.len, path, err);
    str_free(&text);
    return value;
}

static const char *type_name(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a fraction";
    case JSON_NULL:
        return "null";
    default:
        return "true or false";
    }
}

/* The field, or NULL; then *ok says whether that is fine. */
static const json_t *field(const json_t *object, const char *key, enum need need, bool *ok,
                           struct gm_error *err)
{
    *ok = false;
    if (!json_is_object(object)) {
        error_set(err, GM_E_INPUT,
                  "field \"%s\" is asked of something that is no object (the file has another form "
                  "than expected)",
                  key);
        return NULL;
    }
    const json_t *v = json_object_get(object, key);
    if (v && !json_is_null(v))
        return v;
    *ok = need == OPTIONAL;
    if (!*ok)
        error_set(err, GM_E_INPUT, "field \"%s\" is missing (add it)", key);
    return NULL;
}

static bool wrong_type(const char *key, const json_t *v, const char *wanted, struct gm_error *err)
{
    return error_set(err, GM_E_INPUT, "field \"%s\" is %s (write %s)", key, type_name(v), wanted);
}

json_t *json_text(const char *text)
{
    json_t *value = json_string(text);
    if (value)
        return value;
    struct str clean = {0};
    text_clean(&clean, text, strlen(text), true, false);
    value = json_string(str_text(&clean));
    str_free(&clean);
    return value;
}

json_t *json_f32(float x)
{
    char text[32] = "";
    for (int digits = 6; isfinite(x) && digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)x);
        if (strtof(text, NULL) == x)
            break;
    }
    return text[0] ? json_real(strtod(text, NULL)) : json_null();
}

json_t *json_number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

bool json_unsupported(const json_t *value, const char *key, const char *known, struct gm_error *err)
{
    char *text = json_line(value);
    if (strlen(text) > 100)
        memcpy(text + 97, "...", 4);
    error_set(err, GM_E_UNSUPPORTED, "\"%s\" is %s, which is not supported (known: %s)", key, text,
              known);
    mem_free(text);
    return false;
}

bool json_has(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    return v && !json_is_null(v);
}

bool json_get_int(const json_t *object, const char *key, enum need need, int64_t min, int64_t max,
                  int64_t *out, struct gm_error *err)
{
    bool ok;
    const json_t *v = field(object, key, need, &ok, err);
    if (!v)
        return ok;
    if (!json_is_integer(v))
        return wrong_type(key, v, "an integer", err);
    int64_t n = json_integer_value(v);
    if (n < min || n > max)
        return error_set(err, GM_E_INPUT,
                         "field \"%s\" is %" PRId64 " (it must be %" PRId64 " to %" PRId64 ")", key,
                         n, min, max);
    *out = n;
    return true;
}

bool json_get_double(const json_t *object, const char *key, enum need need, double min, double max,
                     double *out, struct gm_error *err)
{
    bool ok;
    const json_t *v = field(object, key, need, &ok, err);
    if (!v)
        return ok;
    if (!json_is_number(v))
        return wrong_type(key, v, "a number", err);
    double x = json_number_value(v);
    if (!isfinite(x) || x < min || x > max)
        return error_set(err, GM_E_INPUT, "field \"%s\" is %g (it must be %g to %g)", key, x, min,
                         max);
    *out = x;
    return true;
}

bool json_get_bool(const json_t *object, const char *key, enum need need, bool *out,
                   struct gm_error *err)
{
    bool ok;
    const json_t *v = field(object, key, need, &ok, err);
    if (!v)
        return ok;
    if (!json_is_boolean(v))
        return wrong_type(key, v, "true or false", err);
    *out = json_is_true(v);
    return true;
}

bool json_get_string(const json_t *object, const char *key, enum need need, const char **out,
                     struct gm_error *err)
{
    bool ok;
    const json_t *v = field(object, key, need, &ok, err);
    if (!v)
        return ok;
    if (!json_is_string(v))
        return wrong_type(key, v, "a string", err);
    *out = json_string_value(v);
    return true;
}

bool json_get_object(const json_t *object, const char *key, enum need need, const json_t **out,
                     struct gm_error *err)
{
    bool ok;
    const json_t *v = field(object, key, need, &ok, err);
    if (!v)
        return ok;
    if (!json_is_object(v))
        return wrong_type(key, v, "an object", err);
    *out = v;
    return true;
}

bool json_get_array(const json_t *object, const char *key, enum need need, const json_t **out,
                    struct gm_error *err)
{
    bool ok;
    const json_t *v = field(object, key, need, &ok, err);
    if (!v)
        return ok;
    if (!json_is_array(v))
        return wrong_type(key, v, "an array", err);
    *out = v;
    return true;
}
