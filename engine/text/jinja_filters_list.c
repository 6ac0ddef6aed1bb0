/* jinja_filters_list.c - filters over the members of a list, a mapping or a string. */
#include "engine/text/jinja_private.h"

#include <string.h>

/* ---- whole lists ---- */

static struct jinja_value filter_length(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    jinja_args_end(j, a, 0);
    switch (v.type) {
    case JINJA_STRING:
        jinja_step(j, v.string->n / 64);
        return jinja_int((int64_t)jinja_characters(v.string));
    case JINJA_LIST:
    case JINJA_TUPLE:
        return jinja_int((int64_t)v.list->n);
    case JINJA_DICT:
        return jinja_int((int64_t)v.dict->n);
    case JINJA_LOOP:
        return jinja_int((int64_t)v.loop->items->n);
    case JINJA_UNDEFINED:
        return jinja_int(0);
    default:
        return jinja_fail(j, "object of type '%s' has no len()", jinja_type_name(v));
    }
}

static struct jinja_value filter_default(struct jinja *j, struct jinja_value v,
                                         struct jinja_args *a)
{
    struct jinja_value instead = jinja_literal(j, "");
    jinja_arg(a, 0, "default_value", &instead);
    bool also_false = jinja_arg_bool(j, a, 1, "boolean", false);
    jinja_args_end(j, a, 2);
    return v.type == JINJA_UNDEFINED || (also_false && !jinja_truth(v)) ? instead : v;
}

static struct jinja_value filter_first(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    jinja_args_end(j, a, 0);
    const struct jinja_list *l = jinja_iterate(j, v);
    return l && l->n ? l->items[0] : jinja_undefined(j, "No first item, sequence was empty.");
}

static struct jinja_value filter_last(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    jinja_args_end(j, a, 0);
    const struct jinja_list *l = jinja_iterate(j, v);
    return l && l->n ? l->items[l->n - 1] : jinja_undefined(j, "No last item, sequence was empty.");
}

static struct jinja_value list_of(struct jinja *j, struct jinja_value v)
{
    struct jinja_value out = jinja_list_new(j);
    const struct jinja_list *l = jinja_iterate(j, v);
    for (size_t i = 0; l && i < l->n && jinja_step(j, 1); i++)
        jinja_list_add(j, out, l->items[i]);
    return out;
}

static struct jinja_value filter_list(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    jinja_args_end(j, a, 0);
    return list_of(j, v);
}

static struct jinja_value filter_reverse(struct jinja *j, struct jinja_value v,
                                         struct jinja_args *a)
{
    struct jinja_value back = jinja_list_new(j);
    struct jinja_buffer b = {0};
    jinja_args_end(j, a, 0);
    const struct jinja_list *l = jinja_iterate(j, v);
    for (size_t i = l ? l->n : 0; i-- > 0 && jinja_step(j, 1);) {
        if (v.type == JINJA_STRING)
            jinja_buffer_string(j, &b, l->items[i].string);
        else
            jinja_list_add(j, back, l->items[i]);
    }
    return v.type == JINJA_STRING ? jinja_buffer_value(j, &b) : back;
}

static struct jinja_value filter_items(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    struct jinja_value out = jinja_list_new(j);
    jinja_args_end(j, a, 0);
    if (v.type == JINJA_UNDEFINED)
        return out;
    if (v.type != JINJA_DICT)
        return jinja_fail(j, "Can only get item pairs from a mapping.");
    for (size_t i = 0; i < v.dict->n && jinja_step(j, 1); i++)
        jinja_list_add(j, out, jinja_pair(j, v.dict->keys[i], v.dict->values[i]));
    return out;
}

static struct jinja_value filter_batch(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    struct jinja_value out = jinja_list_new(j), row = jinja_list_new(j), fill = jinja_none();
    int64_t size = jinja_arg_int(j, a, 0, "linecount", 0);
    jinja_arg(a, 1, "fill_with", &fill);
    jinja_args_end(j, a, 2);
    const struct jinja_list *l = jinja_iterate(j, v);
    for (size_t i = 0; l && i < l->n && jinja_step(j, 1); i++) {
        if ((int64_t)row.list->n == size) {
            jinja_list_add(j, out, row);
            row = jinja_list_new(j);
        }
        jinja_list_add(j, row, l->items[i]);
    }
    while (row.list->n && fill.type != JINJA_NONE && (int64_t)row.list->n < size &&
           jinja_step(j, 1))
        jinja_list_add(j, row, fill);
    if (row.list->n)
        jinja_list_add(j, out, row);
    return out;
}

