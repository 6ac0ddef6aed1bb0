/* rows.c - see rows.h. */
#include "engine/train/rows.h"

#include "engine/base/mem.h"
#include "engine/format/json_scan.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

/* ---- store ---- */

enum { STORE_BLOCK = 1 << 20 };
struct store_block {
    struct store_block *next;
    size_t used, size;
    unsigned char bytes[];
};

void *store_take(struct store *s, size_t bytes)
{
    bytes = (bytes + 7) & ~(size_t)7;
    if (!s->blocks || s->blocks->size - s->blocks->used < bytes) {
        size_t size = bytes > STORE_BLOCK ? bytes : STORE_BLOCK;
        struct store_block *b = mem_new(1, sizeof *b + size);
        b->size = size;
        b->next = s->blocks;
        s->blocks = b;
    }
    void *at = s->blocks->bytes + s->blocks->used;
    s->blocks->used += bytes;
    return at;
}

char *store_text(struct store *s, const char *text)
{
    size_t n = strlen(text) + 1;
    return memcpy(store_take(s, n), text, n);
}

void store_free(struct store *s)
{
    while (s->blocks) {
        struct store_block *next = s->blocks->next;
        mem_free(s->blocks);
        s->blocks = next;
    }
}

/* ---- one row ---- */

static const char *role_of(const char *name)
{
    static const char *const NAMES[][2] = {{"user", "user"},           {"human", "user"},
                                           {"assistant", "assistant"}, {"gpt", "assistant"},
                                           {"model", "assistant"},     {"system", "system"}};
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        if (strcmp(name, NAMES[i][0]) == 0)
            return NAMES[i][1];
    return NULL;
}

/* Turns of a list of objects; `who` and `what` name their fields. */
static bool read_turns(struct raw_row *row, struct store *store, const json_t *list,
                       const char *who, const char *what, struct gm_error *err)
{
    size_t n = json_array_size(list), i;
    json_t *item;
    if (n == 0 || n > 100000)
        return error_set(err, GM_E_INPUT,
                         "%zu turns (a row has at least a user turn and an assistant turn)", n);
    row->messages = store_take(store, n * sizeof *row->messages);
    json_array_foreach(list, i, item)
    {
        const char *name = NULL, *text = NULL;
        if (!json_is_object(item))
            return error_set(err, GM_E_INPUT, "turn %zu is not an object", i + 1);
        if (!json_get_string(item, who, REQUIRED, &name, err) ||
            !json_get_string(item, what, REQUIRED, &text, err))
            return error_context(err, "turn %zu", i + 1);
        const char *role = role_of(name);
        if (!role)
            return error_set(
                err, GM_E_INPUT,
                "turn %zu: nobody is called \"%.40s\" here (user, assistant or system)", i + 1,
                name);
        row->messages[row->n_messages++] = (struct chat_message){role, store_text(store, text)};
    }
    return true;
}

static void add_turn(struct raw_row *row, struct store *store, const char *role, const char *text)
{
    row->messages[row->n_messages++] = (struct chat_message){role, store_text(store, text)};
}

static bool read_pair(struct raw_row *row, struct store *store, const json_t *value,
                      struct gm_error *err)
{
    const char *prompt = NULL, *completion = NULL;
    if (!json_get_string(value, "prompt", REQUIRED, &prompt, err) ||
        !json_get_string(value, "completion", REQUIRED, &completion, err))
        return false;
    row->messages = store_take(store, 2 * sizeof *row->messages);
    add_turn(row, store, "user", prompt);
    add_turn(row, store, "assistant", completion);
    return true;
}

/* instruction, an optional input below it, output. */
static bool read_alpaca(struct raw_row *row, struct store *store, const json_t *value,
                        struct gm_error *err)
{
    const char *instruction = NULL, *input = "", *output = NULL;
    if (!json_get_string(value, "instruction", REQUIRED, &instruction, err) ||
        !json_get_string(value, "input", OPTIONAL, &input, err) ||
        !json_get_string(value, "output", REQUIRED, &output, err))
        return false;
    char *asked = *input ? mem_printf("%s\n\n%s", instruction, input) : mem_copy(instruction);
    row->messages = store_take(store, 2 * sizeof *row->messages);
    add_turn(row, store, "user", asked);
    add_turn(row, store, "assistant", output);
    mem_free(asked);
    return true;
}

