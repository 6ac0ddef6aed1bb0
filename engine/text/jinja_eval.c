/* jinja_eval.c - the value of an expression. */
#include "engine/text/jinja_private.h"

#include <string.h>

static void add_positional(struct jinja *j, struct jinja_args *a, struct jinja_value list)
{
    const struct jinja_list *l = jinja_iterate(j, list);
    if (!l || !jinja_room(j, ((size_t)a->n + l->n) * sizeof *a->values))
        return;
    struct jinja_value *values = jinja_take(&j->heap, ((size_t)a->n + l->n) * sizeof *values);
    if (a->n)
        memcpy(values, a->values, (size_t)a->n * sizeof *values);
    if (l->n)
        memcpy(values + a->n, l->items, l->n * sizeof *values);
    a->values = values;
    a->n += (int)l->n;
}

static void add_keywords(struct jinja *j, struct jinja_args *a, struct jinja_value dict)
{
    if (j->failed || dict.type != JINJA_DICT) {
        jinja_fail(j, "argument after ** must be a mapping, not %s", jinja_type_name(dict));
        return;
    }
    size_t n = (size_t)a->n_keywords + dict.dict->n;
    struct jinja_keyword *list = jinja_take(&j->heap, n * sizeof *list);
    if (a->n_keywords)
        memcpy(list, a->keywords, (size_t)a->n_keywords * sizeof *list);
    for (size_t i = 0; i < dict.dict->n; i++) {
        if (dict.dict->keys[i].type != JINJA_STRING) {
            jinja_fail(j, "keywords must be strings");
            return;
        }
        list[a->n_keywords++] = (struct jinja_keyword){.name = dict.dict->keys[i].string,
                                                       .value = dict.dict->values[i]};
    }
    a->keywords = list;
}

struct jinja_args jinja_eval_args(struct jinja *j, const struct jinja_node *args)
{
    struct jinja_args a = {.callee = "call"};
    size_t n = 0;
    for (const struct jinja_node *m = args; m; m = m->next)
        n++;
    if (n == 0)
        return a;
    a.values = jinja_take(&j->heap, n * sizeof *a.values);
    a.keywords = jinja_take(&j->heap, n * sizeof *a.keywords);
    for (const struct jinja_node *m = args; m && !j->failed; m = m->next) {
        struct jinja_value v = jinja_eval(j, m->a);
        if (j->failed)
            break;
        if (m->op == 1)
            add_positional(j, &a, v);
        else if (m->op == 2)
            add_keywords(j, &a, v);
        else if (m->name)
            a.keywords[a.n_keywords++] = (struct jinja_keyword){.name = m->name, .value = v};
        else
            a.values[a.n++] = v;
    }
    return a;
}

struct jinja_value jinja_lookup(struct jinja *j, const struct jinja_string *name)
{
    for (const struct jinja_scope *s = j->scope; s; s = s->parent) {
        jinja_step(j, s->n / 16);
        for (size_t i = s->n; i-- > 0;)
            if (s->variables[i].name == name || jinja_same_text(s->variables[i].name, name))
                return s->variables[i].value;
    }
    return jinja_global(j, name);
}

static struct jinja_value eval_list(struct jinja *j, const struct jinja_node *n)
{
    struct jinja_value out = n->kind == NODE_LIST ? jinja_list_new(j) : jinja_tuple_new(j);
    for (const struct jinja_node *m = n->list; m && !j->failed; m = m->next)
        jinja_list_add(j, out, jinja_eval(j, m));
    return out;
}

static struct jinja_value eval_dict(struct jinja *j, const struct jinja_node *n)
{
    struct jinja_value out = jinja_dict_new(j);
    for (const struct jinja_node *m = n->list; m && !j->failed; m = m->next->next) {
        struct jinja_value key = jinja_eval(j, m), value = jinja_eval(j, m->next);
        if (!j->failed)
            jinja_dict_put(j, out, key, value);
    }
    return out;
}

static struct jinja_value eval_item(struct jinja *j, const struct jinja_node *n)
{
    struct jinja_value v = jinja_eval(j, n->a), none = jinja_none();
    if (n->b->kind != NODE_SLICE)
        return jinja_item(j, v, jinja_eval(j, n->b));
    struct jinja_value from = n->b->a ? jinja_eval(j, n->b->a) : none,
                       to = n->b->b ? jinja_eval(j, n->b->b) : none,
                       step = n->b->c ? jinja_eval(j, n->b->c) : none;
    return jinja_item_slice(j, v, from, to, step);
}

struct jinja_value jinja_eval_call(struct jinja *j, const struct jinja_node *n,
                                   const struct jinja_value *caller)
{
    static const struct jinja_string caller_name = {.bytes = "caller", .n = 6};
    struct jinja_value callee = jinja_eval(j, n->a);
    struct jinja_args args = jinja_eval_args(j, n->args);
    if (j->failed)
        return callee;
    if (caller) {
        struct jinja_value named = jinja_dict_new(j);
        jinja_dict_put(j, named, jinja_string_value(&caller_name), *caller);
        add_keywords(j, &args, named);
    }
    j->line = n->line;
    return jinja_call(j, callee, &args);
}

struct jinja_value jinja_eval_filters(struct jinja *j, const struct jinja_node *n,
                                      struct jinja_value input)
{
    if (!n || !jinja_deeper(j))
        return input;
    input = jinja_eval_filters(j, n->a, input);
    struct jinja_args args = jinja_eval_args(j, n->args);
    j->line = n->line;
    input = jinja_apply_filter(j, n->name, input, &args);
    j->depth--;
    return input;
}

