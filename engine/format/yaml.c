/* yaml.c - the structure of a YAML text: maps and lists, by indentation and by brackets. */
#include "engine/format/yaml_private.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"

#include <stdarg.h>
#include <string.h>

static json_t *block_node(struct yaml *y);
static json_t *flow_node(struct yaml *y);

bool yaml_fail(struct yaml *y, const char *format, ...)
{
    struct str text = {0};
    va_list args;
    va_start(args, format);
    str_vprintf(&text, format, args);
    va_end(args);
    error_set(y->err, GM_E_INPUT, "read %s:%d: %s", y->label, y->line, str_text(&text));
    str_free(&text);
    return false;
}

/* ---- lines ---- */

void yaml_next_line(struct yaml *y)
{
    if (y->p < y->end && *y->p == '\r')
        y->p++;
    if (y->p < y->end && *y->p == '\n')
        y->p++;
    y->line_start = y->p;
    y->line++;
}

bool yaml_at_marker(const struct yaml *y)
{
    return y->p == y->line_start && y->end - y->p >= 3 &&
           (memcmp(y->p, "---", 3) == 0 || memcmp(y->p, "...", 3) == 0) && yaml_blank_at(y, y->p + 3);
}

/* To the next character that says something, over blank lines and comments. True: y->p stands on it, and its column is
 * its indentation. False: the document ends here, or an error (y->err). */
static bool next_content(struct yaml *y, bool *ok)
{
    *ok = true;
    for (;;) {
        while (y->p < y->end && *y->p == ' ')
            y->p++;
        if (y->p < y->end && *y->p == '\t') {
            yaml_skip_blanks(y);
            if (!yaml_at_break(y) && *y->p != '#') {
                *ok = yaml_fail(y, "a tab indents this line (YAML wants spaces)");
                return false;
            }
        }
        if (y->p < y->end && *y->p == '#')
            while (!yaml_at_break(y))
                y->p++;
        if (y->p == y->end)
            return false;
        if (!yaml_at_break(y)) {
            *ok = true;
            return !yaml_at_marker(y);
        }
        yaml_next_line(y);
    }
}

/* Behind a value nothing but blanks and a comment may stand on its line. */
static bool line_ends(struct yaml *y)
{
    yaml_skip_blanks(y);
    if (*y->p == '#' && (y->p[-1] == ' ' || y->p[-1] == '\t'))
        while (!yaml_at_break(y))
            y->p++;
    if (yaml_at_break(y))
        return true;
    if (*y->p == ':')
        return yaml_fail(y, "there is a second \":\" on this line (put the text in quotes)");
    return yaml_fail(y, "\"%.1s\" does not belong here (put the text in quotes, or begin a new line)", y->p);
}

/* ---- paths, for the lines of errors ---- */

static size_t path_push(struct yaml *y, const char *key, size_t index)
{
    size_t mark = y->path.len;
    if (mark > 0)
        str_add_char(&y->path, '.');
    if (key)
        str_add(&y->path, key);
    else
        str_printf(&y->path, "%zu", index);
    if (y->lines && y->path.len <= YAML_MAX_PATH) {
        struct yaml_lines *l = y->lines;
        l->items = mem_room(l->items, l->n, &l->cap, sizeof *l->items);
        l->items[l->n++] = (struct yaml_place){mem_copy(str_text(&y->path)), y->line};
    }
    return mark;
}

static void path_pop(struct yaml *y, size_t mark)
{
    y->path.len = mark;
    if (y->path.data)
        y->path.data[mark] = 0;
}

int yaml_line(const struct yaml_lines *lines, const char *path)
{
    for (size_t i = 0; i < lines->n; i++)
        if (strcmp(lines->items[i].path, path) == 0)
            return lines->items[i].line;
    return 0;
}

void yaml_lines_free(struct yaml_lines *lines)
{
    for (size_t i = 0; i < lines->n; i++)
        mem_free(lines->items[i].path);
    mem_free(lines->items);
    *lines = (struct yaml_lines){0};
}

/* ---- what both kinds share ---- */

static bool deeper(struct yaml *y)
{
    if (++y->depth > YAML_MAX_DEPTH)
        return yaml_fail(y, "it nests deeper than %d levels", YAML_MAX_DEPTH);
    return true;
}

