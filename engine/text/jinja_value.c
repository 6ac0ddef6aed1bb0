/* jinja_value.c - memory, limits and values: how they are made, compared and walked over. */
#include "engine/text/jinja_private.h"

#include "engine/base/mem.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

/* ---- memory and limits ---- */

struct jinja_block {
    struct jinja_block *next;
    max_align_t bytes[];
};

enum { BLOCK_MIN = 16 << 10, MEMORY_MIN = 64 << 20, STEPS_MIN = 4 << 20 };

void *jinja_take(struct jinja_heap *h, size_t bytes)
{
    bytes = (bytes + 15) & ~(size_t)15;
    if (bytes > h->left) {
        size_t size = h->used < (size_t)1 << 24 ? h->used : (size_t)1 << 24;
        size = size < BLOCK_MIN ? BLOCK_MIN : size;
        size = size < bytes ? bytes : size;
        struct jinja_block *b = mem_new(1, sizeof *b + size);
        b->next = h->blocks;
        h->blocks = b;
        h->at = (char *)b->bytes;
        h->left = size;
    }
    void *p = h->at;
    h->at += bytes;
    h->left -= bytes;
    h->used += bytes;
    return p;
}

void jinja_heap_free(struct jinja_heap *h)
{
    for (struct jinja_block *b = h->blocks, *next; b; b = next) {
        next = b->next;
        mem_free(b);
    }
    *h = (struct jinja_heap){0};
}

static void set_error(struct jinja *j, enum gm_code code, const char *format, va_list args)
{
    struct str s = {0};
    str_vprintf(&s, format, args);
    if (!j->failed)
        error_set(&j->error, code, "%s:%d: %s", j->tpl->label, j->line, str_text(&s));
    j->failed = true;
    str_free(&s);
}

struct jinja_value jinja_fail(struct jinja *j, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    set_error(j, GM_E_INPUT, format, args);
    va_end(args);
    return jinja_none();
}

struct jinja_value jinja_unknown(struct jinja *j, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    set_error(j, GM_E_UNSUPPORTED, format, args);
    va_end(args);
    return jinja_none();
}

bool jinja_room(struct jinja *j, size_t bytes)
{
    size_t max = MEMORY_MIN + 64 * j->given;
    if (j->heap.used <= max && bytes <= max - j->heap.used)
        return true;
    jinja_fail(j, "the template takes more than %zu MiB of memory", max >> 20);
    return false;
}

bool jinja_step(struct jinja *j, size_t work)
{
    j->steps += work;
    if (j->steps > STEPS_MIN + 64 * (uint64_t)j->given) {
        jinja_fail(j, "the template takes more than %llu steps",
                   (unsigned long long)(STEPS_MIN + 64 * (uint64_t)j->given));
        return false;
    }
    return !j->failed && jinja_room(j, 0);
}

bool jinja_deeper(struct jinja *j)
{
    if (j->depth >= JINJA_DEPTH_MAX) {
        jinja_fail(j, "the template goes deeper than %d levels", JINJA_DEPTH_MAX);
        return false;
    }
    j->depth++;
    return true;
}

/* ---- making values ---- */

struct jinja_value jinja_none(void)
{
    return (struct jinja_value){.type = JINJA_NONE};
}

struct jinja_value jinja_bool(bool b)
{
    return (struct jinja_value){.type = JINJA_BOOL, .boolean = b};
}

struct jinja_value jinja_int(int64_t i)
{
    return (struct jinja_value){.type = JINJA_INT, .integer = i};
}

struct jinja_value jinja_float(double x)
{
    return (struct jinja_value){.type = JINJA_FLOAT, .number = x};
}

struct jinja_value jinja_string_value(const struct jinja_string *s)
{
    return (struct jinja_value){.type = JINJA_STRING, .string = s};
}