static bool read_numbers(int32_t *out, const json_t *list, const char *key, int64_t min,
                         struct gm_error *err)
{
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        json_int_t x = json_integer_value(item);
        if (!json_is_integer(item) || (x < 0 && x != min) || x > INT32_MAX)
            return error_set(err, GM_E_INPUT, "field %s: item %zu is no token id%s", key, i + 1,
                             min < 0 ? ", nor -100" : "");
        out[i] = (int32_t)x;
    }
    return true;
}

static bool read_ids(struct raw_row *row, struct store *store, const json_t *value,
                     struct gm_error *err)
{
    const json_t *ids = NULL, *labels = NULL;
    if (!json_get_array(value, "input_ids", REQUIRED, &ids, err) ||
        !json_get_array(value, "labels", REQUIRED, &labels, err))
        return false;
    size_t n = json_array_size(ids);
    if (n != json_array_size(labels))
        return error_set(
            err, GM_E_INPUT,
            "%zu input_ids, but %zu labels (labels[t] is the target at position t, -100 for none)",
            n, json_array_size(labels));
    if (n == 0 || n > INT32_MAX / 2)
        return error_set(err, GM_E_INPUT, "field input_ids: %zu items", n);
    row->n_ids = (int)n;
    row->ids = store_take(store, n * sizeof(int32_t));
    row->labels = store_take(store, n * sizeof(int32_t));
    return read_numbers(row->ids, ids, "input_ids", 0, err) &&
           read_numbers(row->labels, labels, "labels", -100, err);
}

bool row_read(struct raw_row *row, struct store *store, const json_t *value, struct gm_error *err)
{
    const json_t *list = NULL;
    *row = (struct raw_row){.form = ROW_MESSAGES};
    if (!json_is_object(value))
        return error_set(
            err, GM_E_INPUT,
            "the row is not an object (write {\"messages\": [...]} or {\"text\": \"...\"})");
    if (json_has(value, "messages"))
        return json_get_array(value, "messages", REQUIRED, &list, err) &&
               read_turns(row, store, list, "role", "content", err);
    if (json_has(value, "conversations")) {
        row->form = ROW_CONVERSATIONS;
        if (!json_get_array(value, "conversations", REQUIRED, &list, err))
            return false;
        bool role = json_has(json_array_get(list, 0),
                             "role"); /* some sets keep the list's name and OpenAI's fields */
        return role ? read_turns(row, store, list, "role", "content", err)
                    : read_turns(row, store, list, "from", "value", err);
    }
    if (json_has(value, "input_ids")) {
        row->form = ROW_IDS;
        return read_ids(row, store, value, err);
    }
    if (json_has(value, "completion"))
        return read_pair(row, store, value, err);
    if (json_has(value, "instruction"))
        return read_alpaca(row, store, value, err);
    if (json_has(value, "text")) {
        const char *text = NULL;
        row->form = ROW_TEXT;
        if (!json_get_string(value, "text", REQUIRED, &text, err))
            return false;
        row->text = store_text(store, text);
        return *text ? true : error_set(err, GM_E_INPUT, "field text: it is empty");
    }
    return error_set(err, GM_E_INPUT,
                     "none of the known fields (messages, conversations, text, input_ids and "
                     "labels, prompt and completion, instruction and output)");
}

const char *row_prompt(const struct raw_row *row)
{
    for (int i = 0; i < row->n_messages; i++)
        if (strcmp(row->messages[i].role, "user") == 0)
            return row->messages[i].content;
    return "";
}

const char *row_answer(const struct raw_row *row)
{
    for (int i = row->n_messages; i-- > 0;)
        if (strcmp(row->messages[i].role, "assistant") == 0)
            return row->messages[i].content;
    return row->text ? row->text : "";
}

/* ---- a file ---- */

enum { LINE_MAX_BYTES = 8 << 20, ROWS_MAX = 100000000 };

void rows_count_bad(struct row_list *list, const struct gm_error *why)
{
    if (list->n_bad++ == 0)
        list->first_bad = *why;
}

void rows_add(struct row_list *list, const struct raw_row *row, enum split split)
{
    if (list->n == list->cap) {
        int cap = list->cap ? 2 * list->cap : 1024;
        list->rows = mem_grow(list->rows, (size_t)list->cap, (size_t)cap, sizeof *list->rows);
        list->splits = mem_grow(list->splits, (size_t)list->cap, (size_t)cap, sizeof *list->splits);
        list->cap = cap;
    }
    list->rows[list->n] = *row;
    list->splits[list->n++] = split;
}