/* What is not read, by name. */
static bool refuse_mark(struct yaml *y)
{
    size_t n = 1;
    while (n < 40 && !yaml_blank_at(y, y->p + n) && !strchr(",[]{}", y->p[n]))
        n++;
    switch (*y->p) {
    case '&':
        return yaml_fail(y, "%.*s is an anchor, which is not read (write the value out)", (int)n, y->p);
    case '*':
        return yaml_fail(y, "%.*s is an alias, which is not read (write the value out)", (int)n, y->p);
    case '!':
        return yaml_fail(y, "%.*s is a tag, which is not read (leave it out)", (int)n, y->p);
    case '%':
        return yaml_fail(y, "%.*s is a directive, which is not read (leave it out)", (int)n, y->p);
    case '@':
    case '`':
        return yaml_fail(y, "\"%c\" cannot begin a plain word (put the text in quotes)", *y->p);
    default:
        return true;
    }
}

static bool add_member(struct yaml *y, json_t *map, const struct str *key, json_t *value)
{
    if (!value)
        return false;
    if (json_object_set_new(map, str_text(key), value) == 0)
        return true;
    return yaml_fail(y, "out of memory");
}

static bool check_key(struct yaml *y, const json_t *map, const struct str *key)
{
    if (strlen(str_text(key)) != key->len)
        return yaml_fail(y, "a key holds a NUL character");
    if (strcmp(str_text(key), "<<") == 0)
        return yaml_fail(y, "<< merges another map, which is not read (write the values out)");
    if (json_object_get(map, str_text(key)))
        return yaml_fail(y, "\"%s\" stands here for the second time (remove one of them)", str_text(key));
    return true;
}

static json_t *text_value(const struct str *s)
{
    return json_stringn(str_text(s), s->len);
}

/* ---- flow: [a, b], {a: 1} ---- */

/* Blanks, breaks and comments between the parts of a flow. False: the text ends. */
static bool flow_gap(struct yaml *y)
{
    for (;;) {
        const char *before = y->p;
        yaml_skip_blanks(y);
        if (y->p < y->end && *y->p == '#' && (y->p > before || y->p == y->line_start))
            while (!yaml_at_break(y))
                y->p++;
        if (y->p == y->end)
            return yaml_fail(y, "the text ends inside of brackets (close them)");
        if (!yaml_at_break(y))
            return true;
        yaml_next_line(y);
    }
}

static json_t *flow_list(struct yaml *y)
{
    json_t *list = json_array();
    y->p++;
    bool ok = flow_gap(y);
    while (ok && *y->p != ']') {
        size_t mark = path_push(y, NULL, json_array_size(list));
        json_t *item = flow_node(y);
        path_pop(y, mark);
        ok = item && json_array_append_new(list, item) == 0 && flow_gap(y);
        if (ok && *y->p == ',') {
            y->p++;
            ok = flow_gap(y);
        } else if (ok && *y->p != ']') {
            ok = yaml_fail(y, "a comma or ] is missing before \"%.1s\"", y->p);
        }
    }
    if (ok) {
        y->p++;
        return list;
    }
    json_decref(list);
    return NULL;
}

static bool flow_member(struct yaml *y, json_t *map)
{
    struct str key = {0};
    bool quoted = *y->p == '"' || *y->p == '\'', ok;
    if (quoted)
        ok = yaml_quoted(y, &key);
    else
        ok = refuse_mark(y) && yaml_plain(y, -1, true, &key);
    ok = ok && flow_gap(y);
    if (ok && (*y->p != ':' || (!quoted && !yaml_blank_at(y, y->p + 1) && !strchr(",]}", y->p[1]))))
        ok = yaml_fail(y, "a \":\" is missing behind \"%s\"", str_text(&key));
    ok = ok && check_key(y, map, &key);
    if (ok) {
        y->p++;
        size_t mark = path_push(y, str_text(&key), 0);
        ok = flow_gap(y) && add_member(y, map, &key, *y->p == ',' || *y->p == '}' ? json_null() : flow_node(y));
        path_pop(y, mark);
    }
    str_free(&key);
    return ok;
}

static json_t *flow_map(struct yaml *y)
{
    json_t *map = json_object();
    y->p++;
    bool ok = flow_gap(y);
    while (ok && *y->p != '}') {
        ok = flow_member(y, map) && flow_gap(y);
        if (ok && *y->p == ',') {
            y->p++;
            ok = flow_gap(y);
        } else if (ok && *y->p != '}') {
            ok = yaml_fail(y, "a comma or } is missing before \"%.1s\"", y->p);
        }
    }
    if (ok) {
        y->p++;
        return map;
    }
    json_decref(map);
    return NULL;
}