static struct jinja_value string_of(struct jinja *j, const char *bytes, const uint8_t *marks,
                                    size_t n)
{
    struct jinja_string *s = jinja_take(&j->heap, sizeof *s);
    *s = (struct jinja_string){.bytes = bytes, .marks = marks, .n = n};
    return jinja_string_value(s);
}

struct jinja_value jinja_literal(struct jinja *j, const char *text)
{
    return string_of(j, text, NULL, strlen(text));
}

struct jinja_value jinja_text(struct jinja *j, const char *bytes, size_t n, uint8_t mark)
{
    uint8_t *marks = NULL;
    j->given += n;
    if (mark) {
        marks = jinja_take(&j->heap, n + 1);
        memset(marks, mark, n);
    }
    return string_of(j, bytes, marks, n);
}

struct jinja_value jinja_slice(struct jinja *j, const struct jinja_string *s, size_t begin,
                               size_t end)
{
    return string_of(j, s->bytes + begin, s->marks ? s->marks + begin : NULL, end - begin);
}

struct jinja_value jinja_undefined(struct jinja *j, const char *format, ...)
{
    struct str text = {0};
    va_list args;
    va_start(args, format);
    str_vprintf(&text, format, args);
    va_end(args);
    struct jinja_string *s = jinja_take(&j->heap, sizeof *s);
    char *copy = jinja_take(&j->heap, text.len + 1);
    memcpy(copy, str_text(&text), text.len);
    *s = (struct jinja_string){.bytes = copy, .n = text.len};
    str_free(&text);
    return (struct jinja_value){.type = JINJA_UNDEFINED, .string = s};
}

struct jinja_value jinja_list_new(struct jinja *j)
{
    return (struct jinja_value){.type = JINJA_LIST,
                                .list = jinja_take(&j->heap, sizeof(struct jinja_list))};
}

struct jinja_value jinja_tuple_new(struct jinja *j)
{
    struct jinja_value v = jinja_list_new(j);
    v.type = JINJA_TUPLE;
    return v;
}

/* Twice the room, 4 at first; NULL: over the limit. */
static void *grown(struct jinja *j, const void *old, size_t n, size_t cap, size_t size)
{
    if (!jinja_room(j, cap * size))
        return NULL;
    void *room = jinja_take(&j->heap, cap * size);
    if (n)
        memcpy(room, old, n * size);
    return room;
}

void jinja_list_add(struct jinja *j, struct jinja_value list, struct jinja_value item)
{
    struct jinja_list *l = list.list;
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 4;
        struct jinja_value *items = grown(j, l->items, l->n, cap, sizeof *items);
        if (!items)
            return;
        l->items = items;
        l->cap = cap;
    }
    l->items[l->n++] = item;
}

struct jinja_value jinja_pair(struct jinja *j, struct jinja_value a, struct jinja_value b)
{
    struct jinja_value pair = jinja_tuple_new(j);
    jinja_list_add(j, pair, a);
    jinja_list_add(j, pair, b);
    return pair;
}

struct jinja_value jinja_dict_new(struct jinja *j)
{
    return (struct jinja_value){.type = JINJA_DICT,
                                .dict = jinja_take(&j->heap, sizeof(struct jinja_dict))};
}

static size_t find_key(struct jinja *j, const struct jinja_dict *d, struct jinja_value key)
{
    size_t i = 0;
    jinja_step(j, d->n / 16);
    while (i < d->n && !jinja_equal(j, d->keys[i], key))
        i++;
    return i;
}

static bool is_hashable(struct jinja *j, struct jinja_value key)
{
    if (key.type == JINJA_LIST || key.type == JINJA_DICT) {
        jinja_fail(j, "unhashable type: '%s'", jinja_type_name(key));
        return false;
    }
    for (size_t i = 0; key.type == JINJA_TUPLE && i < key.list->n; i++)
        if (!is_hashable(j, key.list->items[i]))
            return false;
    return true;
}