/* ---- with a key ---- */

/* The value that "a.b.0" leads to from v. */
static struct jinja_value follow(struct jinja *j, struct jinja_value v, struct jinja_value path)
{
    int64_t i;
    if (path.type == JINJA_NONE)
        return v;
    if (jinja_as_int(path, &i))
        return jinja_item(j, v, path);
    if (path.type != JINJA_STRING)
        return jinja_fail(j, "an attribute should be a string or a number");
    const char *p = path.string->bytes, *end = p + path.string->n;
    while (!j->failed) {
        const char *dot = memchr(p, '.', (size_t)(end - p)), *stop = dot ? dot : end;
        bool is_index = stop > p && stop - p < 10;
        int64_t index = 0;
        for (const char *q = p; is_index && q < stop; q++) {
            is_index = *q >= '0' && *q <= '9';
            index = index * 10 + (*q - '0');
        }
        struct jinja_value key = jinja_slice(j, path.string, (size_t)(p - path.string->bytes),
                                             (size_t)(stop - path.string->bytes));
        v = jinja_item(j, v, is_index ? jinja_int(index) : key);
        if (!dot)
            break;
        p = dot + 1;
    }
    return v;
}

static struct jinja_value sort_key(struct jinja *j, struct jinja_value v, struct jinja_value path,
                                   bool case_sensitive)
{
    struct jinja_args none = {.callee = "lower"};
    v = follow(j, v, path);
    return v.type == JINJA_STRING && !case_sensitive && !j->failed
               ? jinja_call_method(j, "lower", v, &none)
               : v;
}

/* Stable, n log n: merges runs of growing length. */
static void sort_by(struct jinja *j, struct jinja_value *items, struct jinja_value *keys, size_t n,
                    bool reverse)
{
    struct jinja_value *items2 = jinja_take(&j->heap, n * sizeof *items),
                       *keys2 = jinja_take(&j->heap, n * sizeof *keys);
    for (size_t run = 1; run < n && !j->failed; run *= 2) {
        for (size_t at = 0; at < n; at += 2 * run) {
            size_t middle = at + run < n ? at + run : n, end = at + 2 * run < n ? at + 2 * run : n;
            size_t a = at, b = middle;
            for (size_t k = at; k < end; k++) {
                bool left = a < middle;
                if (left && b < end) {
                    int o = jinja_compare(j, keys[a], keys[b]);
                    left = reverse ? o >= 0 : o <= 0;
                }
                size_t from = left ? a++ : b++;
                items2[k] = items[from];
                keys2[k] = keys[from];
            }
        }
        memcpy(items, items2, n * sizeof *items);
        memcpy(keys, keys2, n * sizeof *keys);
    }
}

static struct jinja_value filter_sort(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    struct jinja_value path = jinja_none(), out = list_of(j, v);
    bool reverse = jinja_arg_bool(j, a, 0, "reverse", false),
         case_sensitive = jinja_arg_bool(j, a, 1, "case_sensitive", false);
    jinja_arg(a, 2, "attribute", &path);
    if (!jinja_args_end(j, a, 3) || !jinja_room(j, 4 * out.list->n * sizeof v))
        return v;
    if (path.type == JINJA_STRING && memchr(path.string->bytes, ',', path.string->n))
        return jinja_unknown(j, "sort by several attributes is not supported");
    struct jinja_value *keys = jinja_take(&j->heap, out.list->n * sizeof *keys);
    for (size_t i = 0; i < out.list->n && !j->failed; i++)
        keys[i] = sort_key(j, out.list->items[i], path, case_sensitive);
    if (!j->failed)
        sort_by(j, out.list->items, keys, out.list->n, reverse);
    return out;
}