/* A row's JSON text, which begins on `first_line` of the file; `number` is what the row is called.
 */
static void take_row(struct row_list *list, struct store *store, const char *text, size_t n,
                     const char *file, int64_t first_line, int number, enum split split)
{
    struct gm_error why = {0};
    struct raw_row row;
    json_t *value = json_parse_at(text, n, file, first_line, &why);
    if (value && !row_read(&row, store, value, &why)) {
        error_context(&why, "read %s:%" PRId64, file, first_line);
        json_decref(value);
        value = NULL;
    }
    if (!value) {
        rows_count_bad(list, &why);
        return;
    }
    json_decref(value);
    row.file = file;
    row.line = number;
    rows_add(list, &row, split);
}

static bool is_blank(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != ' ' && p[i] != '\t' && p[i] != '\r' && p[i] != '\n')
            return false;
    return true;
}

static bool read_lines(struct row_list *list, struct store *store, const char *p, const char *end,
                       const char *file, enum split split, struct gm_error *err)
{
    for (int line = 1; p < end; line++) {
        size_t left = (size_t)(end - p), most = left < LINE_MAX_BYTES ? left : LINE_MAX_BYTES;
        const char *stop = memchr(p, '\n', most);
        size_t n = stop ? (size_t)(stop - p) : most;
        if (!stop && left > LINE_MAX_BYTES)
            return error_set(err, GM_E_INPUT, "read %s:%d: the line has more than %d MiB (a row is one line)",
                             file, line, LINE_MAX_BYTES >> 20);
        if (line == ROWS_MAX)
            return error_set(err, GM_E_INPUT, "read %s: more than %d lines", file, ROWS_MAX);
        if (!is_blank(p, n))
            take_row(list, store, p, n, file, line, line, split);
        p += n + 1;
    }
    return true;
}

static int64_t count_lines(const char *p, const char *end)
{
    int64_t n = 0;
    while (p < end && (p = memchr(p, '\n', (size_t)(end - p)))) {
        n++;
        p++;
    }
    return n;
}

/* An array is cut into its items without building the whole tree, which would need many times the
 * file. */
static bool read_array(struct row_list *list, struct store *store, const char *p, const char *end,
                       const char *file, enum split split, struct gm_error *err)
{
    struct json_scan s = json_scan_begin(p, (size_t)(end - p), file, 0, err);
    const char *counted = p;
    int64_t line = 1;
    int number = 0;
    for (bool more = scan_array(&s); more; more = scan_more(&s, ']')) {
        scan_peek(&s); /* blanks in front */
        const char *from = s.p;
        if (!scan_skip(&s))
            break;
        line += count_lines(counted, from);
        counted = from;
        take_row(list, store, from, (size_t)(s.p - from), file, line, ++number, split);
    }
    if (scan_end(&s))
        return true;
    struct gm_error placed = {0}; /* the same fault with line and column */
    json_t *tree = end - p < 64 << 20 ? json_parse(p, (size_t)(end - p), file, &placed) : NULL;
    if (err && !tree && placed.code != GM_OK)
        *err = placed;
    json_decref(tree);
    return false;
}

bool rows_read_file(struct row_list *list, struct store *store, const char *bytes, size_t n,
                    const char *file, enum split split, struct gm_error *err)
{
    const char *p = bytes, *end = bytes + n;
    int before = list->n, bad = list->n_bad;
    if (n >= 3 && memcmp(p, "\xEF\xBB\xBF", 3) == 0)
        p += 3;
    const char *first = p;
    while (first < end && is_blank(first, 1))
        first++;
    bool ok = first < end && *first == '[' ? read_array(list, store, p, end, file, split, err)
                                           : read_lines(list, store, p, end, file, split, err);
    if (ok && list->n == before && list->n_bad == bad)
        ok = error_set(err, GM_E_INPUT,
                       "read %s: no rows (a row is one line {\"messages\": [...]})", file);
    return ok;
}

void row_list_free(struct row_list *list)
{
    mem_free(list->rows);
    mem_free(list->splits);
    *list = (struct row_list){0};
}
