/* jinja_call.c - what can be called: arguments, methods of containers, loops, the functions that a
 * chat template finds. */
#include "engine/text/jinja_private.h"

#include <locale.h>
#include <string.h>

/* ---- arguments ---- */

bool jinja_arg(struct jinja_args *a, int position, const char *name, struct jinja_value *out)
{
    for (int i = 0; i < a->n_keywords; i++)
        if (jinja_is(a->keywords[i].name, name)) {
            a->keywords[i].used = true;
            *out = a->keywords[i].value;
            return true;
        }
    if (position < 0 || position >= a->n)
        return false;
    *out = a->values[position];
    return true;
}

bool jinja_arg_needed(struct jinja *j, struct jinja_args *a, int position, const char *name,
                      struct jinja_value *out)
{
    if (jinja_arg(a, position, name, out))
        return !j->failed;
    jinja_fail(j, "%s: the argument '%s' is missing", a->callee, name);
    return false;
}

int64_t jinja_arg_int(struct jinja *j, struct jinja_args *a, int position, const char *name,
                      int64_t absent)
{
    struct jinja_value v;
    int64_t i = absent;
    if (jinja_arg(a, position, name, &v) && v.type != JINJA_NONE && !jinja_as_int(v, &i))
        jinja_fail(j, "%s: '%s' should be a whole number, not '%s'", a->callee, name,
                   jinja_type_name(v));
    return i;
}

bool jinja_arg_bool(struct jinja *j, struct jinja_args *a, int position, const char *name,
                    bool absent)
{
    struct jinja_value v;
    (void)j;
    return jinja_arg(a, position, name, &v) ? jinja_truth(v) : absent;
}

bool jinja_args_end(struct jinja *j, struct jinja_args *a, int max)
{
    if (a->n > max)
        jinja_fail(j, "%s takes at most %d argument(s), %d given", a->callee, max, a->n);
    for (int i = 0; i < a->n_keywords; i++)
        if (!a->keywords[i].used)
            jinja_fail(j, "%s got an unexpected keyword argument '%.*s'", a->callee,
                       (int)a->keywords[i].name->n, a->keywords[i].name->bytes);
    return !j->failed;
}

/* ---- methods of containers ---- */

static struct jinja_value dict_get(struct jinja *j, struct jinja_value self, struct jinja_args *a)
{
    struct jinja_value key, out = jinja_none();
    if (!jinja_arg_needed(j, a, 0, "key", &key))
        return self;
    jinja_arg(a, 1, "default", &out);
    if (jinja_args_end(j, a, 2))
        jinja_dict_get(j, self.dict, key, &out);
    return out;
}

static struct jinja_value dict_keys(struct jinja *j, struct jinja_value self, struct jinja_args *a)
{
    struct jinja_value out = jinja_list_new(j);
    jinja_args_end(j, a, 0);
    for (size_t i = 0; i < self.dict->n && jinja_step(j, 1); i++)
        jinja_list_add(j, out, self.dict->keys[i]);
    return out;
}

static struct jinja_value dict_values(struct jinja *j, struct jinja_value self,
                                      struct jinja_args *a)
{
    struct jinja_value out = jinja_list_new(j);
    jinja_args_end(j, a, 0);
    for (size_t i = 0; i < self.dict->n && jinja_step(j, 1); i++)
        jinja_list_add(j, out, self.dict->values[i]);
    return out;
}

static struct jinja_value dict_items(struct jinja *j, struct jinja_value self, struct jinja_args *a)
{
    struct jinja_value out = jinja_list_new(j);
    jinja_args_end(j, a, 0);
    for (size_t i = 0; i < self.dict->n && jinja_step(j, 1); i++)
        jinja_list_add(j, out, jinja_pair(j, self.dict->keys[i], self.dict->values[i]));
    return out;
}

static struct jinja_value dict_copy(struct jinja *j, struct jinja_value self, struct jinja_args *a)
{
    struct jinja_value out = jinja_dict_new(j);
    jinja_args_end(j, a, 0);
    for (size_t i = 0; i < self.dict->n && jinja_step(j, 1); i++)
        jinja_dict_put(j, out, self.dict->keys[i], self.dict->values[i]);
    return out;
}

static struct jinja_value list_count(struct jinja *j, struct jinja_value self, struct jinja_args *a)
{
    struct jinja_value v;
    int64_t n = 0;
    if (!jinja_arg_needed(j, a, 0, "value", &v) || !jinja_args_end(j, a, 1))
        return self;
    for (size_t i = 0; i < self.list->n && !j->failed; i++)
        n += jinja_equal(j, self.list->items[i], v);
    return jinja_int(n);
}

