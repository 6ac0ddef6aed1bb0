/* go_template_parse.c - the text of a template to its tree, after the grammar of Go's text/template/parse. */
#include "engine/text/go_template_private.h"

#include "engine/base/mem.h"

#include <string.h>

enum token {
    T_SPACE, T_CLOSE, T_DECLARE, T_ASSIGN, T_PIPE, T_COMMA, T_OPEN_PAREN, T_CLOSE_PAREN, T_DOT, T_FIELD, T_VARIABLE, T_NAME, T_STRING, T_NUMBER
};

struct parser {
    struct go_template *t;
    const char *p, *end;
    int line;
    bool trim;             /* the action before ended in -}} */
    enum token token;      /* the one read last; go_unread gives it again */
    struct go_text text;   /* of it */
    int64_t number;
    bool unread;
    struct go_text variables[GO_VARIABLES_MAX];
    size_t n_variables;
    int depth, ranges;
    struct gm_error *err;
};

/* How a list of nodes ended. */
enum ender { BY_END, BY_ELSE, BY_TEXT_END };

static bool parse_pipe(struct parser *s, struct go_pipe *out, enum token closer, bool range);

static bool fail(struct parser *s, enum gm_code code, const char *what)
{
    return error_set(s->err, code, "template line %d: %s", s->line, what);
}

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_word(char c) { return is_letter(c) || is_digit(c); }

static bool starts(const char *p, const char *end, const char *with)
{
    size_t n = strlen(with);
    return (size_t)(end - p) >= n && memcmp(p, with, n) == 0;
}

static struct go_text keep_text(struct parser *s, const char *data, size_t n)
{
    return (struct go_text){go_keep(s->t, mem_copy_n(data, n)), n};
}

/* Room for one more in an array that grows; its block is given to the template (go_keep) when it is complete. */
#define ROOM(list, n, cap) ((list) = mem_room(list, n, &(cap), sizeof *(list)))

/* ---- tokens of an action ---- */

/* At "}}" or " -}}": steps over it. */
static bool at_close(struct parser *s)
{
    if (starts(s->p, s->end, "}}")) {
        s->p += 2;
        return true;
    }
    if (s->end - s->p >= 4 && is_space(s->p[0]) && s->p[1] == '-' && starts(s->p + 2, s->end, "}}")) {
        s->line += s->p[0] == '\n';
        s->p += 4;
        return s->trim = true;
    }
    return false;
}

/* What may follow a name, so that "a+b" is an error and not two words. */
static bool at_border(const struct parser *s)
{
    return s->p == s->end || is_space(*s->p) || strchr(".,|:)(", *s->p) || starts(s->p, s->end, "}}");
}

static bool hex_escape(struct parser *s, int digits, bool scalar, struct str *out)
{
    uint32_t v = 0;
    for (int i = 0; i < digits; i++, s->p++) {
        int d = s->p < s->end ? hex_digit(*s->p) : -1;
        if (d < 0)
            return fail(s, GM_E_INPUT, "an escape in a text is cut short");
        v = v << 4 | (uint32_t)d;
    }
    if (!scalar)
        str_add_char(out, (char)v);
    else if (v > 0x10FFFF || (v >= 0xD800 && v < 0xE000))
        return fail(s, GM_E_INPUT, "an escape in a text is no character");
    else
        str_add_utf8(out, v);
    return true;
}

static bool escape(struct parser *s, struct str *out)
{
    static const char names[] = "abfnrtv\\\"", values[] = "\a\b\f\n\r\t\v\\\"";
    char c = s->p < s->end ? *s->p++ : 0;
    const char *at = c ? strchr(names, c) : NULL;
    if (at)
        str_add_char(out, values[at - names]);
    else if (c == 'x')
        return hex_escape(s, 2, false, out);
    else if (c == 'u')
        return hex_escape(s, 4, true, out);
    else if (c == 'U')
        return hex_escape(s, 8, true, out);
    else if (c >= '0' && c <= '7' && s->end - s->p >= 2 && s->p[0] >= '0' && s->p[0] <= '7' && s->p[1] >= '0' && s->p[1] <= '7'
             && c <= '3') {
        str_add_char(out, (char)((c - '0') << 6 | (s->p[0] - '0') << 3 | (s->p[1] - '0')));
        s->p += 2;
    } else
        return fail(s, GM_E_INPUT, "an escape in a text is not known");
    return true;
}

