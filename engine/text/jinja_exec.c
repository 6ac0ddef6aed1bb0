/* jinja_exec.c - statements, scopes, macros; a rendering from beginning to end.
 *
 * Each round of a loop, each macro call and the body of a block set, filter, with or call block has
 * a scope of its own: what is set there ends there. An if has none.
 */
#include "engine/text/jinja_private.h"

#include "engine/base/mem.h"

#include <string.h>

/* ---- scopes ---- */

static void put(struct jinja *j, struct jinja_scope *s, const struct jinja_string *name,
                struct jinja_value v)
{
    for (size_t i = 0; i < s->n; i++)
        if (jinja_same_text(s->variables[i].name, name)) {
            s->variables[i].value = v;
            return;
        }
    if (s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 4;
        struct jinja_variable *list = jinja_take(&j->heap, cap * sizeof *list);
        if (s->n)
            memcpy(list, s->variables, s->n * sizeof *list);
        s->variables = list;
        s->cap = cap;
    }
    s->variables[s->n++] = (struct jinja_variable){.name = name, .value = v};
}

static void put_text(struct jinja *j, struct jinja_scope *s, const char *name,
                     struct jinja_value v)
{
    put(j, s, jinja_literal(j, name).string, v);
}

/* A scope inside the current one, on the heap: macros may look into it later. */
static struct jinja_scope *open_scope(struct jinja *j, struct jinja_scope *parent)
{
    struct jinja_scope *s = jinja_take(&j->heap, sizeof *s);
    s->parent = parent;
    j->scope = s;
    return s;
}

static void assign(struct jinja *j, const struct jinja_node *target, struct jinja_value v)
{
    if (j->failed)
        return;
    j->line = target->line;
    if (target->kind == NODE_NAME) {
        put(j, j->scope, target->name, v);
    } else if (target->kind == NODE_NAMESPACE_TARGET) {
        struct jinja_value ns = jinja_lookup(j, target->name);
        if (ns.type != JINJA_NAMESPACE)
            jinja_fail(j, "cannot assign attribute on non-namespace object");
        else if (target->second->n && target->second->bytes[0] == '_')
            jinja_fail(j, "a namespace takes no names that begin with _");
        else
            jinja_dict_put(j, ns, jinja_string_value(target->second), v);
    } else {
        const struct jinja_list *l = jinja_iterate(j, v);
        const struct jinja_node *m = target->list;
        size_t i = 0;
        for (; l && m && i < l->n; m = m->next)
            assign(j, m, l->items[i++]);
        if (l && (m || i < l->n))
            jinja_fail(j, "the value has not as many members as the target");
    }
}

/* ---- statements ---- */

static struct jinja_value captured(struct jinja *j, const struct jinja_node *list)
{
    struct jinja_buffer b = {0}, *outer = j->out;
    struct jinja_scope *scope = j->scope;
    j->out = &b;
    open_scope(j, scope);
    jinja_exec(j, list);
    j->scope = scope;
    j->out = outer;
    return jinja_buffer_value(j, &b);
}

/* The members of which the loop's condition holds. */
static const struct jinja_list *filtered(struct jinja *j, const struct jinja_node *n,
                                         const struct jinja_list *all)
{
    struct jinja_value out = jinja_list_new(j);
    struct jinja_scope *outer = j->scope, *s = open_scope(j, outer);
    for (size_t i = 0; i < all->n && jinja_step(j, 1); i++) {
        s->n = 0;
        assign(j, n->a, all->items[i]);
        if (jinja_truth(jinja_eval(j, n->c)) && !j->failed)
            jinja_list_add(j, out, all->items[i]);
    }
    j->scope = outer;
    return out.list;
}

