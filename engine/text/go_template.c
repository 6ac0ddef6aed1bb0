/* go_template.c - Ollama's rules around Go's templates: what a conversation becomes before the template sees it. */
#include "engine/text/go_template_private.h"

#include "engine/base/mem.h"

#include <string.h>
#include <strings.h>

void *go_keep(struct go_template *t, void *block)
{
    if (block) {
        t->blocks = mem_room(t->blocks, t->n_blocks, &t->cap_blocks, sizeof *t->blocks);
        t->blocks[t->n_blocks++] = block;
    }
    return block;
}

void go_free(struct go_template *t)
{
    for (size_t i = 0; i < t->n_blocks; i++)
        mem_free(t->blocks[i]);
    mem_free(t->blocks);
}

void go_template_free(struct go_template *t)
{
    if (t)
        go_free(t);
    mem_free(t);
}

bool go_same(struct go_text a, struct go_text b) { return a.n == b.n && memcmp(a.data, b.data, a.n) == 0; }
bool go_is(struct go_text text, const char *word) { return go_same(text, (struct go_text){word, strlen(word)}); }

/* ---- what a template mentions ---- */

static bool list_mentions(const struct go_list *list, const char *name);

/* As Ollama looks: the fields of a parenthesis are not seen, what stands in it is. */
static bool pipe_mentions(const struct go_pipe *p, const char *name)
{
    for (size_t i = 0; i < p->n; i++)
        for (size_t k = 0; k < p->commands[i].n; k++) {
            const struct go_operand *o = &p->commands[i].args[k];
            if (o->term == GO_PAREN && o->n_fields == 0 && pipe_mentions(o->pipe, name))
                return true;
            if (o->term == GO_VARIABLE && strcasecmp(o->text.data, name) == 0)
                return true;
            for (size_t f = 0; (o->term == GO_FIELD || o->term == GO_VARIABLE) && f < o->n_fields; f++)
                if (strcasecmp(o->fields[f].data, name) == 0)
                    return true;
        }
    return false;
}

static bool list_mentions(const struct go_list *list, const char *name)
{
    for (size_t i = 0; i < list->n; i++) {
        const struct go_node *n = &list->nodes[i];
        if ((n->pipe && pipe_mentions(n->pipe, name)) || list_mentions(&n->then, name) || list_mentions(&n->otherwise, name))
            return true;
    }
    return false;
}

bool go_template_mentions(const struct go_template *t, const char *name) { return list_mentions(&t->root, name); }

/* ---- parsing ---- */

struct go_template *go_template_parse(const char *text, size_t n, struct gm_error *err)
{
    struct go_template *t = mem_new(1, sizeof *t);
    bool ok = go_parse(t, text, n, err);
    if (ok && !go_template_mentions(t, "messages") && !go_template_mentions(t, "response")) {
        static const char response[] = "{{ .Response }}";
        struct go_list list = t->root;
        ok = go_parse(t, response, sizeof response - 1, err);
        struct go_node *nodes = go_keep(t, mem_new(list.n + 1, sizeof *nodes));
        for (size_t i = 0; i < list.n; i++)
            nodes[i] = list.nodes[i];
        nodes[list.n] = t->root.nodes[0];
        t->root = (struct go_list){.nodes = nodes, .n = list.n + 1};
    }
    if (ok)
        return t;
    go_template_free(t);
    return NULL;
}

/* ---- the last turn: everything behind .Response goes ---- */

struct cut {
    struct go_template *keep; /* owns the shortened lists */
    bool done;
    struct gm_error *err;
};

/* Of a pipe that is printed or assigned, what Ollama leaves of it: operands behind .Response go (but for another .Response),
 * inside parentheses as well. */
static bool cut_pipe(struct cut *c, struct go_pipe *p)
{
    struct go_command *commands = go_keep(c->keep, mem_new(p->n ? p->n : 1, sizeof *commands));
    size_t kept = 0;
    for (size_t i = 0; i < p->n; i++) {
        struct go_command command = {.args = go_keep(c->keep, mem_new(p->commands[i].n, sizeof *command.args))};
        for (size_t k = 0; k < p->commands[i].n; k++) {
            struct go_operand o = p->commands[i].args[k];
            bool response = false;
            for (size_t f = 0; o.term == GO_FIELD && f < o.n_fields; f++)
                response |= strcmp(o.fields[f].data, "Response") == 0;
            if (c->done && !response)
                continue;
            c->done |= response;
            if (o.term == GO_PAREN && o.n_fields == 0) {
                struct go_pipe *inner = go_keep(c->keep, mem_new(1, sizeof *inner));
                *inner = *o.pipe;
                if (!cut_pipe(c, inner))
                    continue;
                o.pipe = inner;
            }
            command.args[command.n++] = o;
        }
        if (command.n == 0) /* as in Ollama: a command that lost all takes the whole pipe with it */
            return false;
        commands[kept++] = command;
    }
    p->commands = commands;
    p->n = kept;
    return kept > 0;
}

