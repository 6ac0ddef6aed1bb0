/* jinja_parse_expr.c - tokens to expressions, by descent; the order of binding is Jinja's own,
 * which is not Python's: ~ binds stronger than +, ** from left to right, filters and tests
 * stronger than any operator. */
#include "engine/text/jinja_private.h"

#include <string.h>

enum { EXPRESSION_DEPTH_MAX = 100 };

static struct jinja_node *parse_or(struct jinja_parser *p);

static bool enter(struct jinja_parser *p)
{
    if (++p->depth <= EXPRESSION_DEPTH_MAX)
        return !p->failed;
    jinja_parse_fail(p, p->token->line, "the expression is nested too deep");
    return false;
}

struct jinja_node *jinja_parse_expression(struct jinja_parser *p, bool with_condition)
{
    if (!enter(p))
        return NULL;
    struct jinja_node *n = parse_or(p);
    while (with_condition && !p->failed && jinja_skip_name(p, "if")) {
        struct jinja_node *whole = jinja_node_new(p, NODE_CONDITION, p->token->line);
        whole->b = n;
        whole->a = parse_or(p);
        if (!p->failed && jinja_skip_name(p, "else"))
            whole->c = jinja_parse_expression(p, true);
        n = whole;
    }
    p->depth--;
    return n;
}

static struct jinja_node *binary(struct jinja_parser *p, enum jinja_kind kind, int op,
                                 struct jinja_node *a)
{
    struct jinja_node *n = jinja_node_new(p, kind, p->token->line);
    n->op = op;
    n->a = a;
    p->token++;
    return n;
}

static struct jinja_node *parse_concat(struct jinja_parser *p);

static struct jinja_node *parse_sum(struct jinja_parser *p)
{
    struct jinja_node *n = parse_concat(p);
    while (!p->failed && (jinja_at_op(p, '+') || jinja_at_op(p, '-'))) {
        n = binary(p, NODE_BINARY, p->token->op, n);
        n->b = parse_concat(p);
    }
    return n;
}

static struct jinja_node *parse_compare(struct jinja_parser *p)
{
    static const int ops[] = {JINJA_OP2('=', '='), JINJA_OP2('!', '='), JINJA_OP2('<', '='),
                              JINJA_OP2('>', '='), '<', '>'};
    struct jinja_node *first = parse_sum(p), *whole = NULL, **last = NULL;
    while (!p->failed) {
        int op = 0;
        for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
            if (jinja_at_op(p, ops[i]))
                op = ops[i];
        if (op)
            p->token++;
        else if (jinja_skip_name(p, "in"))
            op = JINJA_OP2('i', 'n');
        else if (jinja_at_name(p, "not") && p->token[1].type == TOKEN_NAME &&
                 p->token[1].n == 2 && memcmp(p->token[1].text, "in", 2) == 0) {
            op = JINJA_OP2('!', 'i');
            p->token += 2;
        } else
            break;
        struct jinja_node *operand = jinja_node_new(p, NODE_OPERAND, p->token->line);
        operand->op = op;
        operand->a = parse_sum(p);
        if (!whole) {
            whole = jinja_node_new(p, NODE_COMPARE, p->token->line);
            whole->a = first;
            last = &whole->list;
        }
        *last = operand;
        last = &operand->next;
    }
    return whole ? whole : first;
}

static struct jinja_node *parse_not(struct jinja_parser *p)
{
    if (!jinja_at_name(p, "not"))
        return parse_compare(p);
    struct jinja_node *n = binary(p, NODE_NOT, 0, NULL);
    if (!enter(p))
        return NULL;
    n->a = parse_not(p);
    p->depth--;
    return n;
}

static struct jinja_node *parse_and(struct jinja_parser *p)
{
    struct jinja_node *n = parse_not(p);
    while (!p->failed && jinja_at_name(p, "and")) {
        n = binary(p, NODE_AND, 0, n);
        n->b = parse_not(p);
    }
    return n;
}

static struct jinja_node *parse_or(struct jinja_parser *p)
{
    struct jinja_node *n = parse_and(p);
    while (!p->failed && jinja_at_name(p, "or")) {
        n = binary(p, NODE_OR, 0, n);
        n->b = parse_and(p);
    }
    return n;
}

static struct jinja_node *parse_power(struct jinja_parser *p)
{
    struct jinja_node *n = jinja_parse_unary(p, true);
    while (!p->failed && jinja_at_op(p, JINJA_OP2('*', '*'))) {
        n = binary(p, NODE_BINARY, p->token->op, n);
        n->b = jinja_parse_unary(p, true);
    }
    return n;
}

