/* jinja_parse.c - tokens to statements; a template opened. */
#include "engine/text/jinja_private.h"

#include "engine/base/mem.h"

#include <stdarg.h>
#include <string.h>

enum { PARSE_DEPTH_MAX = 100 };

void *jinja_parse_fail(struct jinja_parser *p, int line, const char *format, ...)
{
    struct str s = {0};
    va_list args;
    va_start(args, format);
    str_vprintf(&s, format, args);
    va_end(args);
    if (!p->failed)
        error_set(p->err, GM_E_INPUT, "%s:%d: %s", p->tpl->label, line, str_text(&s));
    p->failed = true;
    str_free(&s);
    return NULL;
}

struct jinja_node *jinja_node_new(struct jinja_parser *p, enum jinja_kind kind, int line)
{
    struct jinja_node *n = jinja_take(&p->tpl->heap, sizeof *n);
    n->kind = kind;
    n->line = line;
    return n;
}

const char *jinja_describe(const struct jinja_token *t)
{
    static _Thread_local char text[64];
    switch (t->type) {
    case TOKEN_END:
        return "the end of the template";
    case TOKEN_VARIABLE_END:
    case TOKEN_BLOCK_END:
        return "the end of the tag";
    case TOKEN_NAME:
        snprintf(text, sizeof text, "'%.*s'", (int)(t->n < 40 ? t->n : 40), t->text);
        return text;
    case TOKEN_STRING:
        return "a string";
    case TOKEN_INT:
    case TOKEN_FLOAT:
        return "a number";
    case TOKEN_OPERATOR:
        if (t->op > 255)
            snprintf(text, sizeof text, "'%c%c'", t->op >> 8, t->op & 255);
        else
            snprintf(text, sizeof text, "'%c'", t->op);
        return text;
    default:
        return "text";
    }
}

bool jinja_at_op(const struct jinja_parser *p, int op)
{
    return p->token->type == TOKEN_OPERATOR && p->token->op == op;
}

static bool token_is(const struct jinja_token *t, const char *name)
{
    return t->type == TOKEN_NAME && strlen(name) == t->n && memcmp(name, t->text, t->n) == 0;
}

bool jinja_at_name(const struct jinja_parser *p, const char *name)
{
    return token_is(p->token, name);
}

bool jinja_skip_op(struct jinja_parser *p, int op)
{
    bool there = jinja_at_op(p, op);
    p->token += there;
    return there;
}

bool jinja_skip_name(struct jinja_parser *p, const char *name)
{
    bool there = jinja_at_name(p, name);
    p->token += there;
    return there;
}

bool jinja_expect_op(struct jinja_parser *p, int op)
{
    if (jinja_skip_op(p, op))
        return true;
    jinja_parse_fail(p, p->token->line, "'%c' is missing in front of %s", op,
                     jinja_describe(p->token));
    return false;
}

const struct jinja_string *jinja_expect_name(struct jinja_parser *p)
{
    if (p->token->type != TOKEN_NAME)
        return jinja_parse_fail(p, p->token->line, "a name is missing in front of %s",
                                jinja_describe(p->token));
    struct jinja_string *s = jinja_take(&p->tpl->heap, sizeof *s);
    *s = (struct jinja_string){.bytes = p->token->text, .n = p->token->n};
    p->token++;
    return s;
}

/* ---- statements ---- */

static struct jinja_node *parse_body(struct jinja_parser *p, const char *const *ends, int line);

static bool expect_tag_end(struct jinja_parser *p)
{
    if (p->token->type != TOKEN_BLOCK_END) {
        jinja_parse_fail(p, p->token->line, "the tag should end in front of %s",
                         jinja_describe(p->token));
        return false;
    }
    p->token++;
    return true;
}

/* A body up to {% end %}; the name of the end tag is taken. */
static struct jinja_node *parse_until(struct jinja_parser *p, const char *end, int line)
{
    const char *const ends[] = {end, NULL};
    if (!expect_tag_end(p))
        return NULL;
    struct jinja_node *body = parse_body(p, ends, line);
    if (!p->failed)
        p->token++;
    return body;
}

static struct jinja_node *parse_for(struct jinja_parser *p, struct jinja_node *n)
{
    static const char *const ends[] = {"endfor", "else", NULL};
    n->a = jinja_parse_target(p, false, "in");
    if (!p->failed && !jinja_skip_name(p, "in"))
        return jinja_parse_fail(p, p->token->line, "'in' is missing in front of %s",
                                jinja_describe(p->token));
    n->b = p->failed ? NULL : jinja_parse_tuple(p, false, "recursive");
    if (!p->failed && jinja_skip_name(p, "if"))
        n->c = jinja_parse_expression(p, true);
    if (!p->failed && jinja_at_name(p, "recursive"))
        return jinja_parse_fail(p, n->line, "recursive loops are not supported (use a macro)");
    if (p->failed || !expect_tag_end(p))
        return NULL;
    p->loops++;
    n->list = parse_body(p, ends, n->line);
    p->loops--;
    if (!p->failed && jinja_skip_name(p, "else"))
        n->other = parse_until(p, "endfor", n->line);
    else if (!p->failed)
        p->token++;
    return n;
}