static struct jinja_value filter_dictsort(struct jinja *j, struct jinja_value v,
                                          struct jinja_args *a)
{
    bool case_sensitive = jinja_arg_bool(j, a, 0, "case_sensitive", false),
         reverse = jinja_arg_bool(j, a, 2, "reverse", false);
    struct jinja_value by = jinja_literal(j, "key");
    jinja_arg(a, 1, "by", &by);
    if (!jinja_args_end(j, a, 3))
        return v;
    if (v.type != JINJA_DICT)
        return jinja_fail(j, "dictsort: '%s' is no mapping", jinja_type_name(v));
    bool by_value = by.type == JINJA_STRING && jinja_is(by.string, "value");
    struct jinja_args none = {.callee = "dictsort"};
    struct jinja_value out = filter_items(j, v, &none);
    if (j->failed || !jinja_room(j, 4 * out.list->n * sizeof v))
        return v;
    struct jinja_value *keys = jinja_take(&j->heap, out.list->n * sizeof *keys);
    for (size_t i = 0; i < out.list->n && !j->failed; i++)
        keys[i] = sort_key(j, (by_value ? v.dict->values : v.dict->keys)[i], jinja_none(),
                           case_sensitive);
    if (!j->failed)
        sort_by(j, out.list->items, keys, out.list->n, reverse);
    return out;
}

static struct jinja_value filter_unique(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    struct jinja_value path = jinja_none(), seen = jinja_dict_new(j), out = jinja_list_new(j), old;
    bool case_sensitive = jinja_arg_bool(j, a, 0, "case_sensitive", false);
    jinja_arg(a, 1, "attribute", &path);
    jinja_args_end(j, a, 2);
    const struct jinja_list *l = jinja_iterate(j, v);
    for (size_t i = 0; l && i < l->n && jinja_step(j, 1); i++) {
        struct jinja_value key = sort_key(j, l->items[i], path, case_sensitive);
        if (!jinja_dict_get(j, seen.dict, key, &old))
            jinja_list_add(j, out, l->items[i]);
        jinja_dict_put(j, seen, key, jinja_none());
    }
    return out;
}

static struct jinja_value extreme(struct jinja *j, struct jinja_value v, struct jinja_args *a,
                                  int sign)
{
    struct jinja_value path = jinja_none(), best = v, best_key = v;
    bool case_sensitive = jinja_arg_bool(j, a, 0, "case_sensitive", false);
    jinja_arg(a, 1, "attribute", &path);
    jinja_args_end(j, a, 2);
    const struct jinja_list *l = jinja_iterate(j, v);
    if (!l || l->n == 0)
        return jinja_undefined(j, "No aggregated item, sequence was empty.");
    for (size_t i = 0; i < l->n && jinja_step(j, 1); i++) {
        struct jinja_value key = sort_key(j, l->items[i], path, case_sensitive);
        if (i > 0 && sign * jinja_compare(j, key, best_key) <= 0)
            continue;
        best = l->items[i];
        best_key = key;
    }
    return best;
}

static struct jinja_value filter_min(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    return extreme(j, v, a, -1);
}
static struct jinja_value filter_max(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    return extreme(j, v, a, 1);
}

static struct jinja_value filter_sum(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    struct jinja_value path = jinja_none(), sum = jinja_int(0);
    jinja_arg(a, 0, "attribute", &path);
    jinja_arg(a, 1, "start", &sum);
    jinja_args_end(j, a, 2);
    const struct jinja_list *l = jinja_iterate(j, v);
    for (size_t i = 0; l && i < l->n && jinja_step(j, 1); i++)
        sum = jinja_binary(j, '+', sum, follow(j, l->items[i], path));
    return sum;
}

static struct jinja_value filter_join(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    struct jinja_value between = jinja_literal(j, ""), path = jinja_none();
    struct jinja_buffer b = {0};
    jinja_arg(a, 0, "d", &between);
    jinja_arg(a, 1, "attribute", &path);
    jinja_args_end(j, a, 2);
    const struct jinja_string *d = jinja_str(j, between);
    const struct jinja_list *l = jinja_iterate(j, v);
    for (size_t i = 0; l && i < l->n && jinja_step(j, 1); i++) {
        if (i)
            jinja_buffer_string(j, &b, d);
        jinja_print(j, &b, follow(j, l->items[i], path));
    }
    return jinja_buffer_value(j, &b);
}