void jinja_dict_put(struct jinja *j, struct jinja_value dict, struct jinja_value key,
                    struct jinja_value value)
{
    struct jinja_dict *d = dict.dict;
    if (!is_hashable(j, key))
        return;
    size_t i = find_key(j, d, key);
    if (i == d->n && d->n == d->cap) {
        size_t cap = d->cap ? 2 * d->cap : 4;
        struct jinja_value *keys = grown(j, d->keys, d->n, cap, sizeof *keys),
                           *values = grown(j, d->values, d->n, cap, sizeof *values);
        if (!keys || !values)
            return;
        d->keys = keys;
        d->values = values;
        d->cap = cap;
    }
    if (i == d->n) {
        d->keys[i] = key;
        d->n++;
    }
    d->values[i] = value;
}

bool jinja_dict_get(struct jinja *j, const struct jinja_dict *d, struct jinja_value key,
                    struct jinja_value *out)
{
    size_t i = find_key(j, d, key);
    if (i == d->n)
        return false;
    *out = d->values[i];
    return true;
}

bool jinja_dict_get_text(struct jinja *j, const struct jinja_dict *d,
                         const struct jinja_string *key, struct jinja_value *out)
{
    return jinja_dict_get(j, d, jinja_string_value(key), out);
}

struct jinja_value jinja_method(struct jinja *j, const char *name, jinja_fn fn,
                                struct jinja_value self)
{
    struct jinja_function *f = jinja_take(&j->heap, sizeof *f);
    *f = (struct jinja_function){.name = name, .fn = fn, .self = self};
    return (struct jinja_value){.type = JINJA_FUNCTION, .function = f};
}

static struct jinja_value of_json(struct jinja *j, const json_t *json, uint8_t mark)
{
    struct jinja_value v = jinja_none();
    const json_t *item;
    const char *key;
    size_t i, n;
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        v = jinja_dict_new(j);
        json_object_keylen_foreach((json_t *)json, key, n, item)
        {
            jinja_dict_put(j, v, jinja_text(j, key, n, mark), of_json(j, item, mark));
        }
        return v;
    case JSON_ARRAY:
        v = jinja_list_new(j);
        json_array_foreach(json, i, item) jinja_list_add(j, v, of_json(j, item, mark));
        return v;
    case JSON_STRING:
        return jinja_text(j, json_string_value(json), json_string_length(json), mark);
    case JSON_INTEGER:
        return jinja_int(json_integer_value(json));
    case JSON_REAL:
        return jinja_float(json_real_value(json));
    default:
        return json_is_null(json) ? v : jinja_bool(json_is_true(json));
    }
}

struct jinja_value jinja_of_json(struct jinja *j, const json_t *json, uint8_t mark)
{
    return of_json(j, json, mark); /* as deep as the parser of JSON allows */
}

/* ---- comparing ---- */

bool jinja_is(const struct jinja_string *s, const char *text)
{
    return strlen(text) == s->n && memcmp(s->bytes, text, s->n) == 0;
}

bool jinja_same_text(const struct jinja_string *a, const struct jinja_string *b)
{
    return a->n == b->n && memcmp(a->bytes, b->bytes, a->n) == 0;
}

bool jinja_as_int(struct jinja_value v, int64_t *out)
{
    if (v.type != JINJA_INT && v.type != JINJA_BOOL)
        return false;
    *out = v.type == JINJA_INT ? v.integer : v.boolean;
    return true;
}

bool jinja_as_float(struct jinja_value v, double *out)
{
    int64_t i;
    if (v.type == JINJA_FLOAT)
        *out = v.number;
    else if (jinja_as_int(v, &i))
        *out = (double)i;
    else
        return false;
    return true;
}

bool jinja_truth(struct jinja_value v)
{
    switch (v.type) {
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        return false;
    case JINJA_BOOL:
        return v.boolean;
    case JINJA_INT:
        return v.integer != 0;
    case JINJA_FLOAT:
        return v.number != 0;
    case JINJA_STRING:
        return v.string->n > 0;
    case JINJA_LIST:
    case JINJA_TUPLE:
        return v.list->n > 0;
    case JINJA_DICT:
        return v.dict->n > 0;
    default:
        return true;
    }
}

