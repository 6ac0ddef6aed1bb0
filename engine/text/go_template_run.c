/* go_template_run.c - walks the tree of a template: values, functions and what they print, after Go's text/template. */
#include "engine/text/go_template_private.h"

#include "engine/base/mem.h"
#include "engine/format/json.h"

#include <string.h>

/* GO_V_EMPTY: a list that is there but never has elements here (.ToolCalls, .Images). */
enum go_kind { GO_V_NIL, GO_V_BOOL, GO_V_INT, GO_V_STRING, GO_V_MESSAGES, GO_V_MESSAGE, GO_V_EMPTY, GO_V_TOOLS, GO_V_ROOT };

struct value {
    enum go_kind kind;
    int64_t number; /* of an int, and a bool */
    struct go_text text;
    const struct go_message *messages;
    size_t n;
};

struct variable {
    struct go_text name;
    struct value value;
};

enum flow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE };

struct run {
    const struct go_root *root;
    struct variable variables[4 * GO_VARIABLES_MAX];
    size_t n_variables;
    struct str *out;
    size_t out_limit;
    uint32_t steps;
    int line;
    enum flow flow;
    struct go_template scratch; /* texts that functions made */
    struct gm_error *err;
};

static bool eval_pipe(struct run *r, struct value dot, const struct go_pipe *p, struct value *out);
static bool eval_operand(struct run *r, struct value dot, const struct go_operand *o, struct value *out);

static bool fail(struct run *r, const char *what) { return error_set(r->err, GM_E_INPUT, "template line %d: %s", r->line, what); }

static bool spend(struct run *r, size_t steps)
{
    if (steps > GO_STEPS_MAX - r->steps)
        return fail(r, "it takes too many steps");
    r->steps += (uint32_t)steps;
    return true;
}

/* What functions make counts as output: both are memory. */
static bool take_room(struct run *r, size_t n)
{
    if (n > r->out_limit)
        return fail(r, "it gives too much text");
    r->out_limit -= n;
    return true;
}

static const struct value NIL = {.kind = GO_V_NIL};
static struct value boolean(bool b) { return (struct value){.kind = GO_V_BOOL, .number = b}; }
static struct value integer(size_t n) { return (struct value){.kind = GO_V_INT, .number = (int64_t)n}; }
static struct value string(const char *data, size_t n) { return (struct value){.kind = GO_V_STRING, .text = {data, n}}; }

static const char *kind_name(const struct value *v)
{
    static const char *const names[] = {"nil",       "bool",          "int",       "string",  "the list of messages",
                                        "a message", "an empty list", "the tools", "the data"};
    return names[v->kind];
}

static bool truth(const struct value *v)
{
    switch (v->kind) {
    case GO_V_BOOL:
    case GO_V_INT: return v->number != 0;
    case GO_V_STRING: return v->text.n > 0;
    case GO_V_MESSAGES: return v->n > 0;
    case GO_V_MESSAGE:
    case GO_V_ROOT: return true;
    default: return false;
    }
}

/* ---- fields and variables ---- */

static struct value root_field(const struct go_root *root, struct go_text name)
{
    const struct {
        const char *name;
        struct go_text text;
    } texts[] = {{"System", root->system}, {"Prompt", root->prompt}, {"Response", root->response}, {"ThinkLevel", {"", 0}}};
    for (int i = 0; i < 4; i++)
        if (go_is(name, texts[i].name) && texts[i].text.data)
            return string(texts[i].text.data, texts[i].text.n);
    if (go_is(name, "Think") || go_is(name, "IsThinkSet"))
        return boolean(false);
    if (go_is(name, "Messages") && root->messages)
        return (struct value){.kind = GO_V_MESSAGES, .messages = root->messages, .n = root->n_messages};
    if (go_is(name, "Tools") && root->has_tools)
        return (struct value){.kind = GO_V_TOOLS};
    return NIL;
}