static struct jinja_value list_index(struct jinja *j, struct jinja_value self, struct jinja_args *a)
{
    struct jinja_value v;
    if (!jinja_arg_needed(j, a, 0, "value", &v) || !jinja_args_end(j, a, 1))
        return self;
    for (size_t i = 0; i < self.list->n && !j->failed; i++)
        if (jinja_equal(j, self.list->items[i], v))
            return jinja_int((int64_t)i);
    return jinja_fail(j, "the value is not in the %s", jinja_type_name(self));
}

static struct jinja_value unsafe(struct jinja *j, struct jinja_value self, struct jinja_args *a)
{
    return jinja_fail(j, "access to attribute '%s' of '%s' object is unsafe", a->callee,
                      jinja_type_name(self));
}

/* ---- loops, cyclers, joiners ---- */

static struct jinja_value loop_cycle(struct jinja *j, struct jinja_value self, struct jinja_args *a)
{
    if (a->n == 0)
        return jinja_fail(j, "no items for cycling given");
    return a->values[self.loop->index0 % (size_t)a->n];
}

static struct jinja_value loop_changed(struct jinja *j, struct jinja_value self,
                                       struct jinja_args *a)
{
    struct jinja_value now = jinja_tuple_new(j);
    for (int i = 0; i < a->n; i++)
        jinja_list_add(j, now, a->values[i]);
    bool changed = self.loop->changed.type == JINJA_UNDEFINED ||
                   !jinja_equal(j, self.loop->changed, now);
    self.loop->changed = now;
    return jinja_bool(changed);
}

static bool loop_attribute(struct jinja *j, struct jinja_value v, const struct jinja_string *name,
                           struct jinja_value *out)
{
    const struct jinja_loop *l = v.loop;
    int64_t i = (int64_t)l->index0, n = (int64_t)l->items->n;
    const struct {
        const char *name;
        struct jinja_value value;
    } plain[] = { /* the depth is that of recursive loops, which are not known here */
        {"index", jinja_int(i + 1)},       {"index0", jinja_int(i)},
        {"revindex", jinja_int(n - i)},    {"revindex0", jinja_int(n - i - 1)},
        {"first", jinja_bool(i == 0)},     {"last", jinja_bool(i == n - 1)},
        {"length", jinja_int(n)},          {"depth", jinja_int(1)},
        {"depth0", jinja_int(0)},
    };
    for (size_t k = 0; k < sizeof plain / sizeof *plain; k++)
        if (jinja_is(name, plain[k].name)) {
            *out = plain[k].value;
            return true;
        }
    if (jinja_is(name, "previtem"))
        *out = i > 0 ? l->items->items[i - 1] : jinja_undefined(j, "there is no previous item");
    else if (jinja_is(name, "nextitem"))
        *out = i + 1 < n ? l->items->items[i + 1] : jinja_undefined(j, "there is no next item");
    else if (jinja_is(name, "cycle"))
        *out = jinja_method(j, "cycle", loop_cycle, v);
    else if (jinja_is(name, "changed"))
        *out = jinja_method(j, "changed", loop_changed, v);
    else
        return false;
    return true;
}

static struct jinja_value cycler_next(struct jinja *j, struct jinja_value self,
                                      struct jinja_args *a)
{
    struct jinja_cycler *c = self.cycler;
    jinja_args_end(j, a, 0);
    return c->items->items[c->pos++ % c->items->n];
}

static struct jinja_value cycler_reset(struct jinja *j, struct jinja_value self,
                                       struct jinja_args *a)
{
    jinja_args_end(j, a, 0);
    self.cycler->pos = 0;
    return jinja_none();
}

static bool cycler_attribute(struct jinja *j, struct jinja_value v, const struct jinja_string *name,
                             struct jinja_value *out)
{
    if (jinja_is(name, "next"))
        *out = jinja_method(j, "next", cycler_next, v);
    else if (jinja_is(name, "reset"))
        *out = jinja_method(j, "reset", cycler_reset, v);
    else if (jinja_is(name, "current"))
        *out = v.cycler->items->items[v.cycler->pos % v.cycler->items->n];
    else
        return false;
    return true;
}

/* ---- attributes ---- */

jinja_fn jinja_find(const struct jinja_named *list, const struct jinja_string *name)
{
    for (; list->name; list++)
        if (jinja_is(name, list->name))
            return list->fn;
    return NULL;
}