static struct jinja_node *parse_product(struct jinja_parser *p)
{
    struct jinja_node *n = parse_power(p);
    while (!p->failed && (jinja_at_op(p, '*') || jinja_at_op(p, '/') || jinja_at_op(p, '%') ||
                          jinja_at_op(p, JINJA_OP2('/', '/')))) {
        n = binary(p, NODE_BINARY, p->token->op, n);
        n->b = parse_power(p);
    }
    return n;
}

static struct jinja_node *parse_concat(struct jinja_parser *p)
{
    struct jinja_node *first = parse_product(p), *n = NULL, **last = NULL;
    while (!p->failed && jinja_at_op(p, '~')) {
        if (!n) {
            n = jinja_node_new(p, NODE_CONCAT, p->token->line);
            n->list = first;
            last = &first->next;
        }
        p->token++;
        *last = parse_product(p);
        if (*last)
            last = &(*last)->next;
    }
    return n ? n : first;
}

/* ---- what binds strongest ---- */

/* Expressions up to `close`, which is taken. */
static struct jinja_node *parse_items(struct jinja_parser *p, int close, bool pairs)
{
    struct jinja_node *first = NULL, **last = &first;
    while (!p->failed && !jinja_at_op(p, close)) {
        if (first && (!jinja_expect_op(p, ',') || jinja_at_op(p, close)))
            break;
        for (int i = 0; i <= pairs && !p->failed; i++) {
            if (i == 1 && !jinja_expect_op(p, ':'))
                return NULL;
            *last = jinja_parse_expression(p, true);
            if (*last)
                last = &(*last)->next;
        }
    }
    if (!p->failed)
        jinja_expect_op(p, close);
    return first;
}

static struct jinja_node *constant(struct jinja_parser *p, struct jinja_value v)
{
    struct jinja_node *n = jinja_node_new(p, NODE_CONST, p->token->line);
    n->value = v;
    p->token++;
    return n;
}

/* Strings that stand side by side are one. */
static struct jinja_node *parse_strings(struct jinja_parser *p)
{
    size_t n = 0, k = 0;
    const struct jinja_token *t = p->token;
    for (const struct jinja_token *q = t; q->type == TOKEN_STRING; q++)
        n += q->n;
    struct jinja_string *s = jinja_take(&p->tpl->heap, sizeof *s);
    char *bytes = jinja_take(&p->tpl->heap, n + 1);
    struct jinja_node *node = jinja_node_new(p, NODE_CONST, t->line);
    for (; p->token->type == TOKEN_STRING; p->token++) {
        memcpy(bytes + k, p->token->text, p->token->n);
        k += p->token->n;
    }
    *s = (struct jinja_string){.bytes = bytes, .n = n};
    node->value = (struct jinja_value){.type = JINJA_STRING, .string = s};
    return node;
}

static struct jinja_node *parse_name(struct jinja_parser *p, bool with_namespace)
{
    static const struct {
        const char *name;
        struct jinja_value value;
    } constants[] = {{"true", {.type = JINJA_BOOL, .boolean = true}},
                     {"True", {.type = JINJA_BOOL, .boolean = true}},
                     {"false", {.type = JINJA_BOOL}},
                     {"False", {.type = JINJA_BOOL}},
                     {"none", {.type = JINJA_NONE}},
                     {"None", {.type = JINJA_NONE}}};
    static const char *const used[] = {"varargs", "kwargs", "caller"};
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        if (jinja_at_name(p, constants[i].name))
            return constant(p, constants[i].value);
    for (int i = 0; i < 3; i++)
        if (p->uses && jinja_at_name(p, used[i]))
            *p->uses |= 1 << i;
    struct jinja_node *n = jinja_node_new(p, NODE_NAME, p->token->line);
    n->name = jinja_expect_name(p);
    if (with_namespace && jinja_skip_op(p, '.')) {
        n->kind = NODE_NAMESPACE_TARGET;
        n->second = jinja_expect_name(p);
    }
    return n;
}

static struct jinja_node *parse_primary(struct jinja_parser *p, bool with_namespace)
{
    const struct jinja_token *t = p->token;
    struct jinja_node *n;
    switch (t->type) {
    case TOKEN_NAME:
        return parse_name(p, with_namespace);
    case TOKEN_STRING:
        return parse_strings(p);
    case TOKEN_INT:
        return constant(p, (struct jinja_value){.type = JINJA_INT, .integer = t->integer});
    case TOKEN_FLOAT:
        return constant(p, (struct jinja_value){.type = JINJA_FLOAT, .number = t->number});
    default:
        break;
    }
    if (jinja_skip_op(p, '(')) {
        if (jinja_skip_op(p, ')'))
            return jinja_node_new(p, NODE_TUPLE, t->line);
        n = jinja_parse_tuple(p, true, NULL);
        if (!p->failed)
            jinja_expect_op(p, ')');
        return n;
    }
    bool is_list = jinja_at_op(p, '[');
    if (is_list || jinja_at_op(p, '{')) {
        p->token++;
        n = jinja_node_new(p, is_list ? NODE_LIST : NODE_DICT, t->line);
        n->list = parse_items(p, is_list ? ']' : '}', !is_list);
        return n;
    }
    return jinja_parse_fail(p, t->line, "%s stands where an expression should",
                            jinja_describe(t));
}