static struct jinja_value filter_attr(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    struct jinja_value name;
    if (!jinja_arg_needed(j, a, 0, "name", &name) || !jinja_args_end(j, a, 1))
        return v;
    if (v.type == JINJA_DICT) /* members are no attributes to this filter */
        return jinja_undefined(j, "'dict object' has no attribute");
    return jinja_attribute(j, v, jinja_str(j, name));
}

/* ---- with another filter or test ---- */

/* The arguments from number `from` on. */
static struct jinja_args rest(const struct jinja_args *a, int from)
{
    struct jinja_args r = *a;
    from = from < a->n ? from : a->n;
    r.values += from;
    r.n -= from;
    for (int i = 0; i < r.n_keywords; i++)
        r.keywords[i].used = false;
    return r;
}

static struct jinja_value filter_map(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    struct jinja_value path, absent = jinja_none(), out = jinja_list_new(j);
    bool by_path = a->n == 0 && jinja_arg(a, -1, "attribute", &path);
    bool has_default = by_path && jinja_arg(a, -1, "default", &absent);
    if (by_path)
        jinja_args_end(j, a, 0);
    else if (a->n == 0)
        return jinja_fail(j, "map requires a filter argument");
    if (!jinja_truth(v)) /* none as well */
        return out;
    const struct jinja_list *l = jinja_iterate(j, v);
    for (size_t i = 0; l && i < l->n && jinja_step(j, 1); i++) {
        struct jinja_value item = l->items[i];
        if (by_path) {
            item = follow(j, item, path);
            if (has_default && item.type == JINJA_UNDEFINED)
                item = absent;
        } else {
            struct jinja_args more = rest(a, 1);
            item = jinja_apply_filter(j, jinja_str(j, a->values[0]), item, &more);
        }
        jinja_list_add(j, out, item);
    }
    return out;
}

static struct jinja_value choose(struct jinja *j, struct jinja_value v, struct jinja_args *a,
                                 bool by_attribute, bool want)
{
    struct jinja_value out = jinja_list_new(j);
    int at = by_attribute ? 1 : 0;
    if (a->n < at)
        return jinja_fail(j, "Missing parameter for attribute name");
    if (!jinja_truth(v)) /* none as well */
        return out;
    const struct jinja_list *l = jinja_iterate(j, v);
    for (size_t i = 0; l && i < l->n && jinja_step(j, 1); i++) {
        struct jinja_value item = by_attribute ? follow(j, l->items[i], a->values[0])
                                               : l->items[i];
        bool yes = jinja_truth(item);
        if (a->n > at) {
            struct jinja_args more = rest(a, at + 1);
            yes = jinja_apply_test(j, jinja_str(j, a->values[at]), item, &more);
        }
        if (yes == want)
            jinja_list_add(j, out, l->items[i]);
    }
    return out;
}

static struct jinja_value filter_select(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    return choose(j, v, a, false, true);
}
static struct jinja_value filter_reject(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    return choose(j, v, a, false, false);
}
static struct jinja_value filter_selectattr(struct jinja *j, struct jinja_value v,
                                            struct jinja_args *a)
{
    return choose(j, v, a, true, true);
}
static struct jinja_value filter_rejectattr(struct jinja *j, struct jinja_value v,
                                            struct jinja_args *a)
{
    return choose(j, v, a, true, false);
}

/* ---- the table ---- */

jinja_fn jinja_list_filter(const struct jinja_string *name)
{
    static const struct jinja_named filters[] = {
        {"length", filter_length},
        {"count", filter_length},
        {"default", filter_default},
        {"d", filter_default},
        {"join", filter_join},
        {"first", filter_first},
        {"last", filter_last},
        {"list", filter_list},
        {"map", filter_map},
        {"select", filter_select},
        {"reject", filter_reject},
        {"selectattr", filter_selectattr},
        {"rejectattr", filter_rejectattr},
        {"sort", filter_sort},
        {"dictsort", filter_dictsort},
        {"unique", filter_unique},
        {"items", filter_items},
        {"min", filter_min},
        {"max", filter_max},
        {"sum", filter_sum},
        {"reverse", filter_reverse},
        {"batch", filter_batch},
        {"attr", filter_attr},
        {NULL, NULL},
    };
    return jinja_find(filters, name);
}