static bool equal_deep(struct jinja *j, struct jinja_value a, struct jinja_value b)
{
    bool same = true;
    struct jinja_value other;
    if (!jinja_deeper(j))
        return false;
    if (a.type == JINJA_DICT) {
        same = a.dict->n == b.dict->n;
        for (size_t i = 0; same && i < a.dict->n; i++)
            same = jinja_dict_get(j, b.dict, a.dict->keys[i], &other) &&
                   jinja_equal(j, a.dict->values[i], other);
    } else {
        same = a.list->n == b.list->n;
        for (size_t i = 0; same && i < a.list->n; i++)
            same = jinja_equal(j, a.list->items[i], b.list->items[i]);
    }
    j->depth--;
    return same;
}

bool jinja_equal(struct jinja *j, struct jinja_value a, struct jinja_value b)
{
    int64_t i, k;
    double x, y;
    if (!jinja_step(j, 1))
        return false;
    if (jinja_as_int(a, &i) && jinja_as_int(b, &k))
        return i == k;
    if (jinja_as_float(a, &x) && jinja_as_float(b, &y))
        return x == y;
    if (a.type != b.type)
        return false;
    switch (a.type) {
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        return true;
    case JINJA_STRING:
        return jinja_same_text(a.string, b.string);
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_DICT:
        return a.list == b.list || equal_deep(j, a, b);
    default:
        return a.loop == b.loop; /* the same object */
    }
}

int jinja_compare(struct jinja *j, struct jinja_value a, struct jinja_value b)
{
    int64_t i, k;
    double x, y;
    if (!jinja_step(j, 1))
        return 0;
    if (jinja_as_int(a, &i) && jinja_as_int(b, &k))
        return (i > k) - (i < k);
    if (jinja_as_float(a, &x) && jinja_as_float(b, &y))
        return x != x || y != y ? 2 : (x > y) - (x < y);
    if (a.type == JINJA_STRING && b.type == JINJA_STRING) {
        /* The order of UTF-8 is that of the characters. */
        size_t n = a.string->n < b.string->n ? a.string->n : b.string->n;
        int order = memcmp(a.string->bytes, b.string->bytes, n);
        return order ? (order > 0) - (order < 0)
                     : (a.string->n > b.string->n) - (a.string->n < b.string->n);
    }
    if (a.type == b.type && (a.type == JINJA_LIST || a.type == JINJA_TUPLE)) {
        int order = 0;
        if (!jinja_deeper(j))
            return 0;
        for (size_t m = 0; order == 0 && m < a.list->n && m < b.list->n && !j->failed; m++)
            if (!jinja_equal(j, a.list->items[m], b.list->items[m]))
                order = jinja_compare(j, a.list->items[m], b.list->items[m]);
        j->depth--;
        return order ? order : (a.list->n > b.list->n) - (a.list->n < b.list->n);
    }
    if (a.type == JINJA_UNDEFINED || b.type == JINJA_UNDEFINED) {
        const struct jinja_string *why = a.type == JINJA_UNDEFINED ? a.string : b.string;
        jinja_fail(j, "%.*s", (int)why->n, why->bytes);
    } else {
        jinja_fail(j, "'%s' and '%s' have no order", jinja_type_name(a), jinja_type_name(b));
    }
    return 0;
}

const char *jinja_type_name(struct jinja_value v)
{
    static const char *const names[] = {"Undefined", "NoneType", "bool",   "int",
                                        "float",     "str",      "list",   "tuple",
                                        "dict",      "Namespace", "LoopContext", "Macro",
                                        "function",  "Cycler",   "Joiner"};
    return names[v.type];
}

/* ---- walking ---- */