static jinja_fn method_of(struct jinja_value v, const struct jinja_string *name)
{
    static const struct jinja_named of_dict[] = {
        {"get", dict_get},     {"keys", dict_keys}, {"values", dict_values}, {"items", dict_items},
        {"copy", dict_copy},   {"update", unsafe},  {"pop", unsafe},         {"popitem", unsafe},
        {"setdefault", unsafe}, {"clear", unsafe},  {NULL, NULL}};
    static const struct jinja_named of_list[] = {
        {"count", list_count}, {"index", list_index}, {"append", unsafe}, {"extend", unsafe},
        {"insert", unsafe},    {"pop", unsafe},       {"remove", unsafe}, {"reverse", unsafe},
        {"sort", unsafe},      {"clear", unsafe},     {NULL, NULL}};
    static const struct jinja_named of_tuple[] = {
        {"count", list_count}, {"index", list_index}, {NULL, NULL}};
    switch (v.type) {
    case JINJA_STRING:
        return jinja_string_method(name);
    case JINJA_DICT:
        return jinja_find(of_dict, name);
    case JINJA_LIST:
        return jinja_find(of_list, name);
    case JINJA_TUPLE:
        return jinja_find(of_tuple, name);
    default:
        return NULL;
    }
}

static const char *name_copy(struct jinja *j, const struct jinja_string *name)
{
    char *text = jinja_take(&j->heap, name->n + 1);
    memcpy(text, name->bytes, name->n);
    return text;
}

/* v.name: a method first, then a member, which is Jinja's order; v['name'] has asked for the member
 * already. */
struct jinja_value jinja_attribute(struct jinja *j, struct jinja_value v,
                                   const struct jinja_string *name)
{
    struct jinja_value out;
    if (j->failed)
        return v;
    if (v.type == JINJA_UNDEFINED)
        return jinja_fail(j, "%.*s", (int)v.string->n, v.string->bytes);
    jinja_fn fn = method_of(v, name);
    if (fn)
        return jinja_method(j, name_copy(j, name), fn, v);
    bool there = v.type == JINJA_LOOP     ? loop_attribute(j, v, name, &out)
                 : v.type == JINJA_CYCLER ? cycler_attribute(j, v, name, &out)
                 : v.type == JINJA_DICT || v.type == JINJA_NAMESPACE
                     ? jinja_dict_get_text(j, v.dict, name, &out)
                     : false;
    if (there)
        return out;
    if (v.type == JINJA_MACRO && jinja_is(name, "name") && v.macro->node->name)
        return jinja_string_value(v.macro->node->name);
    return jinja_undefined(j, "'%s object' has no attribute '%.*s'", jinja_type_name(v),
                           (int)(name->n < 100 ? name->n : 100), name->bytes);
}

/* ---- global functions ---- */

static struct jinja_value fn_raise(struct jinja *j, struct jinja_value self, struct jinja_args *a)
{
    struct jinja_value v = jinja_literal(j, "the template raised an exception");
    jinja_arg(a, 0, "message", &v);
    const struct jinja_string *s = jinja_str(j, v);
    if (!j->failed)
        error_set(&j->error, GM_E_INPUT, "%.*s", (int)s->n, s->bytes);
    j->failed = true;
    return self;
}

static struct jinja_value fn_strftime_now(struct jinja *j, struct jinja_value self,
                                          struct jinja_args *a)
{
    struct jinja_value v;
    struct tm tm;
    char format[256], text[512];
    if (!jinja_arg_needed(j, a, 0, "format", &v) || !jinja_args_end(j, a, 1))
        return self;
    if (v.type != JINJA_STRING || v.string->n >= sizeof format)
        return jinja_fail(j, "strftime_now needs a short string");
    memcpy(format, v.string->bytes, v.string->n);
    format[v.string->n] = 0;
    localtime_r(&j->now, &tm);
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* not the person's language */
    size_t n = plain ? strftime_l(text, sizeof text, format, &tm, plain) : 0;
    if (plain)
        freelocale(plain);
    char *copy = jinja_take(&j->heap, n + 1);
    memcpy(copy, text, n);
    return jinja_literal(j, copy);
}

static struct jinja_value fn_range(struct jinja *j, struct jinja_value self, struct jinja_args *a)
{
    int64_t bounds[3] = {0, 0, 1};
    if (a->n < 1 || !jinja_args_end(j, a, 3))
        return jinja_fail(j, "range takes one to three whole numbers");
    for (int i = 0; i < a->n; i++)
        if (!jinja_as_int(a->values[i], &bounds[a->n == 1 ? 1 : i]))
            return jinja_fail(j, "'%s' object cannot be interpreted as an integer",
                              jinja_type_name(a->values[i]));
    if (bounds[2] == 0)
        return jinja_fail(j, "range() arg 3 must not be zero");
    struct jinja_value out = jinja_list_new(j);
    (void)self;
    for (int64_t i = bounds[0]; bounds[2] > 0 ? i < bounds[1] : i > bounds[1];) {
        if (out.list->n == JINJA_RANGE_MAX)
            return jinja_fail(j, "range too big (the sandbox allows %d)", JINJA_RANGE_MAX);
        jinja_list_add(j, out, jinja_int(i));
        if (!jinja_step(j, 1) || __builtin_add_overflow(i, bounds[2], &i))
            break;
    }
    return out;
}