static json_t *flow_node(struct yaml *y)
{
    struct str text = {0};
    json_t *value = NULL;
    if (!deeper(y))
        return NULL;
    if (*y->p == '[')
        value = flow_list(y);
    else if (*y->p == '{')
        value = flow_map(y);
    else if (*y->p == '"' || *y->p == '\'')
        value = yaml_quoted(y, &text) ? text_value(&text) : NULL;
    else if (refuse_mark(y) && yaml_plain(y, -1, true, &text))
        value = yaml_resolve(y, str_text(&text), text.len);
    str_free(&text);
    y->depth--;
    return value;
}

/* ---- block: by indentation ---- */

static bool at_dash(const struct yaml *y)
{
    return y->p < y->end && *y->p == '-' && yaml_blank_at(y, y->p + 1);
}

/* Does a key with its ':' stand here? Looks along the line only. */
static bool at_key(const struct yaml *y)
{
    const char *p = y->p;
    if (p < y->end && (*p == '"' || *p == '\'')) {
        char quote = *p++;
        while (p < y->end && *p != quote && *p != '\n')
            p += *p == '\\' && quote == '"' && p + 1 < y->end ? 2 : 1;
        if (p >= y->end || *p != quote)
            return false;
        for (p++; p < y->end && (*p == ' ' || *p == '\t'); p++)
            ;
        return p < y->end && *p == ':' && yaml_blank_at(y, p + 1);
    }
    if (p < y->end && strchr("[]{},#|>", *p))
        return false;
    for (; p < y->end && *p != '\n' && *p != '\r'; p++) {
        if (*p == ':' && yaml_blank_at(y, p + 1))
            return true;
        if (*p == '#' && p > y->p && (p[-1] == ' ' || p[-1] == '\t'))
            return false;
    }
    return false;
}

/* A value that begins on this line, behind "key:" or "-" of a block at column `indent`. */
static json_t *inline_value(struct yaml *y, int indent)
{
    struct str text = {0};
    json_t *value = NULL;
    if (!refuse_mark(y))
        return NULL;
    if (*y->p == '[' || *y->p == '{') {
        value = flow_node(y);
    } else if (*y->p == '"' || *y->p == '\'') {
        value = yaml_quoted(y, &text) ? text_value(&text) : NULL;
    } else if (*y->p == '|' || *y->p == '>') {
        value = yaml_block_text(y, indent, &text) ? text_value(&text) : NULL;
        str_free(&text);
        return value; /* it has taken its lines whole */
    } else if (yaml_plain(y, indent, false, &text)) {
        value = yaml_resolve(y, str_text(&text), text.len);
    }
    str_free(&text);
    if (value && !line_ends(y)) {
        json_decref(value);
        value = NULL;
    }
    return value;
}

/* The value behind "key:" or "-" of a block at column `indent`. `list_beside`: a list may stand at the same column. */
static json_t *value_behind(struct yaml *y, int indent, bool list_beside)
{
    bool ok;
    yaml_skip_blanks(y);
    if (!yaml_at_break(y) && *y->p != '#')
        return inline_value(y, indent);
    if (!next_content(y, &ok))
        return ok ? json_null() : NULL;
    if (yaml_column(y) > indent || (list_beside && yaml_column(y) == indent && at_dash(y)))
        return block_node(y);
    return json_null();
}

/* After a member of a block at `indent`: does another one follow? */
static bool block_goes_on(struct yaml *y, int indent, bool *ok)
{
    if (!next_content(y, ok))
        return false;
    if (yaml_column(y) > indent)
        *ok = yaml_fail(y, "this line is indented deeper than those before it (line it up)");
    return *ok && yaml_column(y) == indent;
}

static json_t *block_list(struct yaml *y)
{
    int indent = yaml_column(y);
    json_t *list = json_array();
    bool ok = true;
    do {
        size_t mark = path_push(y, NULL, json_array_size(list));
        y->p++;
        yaml_skip_blanks(y);
        json_t *item = at_dash(y) || at_key(y) ? block_node(y) : value_behind(y, indent, false);
        path_pop(y, mark);
        ok = item && json_array_append_new(list, item) == 0;
    } while (ok && block_goes_on(y, indent, &ok) && at_dash(y));
    if (ok)
        return list;
    json_decref(list);
    return NULL;
}