static bool message_field(struct run *r, const struct go_message *m, struct go_text name, struct value *out)
{
    if (go_is(name, "Role"))
        *out = string(m->role, strlen(m->role));
    else if (go_is(name, "Content"))
        *out = string(m->content, m->n);
    else if (go_is(name, "Thinking") || go_is(name, "ToolName") || go_is(name, "ToolCallID"))
        *out = string("", 0);
    else if (go_is(name, "ToolCalls") || go_is(name, "Images"))
        *out = (struct value){.kind = GO_V_EMPTY};
    else
        return error_set(r->err, GM_E_INPUT, "template line %d: a message has no field %.40s", r->line, name.data);
    return true;
}

static bool eval_fields(struct run *r, struct value v, const struct go_operand *o, struct value *out)
{
    for (size_t i = 0; i < o->n_fields; i++) {
        struct value of = v;
        if (of.kind == GO_V_ROOT)
            v = root_field(r->root, o->fields[i]);
        else if (of.kind != GO_V_MESSAGE)
            return error_set(r->err, GM_E_INPUT, "template line %d: .%.40s is asked of %s", r->line, o->fields[i].data, kind_name(&of));
        else if (!message_field(r, of.messages, o->fields[i], &v))
            return false;
    }
    *out = v;
    return true;
}

/* The innermost variable of that name; NULL where the branch that declares it was not taken. */
static struct variable *find(struct run *r, struct go_text name)
{
    for (size_t i = r->n_variables; i-- > 0;)
        if (go_same(r->variables[i].name, name))
            return &r->variables[i];
    error_set(r->err, GM_E_INPUT, "template line %d: the variable %.40s has no value here", r->line, name.data);
    return NULL;
}

static bool push(struct run *r, struct go_text name, struct value v)
{
    if (r->n_variables == sizeof r->variables / sizeof *r->variables)
        return fail(r, "there are too many variables");
    r->variables[r->n_variables++] = (struct variable){name, v};
    return true;
}

static bool assign(struct run *r, struct go_text name, struct value v)
{
    struct variable *at = find(r, name);
    if (at)
        at->value = v;
    return at != NULL;
}

/* ---- functions ---- */

static bool basic(const struct value *v) { return v->kind == GO_V_BOOL || v->kind == GO_V_INT || v->kind == GO_V_STRING; }

static bool equal(struct run *r, const struct value *a, const struct value *b, bool *out)
{
    if (a->kind == GO_V_NIL || b->kind == GO_V_NIL) {
        *out = a->kind == b->kind;
        return true;
    }
    if (!basic(a) || !basic(b) || a->kind != b->kind)
        return error_set(r->err, GM_E_INPUT, "template line %d: %s and %s cannot be compared", r->line, kind_name(a), kind_name(b));
    *out = a->kind == GO_V_STRING ? go_same(a->text, b->text) : a->number == b->number;
    return spend(r, a->text.n / 64);
}

static bool less(struct run *r, const struct value *a, const struct value *b, bool *out)
{
    if (a->kind != b->kind || (a->kind != GO_V_INT && a->kind != GO_V_STRING))
        return error_set(r->err, GM_E_INPUT, "template line %d: %s and %s have no order", r->line, kind_name(a), kind_name(b));
    if (a->kind == GO_V_INT) {
        *out = a->number < b->number;
        return true;
    }
    size_t n = a->text.n < b->text.n ? a->text.n : b->text.n;
    int order = memcmp(a->text.data, b->text.data, n);
    *out = order < 0 || (order == 0 && a->text.n < b->text.n);
    return spend(r, n / 64);
}

static bool compare(struct run *r, struct go_text name, const struct value *args, size_t n, struct value *out)
{
    bool answer = false, eq = go_is(name, "eq");
    if (n < 2 || (n > 2 && !eq))
        return fail(r, "a comparison has not the right number of values");
    if (eq || go_is(name, "ne")) {
        for (size_t i = 1; i < n && !answer; i++)
            if (!equal(r, &args[0], &args[i], &answer))
                return false;
        answer ^= !eq;
    } else {
        bool swap = go_is(name, "gt") || go_is(name, "le"), not = go_is(name, "le") || go_is(name, "ge");
        if (!less(r, &args[swap], &args[!swap], &answer))
            return false;
        answer ^= not;
    }
    *out = boolean(answer);
    return true;
}