const struct jinja_list *jinja_iterate(struct jinja *j, struct jinja_value v)
{
    static const struct jinja_list none = {0};
    struct jinja_list *l;
    switch (v.type) {
    case JINJA_UNDEFINED:
        return &none;
    case JINJA_LIST:
    case JINJA_TUPLE:
        return v.list;
    case JINJA_LOOP:
        return v.loop->items;
    case JINJA_DICT:
        l = jinja_take(&j->heap, sizeof *l);
        *l = (struct jinja_list){.items = v.dict->keys, .n = v.dict->n, .cap = v.dict->n};
        return l;
    case JINJA_STRING: {
        struct jinja_value out = jinja_list_new(j);
        const char *end = v.string->bytes + v.string->n;
        uint32_t c;
        for (const char *p = v.string->bytes; p < end && jinja_step(j, 1);) {
            size_t begin = (size_t)(p - v.string->bytes);
            p += utf8_decode(p, end, &c);
            jinja_list_add(j, out, jinja_slice(j, v.string, begin, (size_t)(p - v.string->bytes)));
        }
        return j->failed ? NULL : out.list;
    }
    default:
        jinja_fail(j, "'%s' object is not iterable", jinja_type_name(v));
        return NULL;
    }
}

bool jinja_contains(struct jinja *j, struct jinja_value item, struct jinja_value in)
{
    struct jinja_value unused;
    if (in.type == JINJA_STRING) {
        if (item.type != JINJA_STRING) {
            jinja_fail(j, "'in <string>' requires string as left operand, not %s",
                       jinja_type_name(item));
            return false;
        }
        jinja_step(j, in.string->n / 64);
        return item.string->n == 0 || memmem(in.string->bytes, in.string->n, item.string->bytes,
                                             item.string->n) != NULL;
    }
    if (in.type == JINJA_DICT)
        return is_hashable(j, item) && jinja_dict_get(j, in.dict, item, &unused);
    const struct jinja_list *l = jinja_iterate(j, in);
    for (size_t i = 0; l && i < l->n && !j->failed; i++)
        if (jinja_equal(j, l->items[i], item))
            return true;
    return false;
}

/* ---- text in the making ---- */

void jinja_buffer_add(struct jinja *j, struct jinja_buffer *b, const char *bytes, size_t n,
                      const uint8_t *marks)
{
    if (n == 0 || !jinja_step(j, n / 64))
        return;
    if (n > b->cap - b->n) {
        size_t cap = b->cap ? 2 * b->cap : 64;
        if (cap - b->n < n)
            cap = b->n + n;
        if (!jinja_room(j, 2 * cap))
            return;
        char *room = jinja_take(&j->heap, 2 * cap);
        if (b->n) {
            memcpy(room, b->bytes, b->n);
            memcpy(room + cap, b->marks, b->n);
        }
        b->bytes = room;
        b->marks = (uint8_t *)room + cap;
        b->cap = cap;
    }
    memcpy(b->bytes + b->n, bytes, n);
    if (marks)
        memcpy(b->marks + b->n, marks, n);
    else
        memset(b->marks + b->n, 0, n);
    b->n += n;
}

void jinja_buffer_text(struct jinja *j, struct jinja_buffer *b, const char *text)
{
    jinja_buffer_add(j, b, text, strlen(text), NULL);
}

void jinja_buffer_char(struct jinja *j, struct jinja_buffer *b, uint32_t scalar, uint8_t mark)
{
    char bytes[4];
    const uint8_t marks[4] = {mark, mark, mark, mark};
    jinja_buffer_add(j, b, bytes, (size_t)utf8_encode(scalar, bytes), marks);
}

void jinja_buffer_string(struct jinja *j, struct jinja_buffer *b, const struct jinja_string *s)
{
    jinja_buffer_add(j, b, s->bytes, s->n, s->marks);
}

struct jinja_value jinja_buffer_value(struct jinja *j, const struct jinja_buffer *b)
{
    return string_of(j, b->n ? b->bytes : "", b->n ? b->marks : NULL, b->n);
}