static bool block_member(struct yaml *y, json_t *map, int indent)
{
    struct str key = {0};
    bool ok = at_key(y) || yaml_fail(y, "no \"key: value\" stands here");
    if (ok && (*y->p == '"' || *y->p == '\'')) {
        ok = yaml_quoted(y, &key);
        yaml_skip_blanks(y);
    } else if (ok) {
        ok = refuse_mark(y);
        const char *from = y->p;
        while (ok && !(*y->p == ':' && yaml_blank_at(y, y->p + 1)))
            y->p++;
        const char *to = y->p;
        while (to > from && (to[-1] == ' ' || to[-1] == '\t'))
            to--;
        str_add_n(&key, from, (size_t)(to - from));
    }
    ok = ok && check_key(y, map, &key);
    if (ok) {
        y->p++; /* the ':' */
        size_t mark = path_push(y, str_text(&key), 0);
        yaml_skip_blanks(y);
        if (at_dash(y))
            ok = yaml_fail(y, "a list cannot begin on the line of its key (begin a new line)");
        ok = ok && add_member(y, map, &key, value_behind(y, indent, true));
        path_pop(y, mark);
    }
    str_free(&key);
    return ok;
}

static json_t *block_map(struct yaml *y)
{
    int indent = yaml_column(y);
    json_t *map = json_object();
    bool ok;
    do
        ok = block_member(y, map, indent);
    while (ok && block_goes_on(y, indent, &ok) && !at_dash(y));
    if (ok)
        return map;
    json_decref(map);
    return NULL;
}

/* A list, a map or a scalar that begins at y->p; what follows on lower columns is left. */
static json_t *block_node(struct yaml *y)
{
    json_t *value = NULL;
    if (!deeper(y))
        return NULL;
    if (at_dash(y))
        value = block_list(y);
    else if (at_key(y))
        value = block_map(y);
    else
        value = inline_value(y, yaml_column(y) - 1);
    y->depth--;
    return value;
}

/* ---- the document ---- */

/* "---" may stand before it, behind blank lines and comments. */
static bool begin_document(struct yaml *y, bool *some)
{
    bool ok;
    *some = next_content(y, &ok);
    if (!ok)
        return false;
    if (*some && *y->p == '%' && yaml_column(y) == 0)
        return refuse_mark(y);
    if (*some || y->p == y->end || *y->p != '-')
        return true;
    y->p += 3;
    if (!line_ends(y))
        return false;
    *some = next_content(y, &ok);
    return ok;
}

static bool end_document(struct yaml *y)
{
    bool ok;
    if (next_content(y, &ok))
        return yaml_fail(y, "this line belongs to nothing (its indentation is lower than that of the first)");
    if (!ok || y->p == y->end)
        return ok;
    if (*y->p == '-')
        return yaml_fail(y, "a second document begins (settings are one document)");
    y->p += 3;
    if (!line_ends(y))
        return false;
    if (next_content(y, &ok) || (ok && y->p < y->end && *y->p == '-'))
        return yaml_fail(y, "something stands behind the end of the document");
    return ok;
}

static bool check_bytes(struct yaml *y)
{
    int line = 1;
    for (const char *p = y->p; p < y->end;) {
        uint32_t c;
        int n = utf8_decode(p, y->end, &c);
        if (c == 0xfffd && !(n == 3 && memcmp(p, "\xef\xbf\xbd", 3) == 0)) {
            y->line = line;
            return yaml_fail(y, "it is not valid UTF-8 (save it as UTF-8)");
        }
        if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f) {
            y->line = line;
            return yaml_fail(y, "it holds the control character %u", (unsigned)c);
        }
        line += c == '\n';
        p += n;
    }
    return true;
}

json_t *yaml_parse(const char *text, size_t n, const char *label, struct yaml_lines *lines, struct gm_error *err)
{
    if (n > YAML_MAX_BYTES) {
        error_set(err, GM_E_INPUT, "read %s: it has %zu bytes, at most %d are read here", label, n, YAML_MAX_BYTES);
        return NULL;
    }
    char *copy = mem_copy_n(text, n); /* with a NUL behind it */
    size_t bom = n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    struct yaml y = {.label = label, .p = copy + bom, .line_start = copy + bom, .end = copy + n, .line = 1, .lines = lines, .err = err};
    json_t *value = NULL;
    bool some;
    if (check_bytes(&y) && begin_document(&y, &some)) {
        value = some ? block_node(&y) : json_null();
        if (value && !end_document(&y)) {
            json_decref(value);
            value = NULL;
        }
    }
    str_free(&y.path);
    mem_free(copy);
    return value;
}

json_t *yaml_load_file(const char *path, struct yaml_lines *lines, struct gm_error *err)
{
    struct str text = {0};
    json_t *value = NULL;
    if (file_read_all(path, YAML_MAX_BYTES, &text, err))
        value = yaml_parse(str_text(&text), text.len, path, lines, err);
    str_free(&text);
    return value;
}