static bool length(struct run *r, const struct value *v, size_t *n)
{
    switch (v->kind) {
    case GO_V_STRING: *n = v->text.n; return true;
    case GO_V_MESSAGES: *n = v->n; return true;
    case GO_V_EMPTY:
    case GO_V_TOOLS: *n = 0; return true;
    case GO_V_ROOT:
        return error_set(r->err, GM_E_UNSUPPORTED, "template line %d: how many fields there are depends on the version of Ollama", r->line);
    default: return error_set(r->err, GM_E_INPUT, "template line %d: %s has no length", r->line, kind_name(v));
    }
}

static bool index_of(struct run *r, const struct value *args, size_t n, struct value *out)
{
    size_t len;
    *out = args[0];
    if (out->kind == GO_V_NIL)
        return fail(r, "nil has no elements");
    for (size_t i = 1; i < n; i++) {
        if (out->kind == GO_V_ROOT && args[i].kind == GO_V_STRING) {
            *out = root_field(r->root, args[i].text);
            continue;
        }
        if (!length(r, out, &len))
            return false;
        if (args[i].kind != GO_V_INT || args[i].number < 0 || (uint64_t)args[i].number >= len)
            return fail(r, "an index is out of range");
        size_t at = (size_t)args[i].number;
        *out = out->kind == GO_V_STRING ? integer((unsigned char)out->text.data[at])
                                        : (struct value){.kind = GO_V_MESSAGE, .messages = out->messages + at};
    }
    return true;
}

static bool slice_of(struct run *r, const struct value *args, size_t n, struct value *out)
{
    size_t bounds[2] = {0, 0}, len;
    if (n > 3)
        return fail(r, "slice has too many values");
    if (!length(r, &args[0], &len))
        return false;
    bounds[1] = len;
    for (size_t i = 1; i < n; i++) {
        if (args[i].kind != GO_V_INT || args[i].number < 0 || (uint64_t)args[i].number > len)
            return fail(r, "a bound of slice is out of range");
        bounds[i - 1] = (size_t)args[i].number;
    }
    if (bounds[0] > bounds[1])
        return fail(r, "the bounds of slice are the wrong way round");
    *out = args[0];
    if (out->kind == GO_V_STRING)
        out->text.data += bounds[0];
    else if (out->kind == GO_V_MESSAGES)
        out->messages += bounds[0];
    out->n = out->text.n = bounds[1] - bounds[0];
    return true;
}

/* As Go's encoder writes a text: <, >, & and the line separators are escaped as well. */
static void json_text_of(struct str *out, struct go_text text)
{
    struct str plain = {0};
    json_quote(&plain, text.data, text.n);
    for (size_t i = 0; i < plain.len; i++) {
        unsigned char c = (unsigned char)plain.data[i];
        if (c == '<' || c == '>' || c == '&')
            str_printf(out, "\\u%04x", c);
        else if (i + 2 < plain.len && c == 0xE2 && (unsigned char)plain.data[i + 1] == 0x80 && ((unsigned char)plain.data[i + 2] | 1) == 0xA9) {
            str_printf(out, "\\u%04x", (unsigned)(unsigned char)plain.data[i + 2] + 0x1F80);
            i += 2;
        } else
            str_add_char(out, (char)c);
    }
    str_free(&plain);
}

static bool json_of(struct run *r, const struct value *v, struct value *out)
{
    struct str s = {0};
    if (r->root->without_json)
        return fail(r, "json is not there in the last turn of a template without .Messages (Ollama loses it)");
    switch (v->kind) {
    case GO_V_NIL:
    case GO_V_EMPTY:
    case GO_V_TOOLS: str_add(&s, "null"); break;
    case GO_V_BOOL: str_add(&s, v->number ? "true" : "false"); break;
    case GO_V_INT: str_printf(&s, "%lld", (long long)v->number); break;
    case GO_V_STRING: json_text_of(&s, v->text); break;
    default: return error_set(r->err, GM_E_UNSUPPORTED, "template line %d: json of %s is not supported", r->line, kind_name(v));
    }
    size_t n = s.len;
    *out = string(go_keep(&r->scratch, str_take(&s)), n);
    return take_room(r, n);
}

enum { ARGS_MAX = 16 };

