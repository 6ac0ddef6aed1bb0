/* table.c - see table.h. */
#include "engine/train/table.h"

#include "engine/base/mem.h"

#include <string.h>
#include <strings.h>

enum { COLUMNS_MAX = 256, FIELD_MAX_BYTES = 8 << 20 };

/* What a column's name stands for in a row. */
static const struct column {
    const char *name, *field;
} COLUMNS[] = {{"prompt", "prompt"},     {"question", "prompt"},          {"completion", "completion"},
               {"response", "completion"}, {"answer", "completion"},      {"text", "text"},
               {"input", "input"},       {"instruction", "instruction"},  {"output", "output"}};

struct reader {
    const char *p, *end;
    const char *file;
    char separator;
    bool quotes_bind; /* a quote at the beginning of a field must close */
    int line;         /* of p */
    struct str field;
};

static bool ends_field(const struct reader *r, const char *p)
{
    return p == r->end || *p == r->separator || *p == '\n' || (*p == '\r' && (p + 1 == r->end || p[1] == '\n'));
}

static int loose_quote(const struct reader *r, int line, const char *fact, struct gm_error *err)
{
    if (!r->quotes_bind)
        return 0;
    error_set(err, GM_E_INPUT, "read %s:%d: %s", r->file, line, fact);
    return -1;
}

/* A field in quotes. 1: read; 0: no field in quotes after all; -1: error. */
static int quoted(struct reader *r, struct gm_error *err)
{
    const char *p = r->p + 1;
    int line = r->line;
    str_clear(&r->field);
    for (;; p++) {
        if (p == r->end)
            return loose_quote(r, r->line, "the quote that begins here is never closed", err);
        if (*p == '"' && p + 1 < r->end && p[1] == '"')
            p++;
        else if (*p == '"')
            break;
        else if (*p == '\n')
            line++;
        str_add_char(&r->field, *p);
    }
    p++;
    if (!ends_field(r, p))
        return loose_quote(r, line, "text behind the closing quote of a field (double the quotes inside it)", err);
    r->p = p;
    r->line = line;
    return 1;
}

static bool next_field(struct reader *r, struct gm_error *err)
{
    if (r->p < r->end && *r->p == '"') {
        int got = quoted(r, err);
        if (got != 0)
            return got > 0;
    }
    const char *from = r->p;
    while (!ends_field(r, r->p))
        r->p++;
    str_clear(&r->field);
    str_add_n(&r->field, from, (size_t)(r->p - from));
    return true;
}

/* Past the separator or the line's end. True: another field of this line follows. */
static bool past_end(struct reader *r)
{
    if (r->p == r->end)
        return false;
    bool more = *r->p == r->separator;
    if (*r->p == '\r' && !more)
        r->p++;
    if (r->p < r->end && *r->p == '\n')
        r->line++;
    if (r->p < r->end)
        r->p++;
    return more;
}

static const char *field_of(const char *name)
{
    for (size_t i = 0; i < sizeof COLUMNS / sizeof *COLUMNS; i++)
        if (strcasecmp(name, COLUMNS[i].name) == 0)
            return COLUMNS[i].field;
    return NULL;
}

/* fields[i]: what column i is in a row; NULL: ignored. */
static bool read_header(struct reader *r, const char *fields[COLUMNS_MAX], int *n, struct str *ignored, struct gm_error *err)
{
    int known = 0;
    *n = 0;
    do {
        if (!next_field(r, err))
            return false;
        if (*n == COLUMNS_MAX)
            return error_set(err, GM_E_INPUT, "read %s:1: more than %d columns", r->file, COLUMNS_MAX);
        const char *field = field_of(str_text(&r->field));
        for (int i = 0; field && i < *n; i++)
            if (fields[i] && strcmp(fields[i], field) == 0)
                return error_set(err, GM_E_INPUT, "read %s:1: two columns are the %s", r->file, field);
        if (!field && r->field.len)
            str_printf(ignored, "%s%s", ignored->len ? ", " : "", str_text(&r->field));
        known += field != NULL;
        fields[(*n)++] = field;
    } while (past_end(r));
    return known > 0 ||
           error_set(err, GM_E_INPUT,
                     "read %s:1: the first line names no known column (prompt and completion, instruction, input and output, or text)",
                     r->file);
}