static bool read_string(struct parser *s)
{
    char quote = *s->p++;
    struct str out = {0};
    bool ok = true;
    while (ok && s->p < s->end && *s->p != quote && !(quote == '"' && *s->p == '\n')) {
        char c = *s->p++;
        s->line += c == '\n';
        if (c == '\\' && quote == '"')
            ok = escape(s, &out);
        else if (!(c == '\r' && quote == '`')) /* Go drops carriage returns in raw texts */
            str_add_char(&out, c);
    }
    if (ok && (s->p == s->end || *s->p != quote))
        ok = fail(s, GM_E_INPUT, "a text has no end");
    if (ok) {
        s->p++;
        s->token = T_STRING;
        s->text = keep_text(s, str_text(&out), out.len);
    }
    str_free(&out);
    return ok;
}

static bool read_number(struct parser *s)
{
    bool minus = *s->p == '-';
    s->p += *s->p == '-' || *s->p == '+';
    int64_t v = 0;
    if (s->p == s->end || !is_digit(*s->p))
        return fail(s, GM_E_INPUT, "a number has no digits");
    if (*s->p == '0' && s->end - s->p > 1 && is_word(s->p[1]))
        return fail(s, GM_E_UNSUPPORTED, "numbers are read in decimal only");
    for (; s->p < s->end && is_digit(*s->p); s->p++) {
        if (v > (INT64_MAX - 9) / 10)
            return fail(s, GM_E_INPUT, "a number is too large");
        v = v * 10 + (*s->p - '0');
    }
    if (s->p < s->end && (*s->p == '.' || is_word(*s->p)))
        return fail(s, GM_E_UNSUPPORTED, "numbers are whole here");
    s->token = T_NUMBER;
    s->number = minus ? -v : v;
    return true;
}

static bool read_name(struct parser *s, enum token token, const char *from)
{
    while (s->p < s->end && is_word(*s->p))
        s->p++;
    if (!at_border(s))
        return fail(s, GM_E_INPUT, "a name is followed by a character that cannot stand there");
    s->token = token;
    s->text = keep_text(s, from, (size_t)(s->p - from));
    return true;
}

static bool single(struct parser *s, enum token token, int bytes)
{
    s->p += bytes;
    s->token = token;
    return true;
}

/* The next token of an action. White space is one: it tells `.A.B` from `.A .B`. */
static bool next(struct parser *s)
{
    if (s->unread) {
        s->unread = false;
        return true;
    }
    if (at_close(s))
        return single(s, T_CLOSE, 0);
    if (s->p == s->end)
        return fail(s, GM_E_INPUT, "an action has no end");
    char c = *s->p;
    if (is_space(c)) {
        while (s->p < s->end && is_space(*s->p) && !starts(s->p + 1, s->end, "-}}")) {
            s->line += *s->p == '\n';
            s->p++;
        }
        return single(s, T_SPACE, 0);
    }
    if (starts(s->p, s->end, ":="))
        return single(s, T_DECLARE, 2);
    static const char marks[] = "=|,()";
    static const enum token tokens[] = {T_ASSIGN, T_PIPE, T_COMMA, T_OPEN_PAREN, T_CLOSE_PAREN};
    const char *mark = strchr(marks, c);
    if (c && mark)
        return single(s, tokens[mark - marks], 1);
    if (c == '"' || c == '`')
        return read_string(s);
    if (c == '$') {
        const char *from = s->p++;
        return read_name(s, T_VARIABLE, from);
    }
    if (c == '.' && (s->end - s->p < 2 || !is_digit(s->p[1]))) {
        s->p++;
        if (s->p < s->end && is_word(*s->p))
            return read_name(s, T_FIELD, s->p);
        return at_border(s) ? single(s, T_DOT, 0) : fail(s, GM_E_INPUT, "a dot is followed by a character that cannot stand there");
    }
    if (is_digit(c) || c == '-' || c == '+')
        return read_number(s);
    if (is_letter(c))
        return read_name(s, T_NAME, s->p);
    return fail(s, c == '\'' || c == '.' ? GM_E_UNSUPPORTED : GM_E_INPUT, "an action has a character that is not understood");
}

static bool next_solid(struct parser *s)
{
    do {
        if (!next(s))
            return false;
    } while (s->token == T_SPACE);
    return true;
}

static void unread(struct parser *s) { s->unread = true; }

static bool need_close(struct parser *s)
{
    return next_solid(s) && (s->token == T_CLOSE || fail(s, GM_E_INPUT, "an action has more in it than it can hold"));
}

/* ---- pipes ---- */