static struct jinja_value eval_filter(struct jinja *j, const struct jinja_node *n)
{
    struct jinja_value v = jinja_eval(j, n->a);
    struct jinja_args args = jinja_eval_args(j, n->args);
    j->line = n->line;
    return jinja_apply_filter(j, n->name, v, &args);
}

static struct jinja_value eval_test(struct jinja *j, const struct jinja_node *n)
{
    struct jinja_value v = jinja_eval(j, n->a);
    struct jinja_args args = jinja_eval_args(j, n->args);
    j->line = n->line;
    return jinja_bool(jinja_apply_test(j, n->name, v, &args));
}

static bool compare(struct jinja *j, int op, struct jinja_value a, struct jinja_value b)
{
    switch (op) {
    case JINJA_OP2('=', '='):
        return jinja_equal(j, a, b);
    case JINJA_OP2('!', '='):
        return !jinja_equal(j, a, b);
    case JINJA_OP2('i', 'n'):
        return jinja_contains(j, a, b);
    case JINJA_OP2('!', 'i'):
        return !jinja_contains(j, a, b);
    default:
        break;
    }
    int order = jinja_compare(j, a, b);
    if (order == 2) /* not a number */
        return false;
    return op == '<'                   ? order < 0
           : op == '>'                 ? order > 0
           : op == JINJA_OP2('<', '=') ? order <= 0
                                       : order >= 0;
}

/* a < b < c: each pair, up to the first that does not hold. */
static struct jinja_value eval_compare(struct jinja *j, const struct jinja_node *n)
{
    struct jinja_value left = jinja_eval(j, n->a);
    bool holds = true;
    for (const struct jinja_node *m = n->list; m && holds && !j->failed; m = m->next) {
        struct jinja_value right = jinja_eval(j, m->a);
        j->line = m->line;
        holds = !j->failed && compare(j, m->op, left, right);
        left = right;
    }
    return jinja_bool(holds);
}

static struct jinja_value eval_concat(struct jinja *j, const struct jinja_node *n)
{
    struct jinja_buffer b = {0};
    for (const struct jinja_node *m = n->list; m && !j->failed; m = m->next)
        jinja_print(j, &b, jinja_eval(j, m));
    return jinja_buffer_value(j, &b);
}

static struct jinja_value eval_condition(struct jinja *j, const struct jinja_node *n)
{
    if (jinja_truth(jinja_eval(j, n->a)))
        return jinja_eval(j, n->b);
    if (n->c)
        return jinja_eval(j, n->c);
    return jinja_undefined(j, "the inline if-expression on line %d evaluated to false and no else "
                              "section was defined.",
                           n->line);
}

static struct jinja_value eval_positive(struct jinja *j, const struct jinja_node *n)
{
    struct jinja_value v = jinja_eval(j, n->a);
    double x;
    if (!j->failed && !jinja_as_float(v, &x))
        return jinja_fail(j, "bad operand type for unary +: '%s'", jinja_type_name(v));
    return v.type == JINJA_BOOL ? jinja_int(v.boolean) : v;
}

static struct jinja_value eval_binary(struct jinja *j, const struct jinja_node *n)
{
    struct jinja_value a = jinja_eval(j, n->a), b = jinja_eval(j, n->b);
    j->line = n->line;
    return jinja_binary(j, n->op, a, b);
}

static struct jinja_value eval_kind(struct jinja *j, const struct jinja_node *n)
{
    struct jinja_value v;
    switch (n->kind) {
    case NODE_CONST:
        return n->value;
    case NODE_NAME:
        return jinja_lookup(j, n->name);
    case NODE_LIST:
    case NODE_TUPLE:
        return eval_list(j, n);
    case NODE_DICT:
        return eval_dict(j, n);
    case NODE_ATTRIBUTE:
        v = jinja_eval(j, n->a);
        j->line = n->line;
        return jinja_attribute(j, v, n->name);
    case NODE_ITEM:
        return eval_item(j, n);
    case NODE_CALL:
        return jinja_eval_call(j, n, NULL);
    case NODE_FILTER:
        return eval_filter(j, n);
    case NODE_TEST:
        return eval_test(j, n);
    case NODE_NOT:
        return jinja_bool(!jinja_truth(jinja_eval(j, n->a)));
    case NODE_NEGATIVE:
        return jinja_negative(j, jinja_eval(j, n->a));
    case NODE_POSITIVE:
        return eval_positive(j, n);
    case NODE_AND:
        v = jinja_eval(j, n->a);
        return jinja_truth(v) ? jinja_eval(j, n->b) : v;
    case NODE_OR:
        v = jinja_eval(j, n->a);
        return jinja_truth(v) ? v : jinja_eval(j, n->b);
    case NODE_CONDITION:
        return eval_condition(j, n);
    case NODE_BINARY:
        return eval_binary(j, n);
    case NODE_CONCAT:
        return eval_concat(j, n);
    case NODE_COMPARE:
        return eval_compare(j, n);
    default:
        return jinja_fail(j, "this stands where an expression should");
    }
}

struct jinja_value jinja_eval(struct jinja *j, const struct jinja_node *n)
{
    if (!jinja_step(j, 1))
        return jinja_none();
    j->line = n->line;
    if (!jinja_deeper(j))
        return jinja_none();
    struct jinja_value v = eval_kind(j, n);
    j->depth--;
    return v;
}