/* The fields of one line as the JSON object that a row is read from. */
static bool read_line(struct reader *r, const char *const *fields, int n_columns, json_t *object, int *n, struct gm_error *err)
{
    *n = 0;
    do {
        int line = r->line;
        if (!next_field(r, err))
            return false;
        if (r->field.len > FIELD_MAX_BYTES)
            return error_set(err, GM_E_INPUT, "read %s:%d: a field has %zu bytes (at most %d MiB)", r->file, line, r->field.len, FIELD_MAX_BYTES >> 20);
        const char *name = *n < n_columns ? fields[*n] : NULL;
        json_t *text = name ? json_stringn(str_text(&r->field), r->field.len) : NULL;
        if (name && (!text || memchr(str_text(&r->field), 0, r->field.len))) {
            json_decref(text);
            return error_set(err, GM_E_INPUT, "read %s:%d: column %d is not UTF-8 text (save the file as UTF-8)", r->file, line, *n + 1);
        }
        if (name)
            json_object_set_new(object, name, text);
        (*n)++;
    } while (past_end(r));
    return true;
}

static void take_object(struct row_list *list, struct store *store, json_t *object, const char *file, int line, enum split split)
{
    struct gm_error why = {0};
    struct raw_row row;
    if (!row_read(&row, store, object, &why)) {
        error_context(&why, "read %s:%d", file, line);
        rows_count_bad(list, &why);
        return;
    }
    row.file = file;
    row.line = line;
    rows_add(list, &row, split);
}

static bool read_rows(struct reader *r, struct row_list *list, struct store *store, const char *const *fields, int n_columns,
                      enum split split, struct gm_error *err)
{
    while (r->p < r->end) {
        int line = r->line, n;
        json_t *object = json_object();
        const char *from = r->p;
        bool ok = read_line(r, fields, n_columns, object, &n, err);
        bool blank = ok && n == 1 && strspn(from, " \t\r\n") >= (size_t)(r->p - from);
        if (ok && !blank && n != n_columns) {
            struct gm_error why = {0};
            error_set(&why, GM_E_INPUT, "read %s:%d: %d fields, but the header has %d (quote fields that hold separators)", r->file, line, n, n_columns);
            rows_count_bad(list, &why);
        } else if (ok && !blank) {
            take_object(list, store, object, r->file, line, split);
        }
        json_decref(object);
        if (!ok)
            return false;
    }
    return true;
}

static bool ends_with(const char *path, const char *ending)
{
    size_t n = strlen(path), m = strlen(ending);
    return n > m && strcasecmp(path + n - m, ending) == 0;
}

bool table_ending(const char *path)
{
    return ends_with(path, ".csv") || ends_with(path, ".tsv");
}

bool table_read(struct row_list *list, struct store *store, const char *bytes, size_t n, const char *file, enum split split,
                struct str *ignored, struct gm_error *err)
{
    struct reader r = {.p = bytes, .end = bytes + n, .file = file, .separator = ',', .quotes_bind = true, .line = 1};
    if (n >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0)
        r.p += 3;
    size_t header = 0, left = (size_t)(r.end - r.p);
    while (header < left && r.p[header] != '\n')
        header++;
    if (ends_with(file, ".tsv")) {
        r.separator = '\t';
        r.quotes_bind = false;
    } else if (!memchr(r.p, ',', header) && memchr(r.p, ';', header)) {
        r.separator = ';';
    }
    const char *fields[COLUMNS_MAX];
    int columns, before = list->n + list->n_bad;
    bool ok = read_header(&r, fields, &columns, ignored, err) && read_rows(&r, list, store, fields, columns, split, err);
    str_free(&r.field);
    if (ok && list->n + list->n_bad == before)
        ok = error_set(err, GM_E_INPUT, "read %s: no rows below the header", file);
    return ok;
}