/* (a, b, c=1, *more, **named) */
static struct jinja_node *parse_arguments(struct jinja_parser *p)
{
    struct jinja_node *first = NULL, **last = &first;
    int stage = 0; /* what may still come: 0 positions, 1 names, 2 only ** */
    int line = p->token->line;
    jinja_expect_op(p, '(');
    while (!p->failed && !jinja_at_op(p, ')')) {
        if (first && (!jinja_expect_op(p, ',') || jinja_at_op(p, ')')))
            break;
        struct jinja_node *arg = jinja_node_new(p, NODE_ARGUMENT, p->token->line);
        int kind = 0;
        if (jinja_skip_op(p, JINJA_OP2('*', '*'))) {
            arg->op = 2;
            kind = 2;
        } else if (jinja_skip_op(p, '*')) {
            arg->op = 1;
        } else if (p->token->type == TOKEN_NAME && p->token[1].type == TOKEN_OPERATOR &&
                   p->token[1].op == '=') {
            arg->name = jinja_expect_name(p);
            p->token++;
            kind = 1;
        }
        if (kind < stage)
            return jinja_parse_fail(p, line, "arguments by position stand in front of named ones");
        stage = kind;
        arg->a = jinja_parse_expression(p, true);
        *last = arg;
        last = &arg->next;
    }
    if (!p->failed)
        jinja_expect_op(p, ')');
    return first;
}

static struct jinja_node *parse_call(struct jinja_parser *p, struct jinja_node *callee)
{
    struct jinja_node *n = jinja_node_new(p, NODE_CALL, p->token->line);
    n->a = callee;
    n->args = parse_arguments(p);
    return n;
}

static struct jinja_node *parse_bound(struct jinja_parser *p)
{
    if (jinja_at_op(p, ':') || jinja_at_op(p, ']') || jinja_at_op(p, ','))
        return NULL;
    return jinja_parse_expression(p, true);
}

/* What stands in [ ]: an expression or a slice. */
static struct jinja_node *parse_subscript(struct jinja_parser *p)
{
    struct jinja_node *first = parse_bound(p);
    if (p->failed || !jinja_at_op(p, ':')) {
        if (!first)
            jinja_parse_fail(p, p->token->line, "%s stands where an expression should",
                             jinja_describe(p->token));
        return first;
    }
    struct jinja_node *n = jinja_node_new(p, NODE_SLICE, p->token->line);
    p->token++;
    n->a = first;
    n->b = parse_bound(p);
    if (!p->failed && jinja_skip_op(p, ':'))
        n->c = parse_bound(p);
    return n;
}

static struct jinja_node *parse_attribute(struct jinja_parser *p, struct jinja_node *of)
{
    struct jinja_node *n = jinja_node_new(p, NODE_ATTRIBUTE, p->token->line);
    n->a = of;
    if (jinja_skip_op(p, '.')) {
        if (p->token->type == TOKEN_INT) {
            n->kind = NODE_ITEM;
            n->b = parse_primary(p, false);
        } else {
            n->name = jinja_expect_name(p);
        }
        return n;
    }
    p->token++; /* [ */
    n->kind = NODE_ITEM;
    n->b = parse_subscript(p);
    if (!p->failed && jinja_at_op(p, ','))
        return jinja_parse_fail(p, n->line, "several subscripts are not supported");
    if (!p->failed)
        jinja_expect_op(p, ']');
    return n;
}

static struct jinja_node *parse_postfix(struct jinja_parser *p, struct jinja_node *n)
{
    while (!p->failed) {
        if (jinja_at_op(p, '.') || jinja_at_op(p, '['))
            n = parse_attribute(p, n);
        else if (jinja_at_op(p, '('))
            n = parse_call(p, n);
        else
            break;
    }
    return n;
}

struct jinja_node *jinja_parse_filters(struct jinja_parser *p, struct jinja_node *node,
                                       bool at_name)
{
    while (!p->failed && (at_name || jinja_skip_op(p, '|'))) {
        struct jinja_node *n = jinja_node_new(p, NODE_FILTER, p->token->line);
        at_name = false;
        n->a = node;
        n->name = jinja_expect_name(p);
        if (!p->failed && jinja_at_op(p, '('))
            n->args = parse_arguments(p);
        node = n;
    }
    return node;
}