static bool cut_list(struct cut *c, struct go_list *list)
{
    struct go_node *nodes = go_keep(c->keep, mem_new(list->n ? list->n : 1, sizeof *nodes));
    size_t kept = 0;
    for (size_t i = 0; i < list->n && !c->done; i++) {
        struct go_node node = list->nodes[i];
        if (node.kind == GO_ACTION) {
            struct go_pipe *p = go_keep(c->keep, mem_new(1, sizeof *p));
            *p = *node.pipe;
            node.pipe = p;
            if (!cut_pipe(c, p))
                continue;
        } else if (node.kind == GO_IF || node.kind == GO_WITH || node.kind == GO_RANGE) {
            if (!cut_list(c, &node.then))
                return false;
            if (c->done && node.has_else)
                return error_set(c->err, GM_E_INPUT, "template line %d: .Response in a branch that has an else (Ollama fails there)", node.line);
            if (node.has_else && !cut_list(c, &node.otherwise))
                return false;
        }
        nodes[kept++] = node;
    }
    *list = (struct go_list){.nodes = nodes, .n = kept};
    return true;
}

/* ---- a conversation ---- */

struct collated {
    struct go_message *messages;
    size_t n;
    struct str system;
};

static void collate(const struct chat_message *messages, size_t n, struct collated *out)
{
    *out = (struct collated){.messages = mem_new(n ? n : 1, sizeof *out->messages)};
    bool any_system = false;
    for (size_t i = 0; i < n; i++) {
        const char *role = messages[i].role, *content = messages[i].content;
        if (strcmp(role, "system") == 0) {
            str_printf(&out->system, "%s%s", any_system ? "\n\n" : "", content);
            any_system = true;
        }
        struct go_message *last = out->n ? &out->messages[out->n - 1] : NULL;
        if (last && strcmp(last->role, role) == 0 && strcmp(role, "tool") != 0) {
            char *joined = mem_printf("%s\n\n%s", last->content, content);
            mem_free(last->content);
            last->content = joined;
            last->n = strlen(joined);
        } else {
            out->messages[out->n++] = (struct go_message){role, mem_copy(content), strlen(content)};
        }
    }
}

static void collated_free(struct collated *c)
{
    for (size_t i = 0; i < c->n; i++)
        mem_free(c->messages[i].content);
    mem_free(c->messages);
    str_free(&c->system);
}

/* The older form: one run of the template a turn, then the last one, cut. */
static bool run_turns(const struct go_template *t, const struct collated *c, struct str *out, struct gm_error *err)
{
    static const struct go_text none = {"", 0};
    struct go_root turn = {.system = none, .prompt = none, .response = none};
    for (size_t i = 0; i < c->n; i++) {
        const struct go_message *m = &c->messages[i];
        bool system = strcmp(m->role, "system") == 0, user = strcmp(m->role, "user") == 0;
        struct go_text content = {m->content, m->n};
        if ((system && turn.prompt.n > 0) || ((system || user) && turn.response.n > 0)) {
            if (!go_run(&t->root, &turn, out, err))
                return false;
            turn.system = turn.prompt = turn.response = none;
        }
        if (system)
            turn.system = content;
        else if (user)
            turn.prompt = content;
        else if (strcmp(m->role, "assistant") == 0)
            turn.response = content;
    }
    struct go_template copies = {0};
    struct cut cut = {.keep = &copies, .err = err};
    struct go_list list = t->root;
    turn.without_json = true;
    bool ok = cut_list(&cut, &list) && go_run(&list, &turn, out, err);
    go_free(&copies);
    return ok;
}

bool go_template_prompt(const struct go_template *t, const struct chat_message *messages, size_t n, struct str *out, struct gm_error *err)
{
    struct collated c;
    collate(messages, n, &c);
    bool ok;
    if (go_template_mentions(t, "messages")) {
        struct go_root root = {
            .messages = c.messages, .n_messages = c.n, .system = {str_text(&c.system), c.system.len}, .response = {"", 0}, .has_tools = true};
        ok = go_run(&t->root, &root, out, err);
    } else {
        ok = run_turns(t, &c, out, err);
    }
    collated_free(&c);
    return ok;
}

void go_template_quote(struct str *out, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (text[i] == '{' && (i + 1 == n || text[i + 1] == '{')) /* a brace at the end might meet another */
            str_add(out, "{{ \"{\" }}");
        else
            str_add_char(out, text[i]);
}