static bool known_variable(const struct parser *s, struct go_text name)
{
    for (size_t i = 0; i < s->n_variables; i++)
        if (go_same(s->variables[i], name))
            return true;
    return false;
}

static bool declare(struct parser *s, struct go_text name)
{
    if (s->n_variables == GO_VARIABLES_MAX)
        return fail(s, GM_E_UNSUPPORTED, "there are too many variables");
    s->variables[s->n_variables++] = name;
    return true;
}

static bool function_known(struct parser *s, struct go_text name)
{
    static const char *const ours[] = {"and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len", "index", "slice", "json"};
    static const char *const theirs[] = {"call",    "html",     "js",          "print",         "printf",
                                         "println", "urlquery", "currentDate", "yesterdayDate", "toTypeScriptType"};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (go_is(name, ours[i]))
            return true;
    for (size_t i = 0; i < sizeof theirs / sizeof *theirs; i++)
        if (go_is(name, theirs[i]))
            return error_set(s->err, GM_E_UNSUPPORTED, "template line %d: the function %s is not supported", s->line, theirs[i]);
    return error_set(s->err, GM_E_INPUT, "template line %d: Ollama has no function %.40s", s->line, name.data);
}

static bool inner_pipe(struct parser *s, struct go_operand *o)
{
    if (++s->depth > GO_DEPTH_MAX)
        return fail(s, GM_E_INPUT, "it is nested too deep");
    o->term = GO_PAREN;
    o->pipe = go_keep(s->t, mem_new(1, sizeof *o->pipe));
    bool ok = parse_pipe(s, o->pipe, T_CLOSE_PAREN, false);
    s->depth--;
    return ok;
}

static bool term_of_name(struct parser *s, struct go_operand *o)
{
    if (go_is(s->text, "true") || go_is(s->text, "false")) {
        o->term = GO_BOOL;
        o->truth = s->text.n == 4;
        return true;
    }
    if (go_is(s->text, "nil")) {
        o->term = GO_NIL;
        return true;
    }
    o->term = GO_FUNCTION;
    o->text = s->text;
    return function_known(s, s->text);
}

static void add_field(struct go_operand *o, struct go_text name)
{
    ROOM(o->fields, o->n_fields, o->cap_fields);
    o->fields[o->n_fields++] = name;
}

/* The token is read. *is_operand tells whether one starts with it. */
static bool parse_operand(struct parser *s, struct go_operand *o, bool *is_operand)
{
    *is_operand = true;
    *o = (struct go_operand){.number = s->number, .text = s->text};
    bool ok = true;
    switch (s->token) {
    case T_DOT: o->term = GO_DOT; break;
    case T_NUMBER: o->term = GO_INT; break;
    case T_STRING: o->term = GO_STRING; break;
    case T_NAME: ok = term_of_name(s, o); break;
    case T_OPEN_PAREN: ok = inner_pipe(s, o); break;
    case T_FIELD:
        o->term = GO_FIELD;
        add_field(o, s->text);
        break;
    case T_VARIABLE:
        o->term = GO_VARIABLE;
        ok = known_variable(s, s->text)
             || error_set(s->err, GM_E_INPUT, "template line %d: the variable %.40s is not declared", s->line, s->text.data);
        break;
    default: *is_operand = false; return true;
    }
    while (ok && (ok = next(s)) && s->token == T_FIELD) {
        if (o->term == GO_DOT || o->term == GO_NIL || o->term == GO_BOOL || o->term == GO_INT || o->term == GO_STRING)
            ok = fail(s, GM_E_INPUT, "a field is asked of something that has none");
        else
            add_field(o, s->text);
    }
    if (ok)
        unread(s);
    go_keep(s->t, o->fields);
    return ok;
}

/* Operands up to a pipe sign or the closer, which stays to be read. */
static bool parse_command(struct parser *s, struct go_command *out, enum token closer)
{
    struct go_command c = {0};
    bool ok = true;
    for (;;) {
        struct go_operand o;
        bool is_operand;
        if (!(ok = next_solid(s)))
            break;
        if (s->token == closer || s->token == T_PIPE) {
            unread(s);
            break;
        }
        if (!(ok = parse_operand(s, &o, &is_operand)))
            break;
        if (!is_operand) {
            ok = fail(s, GM_E_INPUT, "an action has a sign where a value is expected");
            break;
        }
        ROOM(c.args, c.n, c.cap);
        c.args[c.n++] = o;
        if (!(ok = next(s)))
            break;
        bool ends = s->token == closer || s->token == T_PIPE;
        if (s->token != T_SPACE && !ends && !(ok = fail(s, GM_E_INPUT, "two values stand without a space between them")))
            break;
        if (ends) {
            unread(s);
            break;
        }
    }
    if (ok && c.n == 0)
        ok = fail(s, GM_E_INPUT, "a value is missing");
    go_keep(s->t, c.args);
    *out = c;
    return ok;
}