static void exec_for(struct jinja *j, const struct jinja_node *n)
{
    struct jinja_scope *outer = j->scope, *s = NULL;
    struct jinja_value items = jinja_eval(j, n->b);
    const struct jinja_list *l = j->failed ? NULL : jinja_iterate(j, items);
    if (l && n->c)
        l = filtered(j, n, l);
    if (!l || j->failed)
        return;
    struct jinja_loop *loop = jinja_take(&j->heap, sizeof *loop);
    *loop = (struct jinja_loop){.items = l};
    struct jinja_value loop_value = {.type = JINJA_LOOP, .loop = loop};
    enum jinja_flow flow = FLOW_ON;
    bool finished = false; /* a round: Jinja's else follows where none came to its end */
    for (size_t i = 0; i < l->n && flow != FLOW_BREAK && jinja_step(j, 1); i++) {
        if (!s || s->kept)
            s = open_scope(j, outer);
        j->scope = s;
        s->n = 0;
        loop->index0 = i;
        put_text(j, s, "loop", loop_value);
        assign(j, n->a, l->items[i]);
        flow = jinja_exec(j, n->list);
        finished |= flow == FLOW_ON;
    }
    j->scope = outer;
    if (!finished && n->other) {
        open_scope(j, outer);
        jinja_exec(j, n->other);
        j->scope = outer;
    }
}

static enum jinja_flow exec_if(struct jinja *j, const struct jinja_node *n)
{
    for (; n && !j->failed; n = n->b)
        if (!n->a || (jinja_truth(jinja_eval(j, n->a)) && !j->failed))
            return jinja_exec(j, n->list);
    return FLOW_ON;
}

static struct jinja_value make_macro(struct jinja *j, const struct jinja_node *n)
{
    struct jinja_macro *m = jinja_take(&j->heap, sizeof *m);
    *m = (struct jinja_macro){.node = n, .scope = j->scope};
    for (struct jinja_scope *s = j->scope; s; s = s->parent)
        s->kept = true;
    return (struct jinja_value){.type = JINJA_MACRO, .macro = m};
}

static void exec_call_block(struct jinja *j, const struct jinja_node *n)
{
    struct jinja_value caller = make_macro(j, n);
    jinja_print(j, j->out, jinja_eval_call(j, n->a, &caller));
}

static void exec_with(struct jinja *j, const struct jinja_node *n)
{
    struct jinja_scope *outer = j->scope, *s = open_scope(j, outer);
    for (const struct jinja_node *m = n->args; m && !j->failed; m = m->next) {
        j->scope = outer; /* the values do not see one another */
        struct jinja_value v = jinja_eval(j, m->a);
        j->scope = s;
        put(j, s, m->name, v);
    }
    j->scope = s;
    jinja_exec(j, n->list);
    j->scope = outer;
}

static enum jinja_flow exec_one(struct jinja *j, const struct jinja_node *n)
{
    struct jinja_value v;
    switch (n->kind) {
    case NODE_DATA:
        jinja_buffer_string(j, j->out, n->name);
        return FLOW_ON;
    case NODE_PRINT:
        v = jinja_eval(j, n->a);
        j->line = n->line;
        jinja_print(j, j->out, v);
        return FLOW_ON;
    case NODE_FOR:
        exec_for(j, n);
        return FLOW_ON;
    case NODE_IF:
        return exec_if(j, n);
    case NODE_SET:
        assign(j, n->a, jinja_eval(j, n->b));
        return FLOW_ON;
    case NODE_SET_BLOCK:
        v = captured(j, n->list);
        assign(j, n->a, jinja_eval_filters(j, n->b, v));
        return FLOW_ON;
    case NODE_MACRO:
        put(j, j->scope, n->name, make_macro(j, n));
        return FLOW_ON;
    case NODE_CALL_BLOCK:
        exec_call_block(j, n);
        return FLOW_ON;
    case NODE_FILTER_BLOCK:
        v = captured(j, n->list);
        jinja_print(j, j->out, jinja_eval_filters(j, n->b, v));
        return FLOW_ON;
    case NODE_WITH:
        exec_with(j, n);
        return FLOW_ON;
    case NODE_SCOPE:
        v = captured(j, n->list);
        jinja_print(j, j->out, v);
        return FLOW_ON;
    case NODE_BREAK:
        return FLOW_BREAK;
    case NODE_CONTINUE:
        return FLOW_CONTINUE;
    default:
        jinja_fail(j, "this stands where a statement should");
        return FLOW_ON;
    }
}

enum jinja_flow jinja_exec(struct jinja *j, const struct jinja_node *list)
{
    enum jinja_flow flow = FLOW_ON;
    if (!jinja_deeper(j))
        return FLOW_ON;
    for (const struct jinja_node *n = list; n && flow == FLOW_ON && jinja_step(j, 1); n = n->next) {
        j->line = n->line;
        flow = exec_one(j, n);
    }
    j->depth--;
    return flow;
}