static bool call(struct run *r, struct go_text name, const struct value *args, size_t n, struct value *out)
{
    if (n == 0 || ((go_is(name, "not") || go_is(name, "len") || go_is(name, "json")) && n != 1))
        return error_set(r->err, GM_E_INPUT, "template line %d: %.20s has not the right number of values", r->line, name.data);
    size_t len;
    if (go_is(name, "not"))
        return *out = boolean(!truth(&args[0])), true;
    if (go_is(name, "len"))
        return length(r, &args[0], &len) && (*out = integer(len), true);
    if (go_is(name, "index"))
        return index_of(r, args, n, out);
    if (go_is(name, "slice"))
        return slice_of(r, args, n, out);
    if (go_is(name, "json"))
        return json_of(r, &args[0], out);
    return compare(r, name, args, n, out);
}

/* The function `args[0]` with the operands behind it and, piped in, a last one. `and` and `or` stop at what decides. */
static bool eval_function(struct run *r, struct value dot, const struct go_operand *args, size_t n, const struct value *piped, struct value *out)
{
    struct go_text name = args[0].text;
    bool is_or = go_is(name, "or"), lazy = is_or || go_is(name, "and");
    struct value values[ARGS_MAX];
    size_t count = n - 1 + (piped != NULL);
    if (count > ARGS_MAX)
        return fail(r, "a function has too many values");
    for (size_t i = 0; i < count; i++) {
        if (i == n - 1)
            values[i] = *piped;
        else if (!eval_operand(r, dot, &args[i + 1], &values[i]))
            return false;
        if (lazy && (truth(&values[i]) == is_or || i + 1 == count))
            return *out = values[i], true;
    }
    return call(r, name, values, count, out);
}

/* ---- operands, commands, pipes ---- */

static bool eval_operand(struct run *r, struct value dot, const struct go_operand *o, struct value *out)
{
    if (!spend(r, 1))
        return false;
    struct variable *variable;
    struct value v = NIL;
    switch (o->term) {
    case GO_DOT: v = dot; break;
    case GO_FIELD: v = dot; break;
    case GO_NIL: break;
    case GO_BOOL: v = boolean(o->truth); break;
    case GO_INT: v = (struct value){.kind = GO_V_INT, .number = o->number}; break;
    case GO_STRING: v = string(o->text.data, o->text.n); break;
    case GO_VARIABLE:
        if (!(variable = find(r, o->text)))
            return false;
        v = variable->value;
        break;
    case GO_FUNCTION:
        if (!eval_function(r, dot, o, 1, NULL, &v))
            return false;
        break;
    case GO_PAREN:
        if (!eval_pipe(r, dot, o->pipe, &v))
            return false;
        break;
    }
    return eval_fields(r, v, o, out);
}

static bool eval_command(struct run *r, struct value dot, const struct go_command *c, const struct value *piped, struct value *out)
{
    if (c->args[0].term == GO_FUNCTION && c->args[0].n_fields == 0)
        return eval_function(r, dot, c->args, c->n, piped, out);
    if (c->n > 1 || piped)
        return fail(r, "something that is no function is given values");
    if (c->args[0].term == GO_NIL)
        return fail(r, "nil is no command");
    return eval_operand(r, dot, &c->args[0], out);
}

static bool eval_pipe(struct run *r, struct value dot, const struct go_pipe *p, struct value *out)
{
    r->line = p->line;
    for (size_t i = 0; i < p->n; i++) {
        struct value v;
        if (!eval_command(r, dot, &p->commands[i], i ? out : NULL, &v))
            return false;
        *out = v;
    }
    for (int i = 0; i < p->n_variables; i++)
        if (p->assigns ? !assign(r, p->variables[i], *out) : !push(r, p->variables[i], *out))
            return false;
    return true;
}

/* ---- nodes ---- */

static bool write(struct run *r, const char *data, size_t n)
{
    if (!take_room(r, n))
        return false;
    str_add_n(r->out, data, n);
    return true;
}