/* `$x :=`, `$x =`, and for range `$i, $x :=`: looked for ahead, and not read when it is none. */
static bool parse_declaration(struct parser *s, struct go_pipe *out, bool range)
{
    struct parser before = *s;
    struct go_text names[2];
    int n = 0;
    for (;;) {
        if (!next_solid(s))
            return false;
        if (s->token != T_VARIABLE)
            break;
        names[n++] = s->text;
        if (!next_solid(s))
            return false;
        if (s->token == T_COMMA && range && n == 1)
            continue;
        if (s->token != T_DECLARE && s->token != T_ASSIGN)
            break;
        out->assigns = s->token == T_ASSIGN;
        out->n_variables = n;
        memcpy(out->variables, names, sizeof names);
        for (int i = 0; i < n; i++) /* one that is only assigned is missed when it runs, as in Go */
            if (!declare(s, names[i]))
                return false;
        return true;
    }
    *s = before;
    return true;
}

static bool executable(const struct go_command *c)
{
    enum go_term t = c->args[0].term;
    return t == GO_FIELD || t == GO_VARIABLE || t == GO_FUNCTION || t == GO_PAREN;
}

static bool parse_pipe(struct parser *s, struct go_pipe *out, enum token closer, bool range)
{
    struct go_pipe p = {.line = s->line};
    bool ok = parse_declaration(s, &p, range);
    while (ok) {
        struct go_command c;
        if (!(ok = parse_command(s, &c, closer)))
            break;
        if (p.n > 0 && !executable(&c)) {
            ok = fail(s, GM_E_INPUT, "a value is piped into something that takes none");
            break;
        }
        ROOM(p.commands, p.n, p.cap);
        p.commands[p.n++] = c;
        if (!(ok = next(s)) || s->token == closer)
            break;
    }
    go_keep(s->t, p.commands);
    *out = p;
    return ok;
}

/* ---- nodes ---- */

static bool parse_list(struct parser *s, struct go_list *out, enum ender *ended);

static void add_text(struct parser *s, struct go_list *list, const char *from, const char *to)
{
    if (from == to)
        return;
    ROOM(list->nodes, list->n, list->cap);
    list->nodes[list->n++] = (struct go_node){.kind = GO_TEXT, .line = s->line, .text = keep_text(s, from, (size_t)(to - from))};
}

/* Behind "{{ if", "{{ with", "{{ range": the pipe, the lists, up to the end. `else if` is an if inside the else that shares its end. */
static bool parse_control(struct parser *s, struct go_node *node, enum go_node_kind kind)
{
    if (++s->depth > GO_DEPTH_MAX)
        return fail(s, GM_E_INPUT, "it is nested too deep");
    size_t mark = s->n_variables;
    *node = (struct go_node){.kind = kind, .line = s->line};
    node->pipe = go_keep(s->t, mem_new(1, sizeof *node->pipe));
    enum ender ended = BY_TEXT_END;
    s->ranges += kind == GO_RANGE;
    bool ok = parse_pipe(s, node->pipe, T_CLOSE, kind == GO_RANGE) && parse_list(s, &node->then, &ended);
    s->ranges -= kind == GO_RANGE;
    if (ok && ended == BY_ELSE) {
        node->has_else = true;
        ok = next_solid(s);
        bool chained = ok && s->token == T_NAME && ((kind == GO_IF && go_is(s->text, "if")) || (kind == GO_WITH && go_is(s->text, "with")));
        if (chained) {
            struct go_node inner;
            if ((ok = parse_control(s, &inner, kind))) {
                ROOM(node->otherwise.nodes, node->otherwise.n, node->otherwise.cap);
                node->otherwise.nodes[node->otherwise.n++] = inner;
                go_keep(s->t, node->otherwise.nodes);
            }
            ended = BY_END;
        } else if (ok) {
            ok = s->token == T_CLOSE ? parse_list(s, &node->otherwise, &ended) : fail(s, GM_E_INPUT, "an else has more in it than it can hold");
        }
    }
    if (ok && ended == BY_ELSE)
        ok = fail(s, GM_E_INPUT, "there is a second else");
    if (ok && ended == BY_TEXT_END)
        ok = error_set(s->err, GM_E_INPUT, "template line %d: what is opened here has no {{ end }}", node->line);
    s->n_variables = mark;
    s->depth--;
    return ok;
}