/* ---- macros ---- */

/* Parameters by position, by name, by default; what is left goes to varargs and kwargs where the
 * body asks for them. */
static void bind(struct jinja *j, struct jinja_macro *m, struct jinja_args *a,
                 struct jinja_scope *s)
{
    int position = 0;
    struct jinja_value v, more = jinja_tuple_new(j), named = jinja_dict_new(j);
    static const struct jinja_string caller_name = {.bytes = "caller", .n = 6};
    for (const struct jinja_node *p = m->node->args; p && !j->failed; p = p->next, position++) {
        bool given = position < a->n;
        if (given)
            v = a->values[position];
        for (int i = 0; i < a->n_keywords; i++)
            if (jinja_same_text(a->keywords[i].name, p->name)) {
                if (given)
                    jinja_fail(j, "macro got the argument '%.*s' twice", (int)p->name->n,
                               p->name->bytes);
                given = a->keywords[i].used = true;
                v = a->keywords[i].value;
            }
        if (!given)
            v = p->a ? jinja_eval(j, p->a)
                     : jinja_undefined(j, "parameter '%.*s' was not provided", (int)p->name->n,
                                       p->name->bytes);
        put(j, s, p->name, v);
    }
    if (m->node->op & USES_CALLER)
        put(j, s, &caller_name, jinja_undefined(j, "No caller defined"));
    for (; position < a->n; position++)
        jinja_list_add(j, more, a->values[position]);
    for (int i = 0; i < a->n_keywords; i++) {
        if (a->keywords[i].used)
            continue;
        if (jinja_same_text(a->keywords[i].name, &caller_name) && (m->node->op & USES_CALLER))
            put(j, s, &caller_name, a->keywords[i].value);
        else
            jinja_dict_put(j, named, jinja_string_value(a->keywords[i].name),
                           a->keywords[i].value);
    }
    if (more.list->n && !(m->node->op & USES_VARARGS))
        jinja_fail(j, "macro takes not more than %d argument(s)", a->n - (int)more.list->n);
    if (named.dict->n && !(m->node->op & USES_KWARGS))
        jinja_fail(j, "macro takes no keyword argument '%.*s'", (int)named.dict->keys[0].string->n,
                   named.dict->keys[0].string->bytes);
    if (m->node->op & USES_VARARGS)
        put_text(j, s, "varargs", more);
    if (m->node->op & USES_KWARGS)
        put_text(j, s, "kwargs", named);
}

struct jinja_value jinja_call_macro(struct jinja *j, struct jinja_macro *m, struct jinja_args *args)
{
    struct jinja_buffer b = {0}, *out = j->out;
    struct jinja_scope *outer = j->scope;
    if (j->failed || !jinja_deeper(j))
        return jinja_none();
    struct jinja_scope *s = open_scope(j, m->scope);
    bind(j, m, args, s);
    j->out = &b;
    if (!j->failed)
        jinja_exec(j, m->node->list);
    j->out = out;
    j->scope = outer;
    j->depth--;
    return jinja_buffer_value(j, &b);
}

/* ---- a rendering ---- */

struct jinja *jinja_begin(const struct jinja_template *t, time_t now)
{
    struct jinja *j = mem_new(1, sizeof *j);
    j->tpl = t;
    j->now = now;
    j->scope = &j->globals;
    return j;
}

void jinja_define(struct jinja *j, const char *name, struct jinja_value value)
{
    put_text(j, &j->globals, name, value);
}

bool jinja_render(struct jinja *j, struct str *text, struct str *marks, struct gm_error *err)
{
    struct jinja_buffer b = {0};
    struct jinja_scope top = {.parent = &j->globals};
    j->out = &b;
    j->scope = &top;
    jinja_exec(j, j->tpl->body);
    if (j->failed) {
        if (err)
            *err = j->error;
        return false;
    }
    str_add_n(text, b.n ? b.bytes : "", b.n);
    if (marks)
        str_add_n(marks, b.n ? (const char *)b.marks : "", b.n);
    return true;
}

void jinja_end(struct jinja *j)
{
    if (!j)
        return;
    jinja_heap_free(&j->heap);
    mem_free(j);
}