/* dict(a=1), dict(other, a=1), dict([(k, v)]). */
static struct jinja_value make_dict(struct jinja *j, struct jinja_args *a)
{
    struct jinja_value out = jinja_dict_new(j);
    if (a->n > 1)
        return jinja_fail(j, "%s takes at most 1 argument by position", a->callee);
    if (a->n == 1 && a->values[0].type == JINJA_DICT)
        for (size_t i = 0; i < a->values[0].dict->n && jinja_step(j, 1); i++)
            jinja_dict_put(j, out, a->values[0].dict->keys[i], a->values[0].dict->values[i]);
    else if (a->n == 1) {
        const struct jinja_list *l = jinja_iterate(j, a->values[0]);
        for (size_t i = 0; l && i < l->n && jinja_step(j, 1); i++) {
            const struct jinja_list *pair = jinja_iterate(j, l->items[i]);
            if (!pair || pair->n != 2)
                return jinja_fail(j, "%s needs pairs", a->callee);
            jinja_dict_put(j, out, pair->items[0], pair->items[1]);
        }
    }
    for (int i = 0; i < a->n_keywords; i++)
        jinja_dict_put(j, out, jinja_string_value(a->keywords[i].name), a->keywords[i].value);
    return out;
}

static struct jinja_value fn_dict(struct jinja *j, struct jinja_value self, struct jinja_args *a)
{
    (void)self;
    return make_dict(j, a);
}

static struct jinja_value fn_namespace(struct jinja *j, struct jinja_value self,
                                       struct jinja_args *a)
{
    struct jinja_value v = make_dict(j, a);
    (void)self;
    if (!j->failed)
        v.type = JINJA_NAMESPACE;
    return v;
}

static struct jinja_value fn_cycler(struct jinja *j, struct jinja_value self, struct jinja_args *a)
{
    struct jinja_value items = jinja_list_new(j);
    struct jinja_cycler *c = jinja_take(&j->heap, sizeof *c);
    (void)self;
    if (a->n == 0)
        return jinja_fail(j, "at least one item has to be provided");
    for (int i = 0; i < a->n; i++)
        jinja_list_add(j, items, a->values[i]);
    c->items = items.list;
    return (struct jinja_value){.type = JINJA_CYCLER, .cycler = c};
}

static struct jinja_value fn_joiner(struct jinja *j, struct jinja_value self, struct jinja_args *a)
{
    struct jinja_cycler *c = jinja_take(&j->heap, sizeof *c);
    (void)self;
    c->text = jinja_literal(j, ", ");
    jinja_arg(a, 0, "sep", &c->text);
    jinja_args_end(j, a, 1);
    return (struct jinja_value){.type = JINJA_JOINER, .cycler = c};
}

struct jinja_value jinja_global(struct jinja *j, const struct jinja_string *name)
{
    static const struct jinja_named list[] = {
        {"raise_exception", fn_raise}, {"strftime_now", fn_strftime_now}, {"range", fn_range},
        {"dict", fn_dict},             {"namespace", fn_namespace},       {"cycler", fn_cycler},
        {"joiner", fn_joiner},         {NULL, NULL}};
    jinja_fn fn = jinja_find(list, name);
    if (fn)
        return jinja_method(j, name_copy(j, name), fn, jinja_none());
    if (jinja_is(name, "lipsum"))
        return jinja_unknown(j, "the function 'lipsum' is not supported");
    return jinja_undefined(j, "'%.*s' is undefined", (int)(name->n < 100 ? name->n : 100),
                           name->bytes);
}

struct jinja_value jinja_call(struct jinja *j, struct jinja_value callee, struct jinja_args *args)
{
    if (!jinja_step(j, 1))
        return callee;
    switch (callee.type) {
    case JINJA_FUNCTION:
        args->callee = callee.function->name;
        return callee.function->fn(j, callee.function->self, args);
    case JINJA_MACRO:
        return jinja_call_macro(j, callee.macro, args);
    case JINJA_JOINER:
        return callee.cycler->pos++ ? callee.cycler->text : jinja_literal(j, "");
    case JINJA_UNDEFINED:
        return jinja_fail(j, "%.*s", (int)callee.string->n, callee.string->bytes);
    default:
        return jinja_fail(j, "'%s' object is not callable", jinja_type_name(callee));
    }
}