/* One action, behind its "{{". *ended is set where it closes the list; *keep tells whether it left a node. */
static bool parse_action(struct parser *s, struct go_node *node, bool *keep, bool *closes, enum ender *ended)
{
    *keep = *closes = false;
    if (!next_solid(s))
        return false;
    if (s->token == T_NAME) {
        static const struct {
            const char *name;
            enum go_node_kind kind;
        } controls[] = {{"if", GO_IF}, {"with", GO_WITH}, {"range", GO_RANGE}};
        for (int i = 0; i < 3; i++)
            if (go_is(s->text, controls[i].name))
                return (*keep = true) && parse_control(s, node, controls[i].kind);
        if (go_is(s->text, "end")) {
            *closes = true;
            *ended = BY_END;
            return need_close(s);
        }
        if (go_is(s->text, "else")) {
            *closes = true;
            *ended = BY_ELSE;
            return true;
        }
        bool is_break = go_is(s->text, "break");
        if (is_break || go_is(s->text, "continue")) {
            *node = (struct go_node){.kind = is_break ? GO_BREAK : GO_CONTINUE, .line = s->line};
            *keep = true;
            return need_close(s) && (s->ranges > 0 || fail(s, GM_E_INPUT, "break and continue stand in a range only"));
        }
        if (go_is(s->text, "define") || go_is(s->text, "block") || go_is(s->text, "template"))
            return fail(s, GM_E_UNSUPPORTED, "define, block and template are not supported");
    }
    unread(s);
    *keep = true;
    *node = (struct go_node){.kind = GO_ACTION, .line = s->line};
    node->pipe = go_keep(s->t, mem_new(1, sizeof *node->pipe));
    return parse_pipe(s, node->pipe, T_CLOSE, false);
}

/* At the sign that opens a comment, behind "{{": steps over it and what closes the action. */
static bool parse_comment(struct parser *s)
{
    for (s->p += 2; s->p < s->end && !starts(s->p, s->end, "*/"); s->p++)
        s->line += *s->p == '\n';
    if (s->p == s->end)
        return fail(s, GM_E_INPUT, "a comment has no end");
    s->p += 2;
    return at_close(s) || fail(s, GM_E_INPUT, "a comment ends before its action does");
}

static bool parse_list(struct parser *s, struct go_list *out, enum ender *ended)
{
    struct go_list list = {0};
    bool ok = true, closes = false;
    *ended = BY_TEXT_END;
    while (ok && !closes) {
        const char *from = s->p;
        while (s->trim && from < s->end && is_space(*from))
            from++;
        s->trim = false;
        while (s->p < s->end && !starts(s->p, s->end, "{{")) {
            s->line += *s->p == '\n';
            s->p++;
        }
        bool at_end = s->p == s->end;
        const char *to = s->p;
        if (!at_end) {
            s->p += 2;
            if (s->end - s->p >= 2 && s->p[0] == '-' && is_space(s->p[1])) {
                while (to > from && is_space(to[-1]))
                    to--;
                s->p++;
            }
        }
        add_text(s, &list, from, to);
        if (at_end)
            break;
        size_t gap = s->p[-1] == '-'; /* the space that belongs to the trim marker */
        if (starts(s->p + gap, s->end, "/*")) {
            s->line += gap && *s->p == '\n';
            s->p += gap;
            ok = parse_comment(s);
            continue;
        }
        struct go_node node;
        bool keep;
        ok = parse_action(s, &node, &keep, &closes, ended);
        if (ok && keep) {
            ROOM(list.nodes, list.n, list.cap);
            list.nodes[list.n++] = node;
        }
    }
    go_keep(s->t, list.nodes);
    *out = list;
    return ok;
}

bool go_parse(struct go_template *t, const char *text, size_t n, struct gm_error *err)
{
    if (n > GO_TEXT_MAX)
        return error_set(err, GM_E_INPUT, "template: it is larger than 1 MiB");
    struct parser s = {.t = t, .p = text, .end = text + n, .line = 1, .err = err};
    s.variables[s.n_variables++] = (struct go_text){"$", 1};
    enum ender ended;
    if (!parse_list(&s, &t->root, &ended))
        return false;
    return ended == BY_TEXT_END
           || fail(&s, GM_E_INPUT, ended == BY_END ? "there is an {{ end }} with nothing to end" : "there is an {{ else }} outside of an if");
}