static struct jinja_node *parse_if(struct jinja_parser *p, struct jinja_node *first)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    for (struct jinja_node *n = first; !p->failed;) {
        n->a = jinja_parse_tuple(p, false, NULL);
        if (p->failed || !expect_tag_end(p))
            return NULL;
        n->list = parse_body(p, ends, n->line);
        if (p->failed)
            return NULL;
        if (jinja_skip_name(p, "endif"))
            return first;
        bool has_condition = jinja_skip_name(p, "elif");
        n->b = jinja_node_new(p, NODE_IF, p->token->line);
        n = n->b;
        if (!has_condition) {
            p->token++;
            n->list = parse_until(p, "endif", n->line);
            return first;
        }
    }
    return NULL;
}

static struct jinja_node *parse_set(struct jinja_parser *p, struct jinja_node *n)
{
    n->a = jinja_parse_target(p, true, NULL);
    if (p->failed)
        return NULL;
    if (jinja_skip_op(p, '=')) {
        n->b = jinja_parse_tuple(p, true, NULL);
        return n;
    }
    n->kind = NODE_SET_BLOCK;
    n->b = jinja_parse_filters(p, NULL, false);
    n->list = p->failed ? NULL : parse_until(p, "endset", n->line);
    return n;
}

/* (a, b=1) of a macro or of {% call(...) %}. */
static void parse_parameters(struct jinja_parser *p, struct jinja_node *n)
{
    struct jinja_node **last = &n->args;
    if (!jinja_expect_op(p, '('))
        return;
    while (!p->failed && !jinja_at_op(p, ')')) {
        if (n->args && !jinja_expect_op(p, ','))
            return;
        struct jinja_node *arg = jinja_node_new(p, NODE_ARGUMENT, p->token->line);
        arg->name = jinja_expect_name(p);
        if (!p->failed && jinja_skip_op(p, '='))
            arg->a = jinja_parse_expression(p, true);
        *last = arg;
        last = &arg->next;
    }
    if (!p->failed)
        jinja_expect_op(p, ')');
}

/* The body of a macro or of a call block: whether it looks at varargs and the like is noted. */
static struct jinja_node *parse_macro_body(struct jinja_parser *p, struct jinja_node *n,
                                           const char *end)
{
    int *outer = p->uses, loops = p->loops;
    p->uses = &n->op;
    p->loops = 0;
    n->list = p->failed ? NULL : parse_until(p, end, n->line);
    p->uses = outer;
    p->loops = loops;
    return n;
}

static struct jinja_node *parse_macro(struct jinja_parser *p, struct jinja_node *n)
{
    n->name = jinja_expect_name(p);
    if (!p->failed)
        parse_parameters(p, n);
    return parse_macro_body(p, n, "endmacro");
}

static struct jinja_node *parse_call_block(struct jinja_parser *p, struct jinja_node *n)
{
    if (jinja_at_op(p, '('))
        parse_parameters(p, n);
    n->a = p->failed ? NULL : jinja_parse_expression(p, true);
    if (!p->failed && n->a->kind != NODE_CALL)
        return jinja_parse_fail(p, n->line, "{%% call %%} needs a call");
    return parse_macro_body(p, n, "endcall");
}

static struct jinja_node *parse_filter_block(struct jinja_parser *p, struct jinja_node *n)
{
    n->b = jinja_parse_filters(p, NULL, true);
    n->list = p->failed ? NULL : parse_until(p, "endfilter", n->line);
    return n;
}

static struct jinja_node *parse_with(struct jinja_parser *p, struct jinja_node *n)
{
    struct jinja_node **last = &n->args;
    while (!p->failed && p->token->type != TOKEN_BLOCK_END) {
        if (n->args && !jinja_expect_op(p, ','))
            return NULL;
        struct jinja_node *arg = jinja_node_new(p, NODE_ARGUMENT, p->token->line);
        arg->name = jinja_expect_name(p);
        if (p->failed || !jinja_expect_op(p, '='))
            return NULL;
        arg->a = jinja_parse_expression(p, true);
        *last = arg;
        last = &arg->next;
    }
    n->list = p->failed ? NULL : parse_until(p, "endwith", n->line);
    return n;
}

static struct jinja_node *parse_scope(struct jinja_parser *p, struct jinja_node *n)
{
    n->list = parse_until(p, "endgeneration", n->line);
    return n;
}

static struct jinja_node *parse_print_tag(struct jinja_parser *p, struct jinja_node *n)
{
    n->a = jinja_parse_tuple(p, true, NULL);
    return n;
}

static struct jinja_node *parse_jump(struct jinja_parser *p, struct jinja_node *n)
{
    if (p->loops == 0)
        return jinja_parse_fail(p, n->line, "break and continue stand in loops only");
    return n;
}