static bool write_value(struct run *r, const struct value *v)
{
    char number[24];
    switch (v->kind) {
    case GO_V_STRING: return write(r, v->text.data, v->text.n);
    case GO_V_BOOL: return v->number ? write(r, "true", 4) : write(r, "false", 5);
    case GO_V_INT: return write(r, number, (size_t)snprintf(number, sizeof number, "%lld", (long long)v->number));
    case GO_V_NIL: return write(r, "<no value>", 10);
    case GO_V_EMPTY: return write(r, "[]", 2);
    case GO_V_TOOLS: return write(r, "null", 4);
    default: return error_set(r->err, GM_E_UNSUPPORTED, "template line %d: %s cannot be printed", r->line, kind_name(v));
    }
}

static bool walk(struct run *r, struct value dot, const struct go_list *list);

/* Range over messages, or over the whole numbers below one. */
static bool walk_range(struct run *r, struct value dot, const struct go_node *node)
{
    struct value over, element;
    if (!eval_pipe(r, dot, node->pipe, &over))
        return false;
    size_t n = 0, mark = r->n_variables;
    if (over.kind == GO_V_INT && node->pipe->n_variables > 1)
        return fail(r, "range over a number gives one variable only");
    if (over.kind == GO_V_INT)
        n = over.number > 0 ? (size_t)over.number : 0;
    else if (over.kind == GO_V_STRING || over.kind == GO_V_BOOL || over.kind == GO_V_MESSAGE || over.kind == GO_V_ROOT)
        return error_set(r->err, over.kind == GO_V_ROOT ? GM_E_UNSUPPORTED : GM_E_INPUT, "template line %d: range goes over a list, not over %s",
                         r->line, kind_name(&over));
    else if (over.kind == GO_V_MESSAGES)
        n = over.n;
    const struct go_pipe *p = node->pipe;
    for (size_t i = 0; i < n; i++) {
        if (!spend(r, 1)) /* an empty body takes time, too */
            return false;
        element = over.kind == GO_V_INT ? integer(i) : (struct value){.kind = GO_V_MESSAGE, .messages = over.messages + i};
        for (int k = 0; k < p->n_variables; k++) { /* of two, the first takes the index */
            struct value v = k + 1 < p->n_variables ? integer(i) : element;
            if (p->assigns ? !assign(r, p->variables[k], v) : (r->variables[mark - (size_t)p->n_variables + (size_t)k].value = v, false))
                return false;
        }
        if (!walk(r, element, &node->then))
            return false;
        r->n_variables = mark;
        enum flow flow = r->flow;
        r->flow = FLOW_ON;
        if (flow == FLOW_BREAK)
            break;
    }
    return n > 0 || !node->has_else || walk(r, dot, &node->otherwise);
}

static bool walk_node(struct run *r, struct value dot, const struct go_node *node)
{
    struct value v;
    size_t mark = r->n_variables;
    bool ok;
    r->line = node->line;
    if (!spend(r, 1))
        return false;
    switch (node->kind) {
    case GO_TEXT: return write(r, node->text.data, node->text.n);
    case GO_ACTION: return eval_pipe(r, dot, node->pipe, &v) && (node->pipe->n_variables > 0 || write_value(r, &v));
    case GO_BREAK: r->flow = FLOW_BREAK; return true;
    case GO_CONTINUE: r->flow = FLOW_CONTINUE; return true;
    case GO_RANGE: ok = walk_range(r, dot, node); break;
    default:
        ok = eval_pipe(r, dot, node->pipe, &v);
        if (ok && truth(&v))
            ok = walk(r, node->kind == GO_WITH ? v : dot, &node->then);
        else if (ok)
            ok = walk(r, dot, &node->otherwise);
    }
    r->n_variables = mark;
    return ok;
}

static bool walk(struct run *r, struct value dot, const struct go_list *list)
{
    for (size_t i = 0; i < list->n && r->flow == FLOW_ON; i++)
        if (!walk_node(r, dot, &list->nodes[i]))
            return false;
    return true;
}

bool go_run(const struct go_list *list, const struct go_root *root, struct str *out, struct gm_error *err)
{
    struct run r = {.root = root, .out = out, .out_limit = out->len < GO_OUTPUT_MAX ? GO_OUTPUT_MAX - out->len : 0, .err = err};
    struct value top = {.kind = GO_V_ROOT};
    bool ok = push(&r, (struct go_text){"$", 1}, top) && walk(&r, top, list);
    go_free(&r.scratch);
    return ok;
}