/* May a test's only argument begin here, without brackets? */
static bool at_test_argument(const struct jinja_parser *p)
{
    switch (p->token->type) {
    case TOKEN_NAME:
        return !jinja_at_name(p, "else") && !jinja_at_name(p, "or") && !jinja_at_name(p, "and");
    case TOKEN_STRING:
    case TOKEN_INT:
    case TOKEN_FLOAT:
        return true;
    default:
        return jinja_at_op(p, '[') || jinja_at_op(p, '{');
    }
}

static struct jinja_node *parse_test(struct jinja_parser *p, struct jinja_node *of)
{
    int line = p->token->line;
    p->token++; /* is */
    bool negated = jinja_skip_name(p, "not");
    struct jinja_node *n = jinja_node_new(p, NODE_TEST, line);
    n->a = of;
    n->name = jinja_expect_name(p);
    if (p->failed)
        return NULL;
    if (jinja_at_op(p, '(')) {
        n->args = parse_arguments(p);
    } else if (at_test_argument(p)) {
        if (jinja_at_name(p, "is"))
            return jinja_parse_fail(p, line, "tests cannot be chained with is");
        n->args = jinja_node_new(p, NODE_ARGUMENT, line);
        n->args->a = parse_postfix(p, parse_primary(p, false));
    }
    if (!negated)
        return n;
    struct jinja_node *not = jinja_node_new(p, NODE_NOT, line);
    not->a = n;
    return not;
}

struct jinja_node *jinja_parse_unary(struct jinja_parser *p, bool with_filter)
{
    struct jinja_node *n;
    if (!enter(p))
        return NULL;
    if (jinja_at_op(p, '-') || jinja_at_op(p, '+')) {
        n = binary(p, p->token->op == '-' ? NODE_NEGATIVE : NODE_POSITIVE, 0, NULL);
        n->a = jinja_parse_unary(p, false);
    } else {
        n = parse_primary(p, false);
    }
    n = p->failed ? NULL : parse_postfix(p, n);
    while (with_filter && !p->failed) {
        if (jinja_at_op(p, '|'))
            n = jinja_parse_filters(p, n, false);
        else if (jinja_at_name(p, "is"))
            n = parse_test(p, n);
        else if (jinja_at_op(p, '('))
            n = parse_call(p, n);
        else
            break;
    }
    p->depth--;
    return n;
}

static bool at_tuple_end(const struct jinja_parser *p, const char *end_name)
{
    return p->token->type == TOKEN_VARIABLE_END || p->token->type == TOKEN_BLOCK_END ||
           p->token->type == TOKEN_END || jinja_at_op(p, ')') ||
           (end_name && jinja_at_name(p, end_name));
}

/* Members by `one`; a comma makes a tuple of them. */
static struct jinja_node *parse_tuple(struct jinja_parser *p, bool simple, bool with_option,
                                      const char *end_name)
{
    struct jinja_node *first = NULL, **last = &first;
    int line = p->token->line;
    bool is_tuple = false;
    while (!p->failed && !at_tuple_end(p, end_name)) {
        *last = simple ? parse_primary(p, with_option) : jinja_parse_expression(p, with_option);
        if (p->failed || !jinja_skip_op(p, ','))
            break;
        is_tuple = true;
        last = &(*last)->next;
    }
    if (p->failed)
        return NULL;
    if (!first)
        return jinja_parse_fail(p, line, "an expression is missing in front of %s",
                                jinja_describe(p->token));
    if (!is_tuple)
        return first;
    struct jinja_node *n = jinja_node_new(p, NODE_TUPLE, line);
    n->list = first;
    return n;
}

struct jinja_node *jinja_parse_tuple(struct jinja_parser *p, bool with_condition,
                                     const char *end_name)
{
    return parse_tuple(p, false, with_condition, end_name);
}

static bool can_assign(const struct jinja_node *n)
{
    if (n->kind == NODE_TUPLE) {
        for (const struct jinja_node *m = n->list; m; m = m->next)
            if (!can_assign(m))
                return false;
        return true;
    }
    return n->kind == NODE_NAME || n->kind == NODE_NAMESPACE_TARGET;
}

struct jinja_node *jinja_parse_target(struct jinja_parser *p, bool with_namespace,
                                      const char *end_name)
{
    struct jinja_node *n = parse_tuple(p, true, with_namespace, end_name);
    if (!p->failed && !can_assign(n))
        return jinja_parse_fail(p, n->line, "the target of an assignment is no name");
    return n;
}