static struct jinja_node *parse_statement(struct jinja_parser *p)
{
    static const struct {
        const char *name;
        enum jinja_kind kind;
        struct jinja_node *(*parse)(struct jinja_parser *p, struct jinja_node *n);
    } tags[] = {
        {"for", NODE_FOR, parse_for},
        {"if", NODE_IF, parse_if},
        {"set", NODE_SET, parse_set},
        {"macro", NODE_MACRO, parse_macro},
        {"call", NODE_CALL_BLOCK, parse_call_block},
        {"filter", NODE_FILTER_BLOCK, parse_filter_block},
        {"with", NODE_WITH, parse_with},
        {"generation", NODE_SCOPE, parse_scope},
        {"print", NODE_PRINT, parse_print_tag},
        {"break", NODE_BREAK, parse_jump},
        {"continue", NODE_CONTINUE, parse_jump},
    };
    const struct jinja_token *t = p->token;
    if (t->type != TOKEN_NAME)
        return jinja_parse_fail(p, t->line, "a tag begins with a name, not with %s",
                                jinja_describe(t));
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        if (!token_is(t, tags[i].name))
            continue;
        p->token++;
        return tags[i].parse(p, jinja_node_new(p, tags[i].kind, t->line));
    }
    return jinja_parse_fail(
        p, t->line,
        "tag %s is not known (known are for, if, set, macro, call, filter, with, raw, generation, "
        "break, continue)",
        jinja_describe(t));
}

static bool at_end_of(const struct jinja_parser *p, const char *const *ends)
{
    for (int i = 0; ends && ends[i]; i++)
        if (jinja_at_name(p, ends[i]))
            return true;
    return false;
}

static struct jinja_node *parse_print(struct jinja_parser *p)
{
    struct jinja_node *n = jinja_node_new(p, NODE_PRINT, p->token->line);
    p->token++;
    n->a = jinja_parse_tuple(p, true, NULL);
    if (!p->failed && p->token->type != TOKEN_VARIABLE_END)
        return jinja_parse_fail(p, p->token->line, "the tag should end in front of %s",
                                jinja_describe(p->token));
    p->token++;
    return n;
}

static struct jinja_node *parse_data(struct jinja_parser *p)
{
    struct jinja_node *n = jinja_node_new(p, NODE_DATA, p->token->line);
    struct jinja_string *s = jinja_take(&p->tpl->heap, sizeof *s);
    *s = (struct jinja_string){.bytes = p->token->text, .n = p->token->n};
    n->name = s;
    p->token++;
    return n;
}

/* Statements up to one of the tags `ends`, whose name becomes the current token; up to the end of
 * the template where ends is NULL. */
static struct jinja_node *parse_body(struct jinja_parser *p, const char *const *ends, int line)
{
    struct jinja_node *first = NULL, **last = &first;
    if (++p->depth > PARSE_DEPTH_MAX)
        return jinja_parse_fail(p, p->token->line, "blocks are nested too deep");
    while (!p->failed) {
        struct jinja_node *n = NULL;
        if (p->token->type == TOKEN_END) {
            if (ends)
                jinja_parse_fail(p, line, "the block that begins here has no {%% %s %%}",
                                 strcmp(ends[0], "elif") == 0 ? "endif" : ends[0]);
            break;
        }
        if (p->token->type == TOKEN_DATA) {
            n = parse_data(p);
        } else if (p->token->type == TOKEN_VARIABLE_BEGIN) {
            n = parse_print(p);
        } else {
            p->token++;
            if (at_end_of(p, ends))
                break;
            n = parse_statement(p);
            if (!p->failed)
                expect_tag_end(p);
        }
        if (n) {
            *last = n;
            last = &n->next;
        }
    }
    p->depth--;
    return p->failed ? NULL : first;
}

/* Newlines become \n, and one at the end goes. */
static char *normal_newlines(struct jinja_heap *heap, const char *text, size_t *n)
{
    char *out = jinja_take(heap, *n + 1);
    size_t k = 0;
    for (size_t i = 0; i < *n; i++) {
        if (text[i] == '\r' && i + 1 < *n && text[i + 1] == '\n')
            continue;
        out[k++] = text[i] == '\r' ? '\n' : text[i];
    }
    *n = k > 0 && out[k - 1] == '\n' ? k - 1 : k;
    return out;
}

struct jinja_template *jinja_open(const char *text, size_t n, const char *label,
                                  struct gm_error *err)
{
    struct jinja_template *t = mem_new(1, sizeof *t);
    struct jinja_tokens tokens = {0};
    t->label = mem_copy(label);
    char *normal = normal_newlines(&t->heap, text, &n);
    struct jinja_parser p = {.tpl = t, .err = err};
    bool ok = jinja_lex(normal, n, label, &t->heap, &tokens, err);
    if (ok) {
        p.token = tokens.list;
        t->body = parse_body(&p, NULL, 1);
        ok = !p.failed;
    }
    mem_free(tokens.list);
    if (ok)
        return t;
    jinja_free(t);
    return NULL;
}

void jinja_free(struct jinja_template *t)
{
    if (!t)
        return;
    jinja_heap_free(&t->heap);
    mem_free(t->label);
    mem_free(t);
}
