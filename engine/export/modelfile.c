/* modelfile.c - Modelfiles: written so that Ollama's parser reads back what was meant, and read by the same rules. */
#include "engine/export/modelfile.h"

#include "engine/base/mem.h"
#include "engine/text/go_template.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- reading ---- */

enum state { BETWEEN, NAME, VALUE, PARAMETER, ROLE, COMMENT };

struct reader {
    struct modelfile *m;
    const char *label;
    int line;                     /* where the reader is */
    struct str text;              /* of the word or value being read */
    bool open;                    /* of the value, at the last newline, and nothing but white space came since */
    struct modelfile_command now; /* its name, and where it began */
    char *role;                   /* of a MESSAGE */
    struct gm_error *err;
};

void modelfile_free(struct modelfile *m)
{
    for (size_t i = 0; i < m->n; i++) {
        mem_free(m->commands[i].name);
        mem_free(m->commands[i].value);
    }
    mem_free(m->commands);
    *m = (struct modelfile){0};
}

static bool bad(struct reader *r, const char *what) { return error_set(r->err, GM_E_INPUT, "read %s:%d: %s", r->label, r->line, what); }

static bool is_blank(uint32_t c) { return c == ' ' || c == '\t'; }
static bool is_newline(uint32_t c) { return c == '\n' || c == '\r'; }
static bool is_alpha(uint32_t c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/* Characters that Ollama's parser lets through, which are Go's printable ones: no other space than U+0020, no joiners, marks of direction
 * and the like. (Scalars that Unicode has not given out are dropped as well; those are not known here.) */
static bool printable(uint32_t c)
{
    static const uint32_t not[][2] = {{0x00, 0x1F},       {0x7F, 0xA0},       {0xAD, 0xAD},       {0x600, 0x605},     {0x61C, 0x61C},
                                      {0x6DD, 0x6DD},     {0x70F, 0x70F},     {0x890, 0x891},     {0x8E2, 0x8E2},     {0x1680, 0x1680},
                                      {0x180E, 0x180E},   {0x2000, 0x200F},   {0x2028, 0x202F},   {0x205F, 0x206F},   {0x3000, 0x3000},
                                      {0xD800, 0xF8FF},   {0xFEFF, 0xFEFF},   {0xFFF0, 0xFFFB},   {0x110BD, 0x110BD}, {0x110CD, 0x110CD},
                                      {0x13430, 0x1343F}, {0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A}, {0xE0000, 0xE00FF}, {0xF0000, 0x10FFFF}};
    for (size_t i = 0; i < sizeof not / sizeof *not; i++)
        if (c >= not[i][0] && c <= not[i][1])
            return false;
    return true;
}

/* The value in s without the white space and the quotes around it; false while a quote is open. */
static bool unquote(const struct str *s, const char **from, size_t *n)
{
    const char *p = str_text(s), *end = p + s->len;
    while (p < end && (is_blank((unsigned char)*p) || is_newline((unsigned char)*p)))
        p++;
    while (end > p && (is_blank((unsigned char)end[-1]) || is_newline((unsigned char)end[-1])))
        end--;
    size_t len = (size_t)(end - p), quotes = len >= 3 && memcmp(p, "\"\"\"", 3) == 0 ? 3 : len >= 1 && *p == '"' ? 1 : 0;
    if (quotes && (len < 2 * quotes || memcmp(end - quotes, "\"\"\"", quotes) != 0))
        return false;
    *from = p + quotes;
    *n = len - 2 * quotes;
    return true;
}

static void finish(struct reader *r, const char *value, size_t n)
{
    struct modelfile *m = r->m;
    m->commands = mem_room(m->commands, m->n, &m->cap, sizeof *m->commands);
    struct modelfile_command c = {.name = mem_copy(r->now.name), .parameter = r->now.parameter, .line = r->now.line};
    c.value = r->role ? mem_printf("%s: %.*s", r->role, (int)n, value) : mem_copy_n(value, n);
    m->commands[m->n++] = c;
    mem_free(r->role);
    r->role = NULL;
}

static void set_name(struct reader *r, bool parameter)
{
    mem_free(r->now.name);
    r->now.name = mem_copy(str_text(&r->text));
    r->now.parameter = parameter;
    for (char *c = r->now.name; *c && !parameter; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c |= 0x20;
}

static bool end_of_name(struct reader *r, enum state *next)
{
    static const char *const known[] = {"from",     "license", "template",  "system",  "adapter", "draft",
                                        "renderer", "parser",  "parameter", "message", "requires"};
    set_name(r, false);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(r->now.name, known[i]) == 0) {
            *next = strcmp(known[i], "parameter") == 0 ? PARAMETER : strcmp(known[i], "message") == 0 ? ROLE : VALUE;
            return true;
        }
    return error_set(r->err, GM_E_INPUT,
                     "read %s:%d: \"%.40s\" is no instruction (FROM, PARAMETER, TEMPLATE, SYSTEM, ADAPTER, LICENSE, MESSAGE are)", r->label,
                     r->line, r->now.name);
}

static bool end_of_role(struct reader *r)
{
    const char *role = str_text(&r->text);
    if (strcmp(role, "system") != 0 && strcmp(role, "user") != 0 && strcmp(role, "assistant") != 0)
        return bad(r, "the role of a MESSAGE is system, user or assistant");
    r->role = mem_copy(role);
    return true;
}

static void keep(struct str *s, uint32_t c)
{
    char utf8[4];
    str_add_n(s, utf8, (size_t)utf8_encode(c, utf8));
}

/* One character, in the state `*at`. */
static bool step(struct reader *r, enum state *at, uint32_t c)
{
    enum state next = *at;
    const char *value;
    size_t n;
    switch (*at) {
    case BETWEEN:
        if (c == '#')
            *at = COMMENT;
        else if (!is_blank(c) && !is_newline(c)) {
            *at = NAME;
            str_clear(&r->text);
            r->now.line = r->line;
            if (printable(c))
                keep(&r->text, c);
        }
        return true;
    case COMMENT:
        if (is_newline(c))
            *at = BETWEEN;
        return true;
    case NAME:
        if (is_alpha(c))
            return keep(&r->text, c), true;
        if (!is_blank(c))
            return bad(r, "an instruction is a word with a blank behind it");
        if (!end_of_name(r, &next))
            return false;
        break;
    case PARAMETER:
        if (is_alpha(c) || (c >= '0' && c <= '9') || c == '_')
            return keep(&r->text, c), true;
        if (!is_blank(c))
            return bad(r, "the name of a PARAMETER has a blank behind it");
        set_name(r, true);
        next = VALUE;
        break;
    case ROLE:
        if (is_alpha(c))
            return keep(&r->text, c), true;
        if (!is_blank(c))
            return bad(r, "the role of a MESSAGE has a blank behind it");
        if (!end_of_role(r))
            return false;
        next = VALUE;
        break;
    case VALUE:
        if (!is_newline(c) || r->open || !unquote(&r->text, &value, &n)) {
            bool white = is_blank(c) || is_newline(c), counts = white ? r->text.len > 0 : printable(c);
            if (counts)
                keep(&r->text, c);
            r->open = is_newline(c) || (r->open && (white || !counts));
            return true;
        }
        finish(r, value, n);
        next = BETWEEN;
        break;
    }
    str_clear(&r->text);
    *at = next;
    return true;
}

bool modelfile_read(struct modelfile *m, const char *text, size_t n, const char *label, struct gm_error *err)
{
    *m = (struct modelfile){0};
    struct reader r = {.m = m, .label = label, .line = 1, .err = err};
    const char *p = text, *end = text + n, *value;
    enum state at = BETWEEN;
    bool ok = true;
    size_t len;
    if (n >= 3 && memcmp(p, "\xEF\xBB\xBF", 3) == 0)
        p += 3;
    while (ok && p < end) {
        uint32_t c;
        p += utf8_decode(p, end, &c);
        ok = step(&r, &at, c);
        r.line += c == '\n';
    }
    if (ok && at == VALUE) {
        if ((ok = unquote(&r.text, &value, &len)))
            finish(&r, value, len);
        else
            ok = error_set(err, GM_E_INPUT, "read %s:%d: the quotes of the value that begins here are not closed", label, r.now.line);
    } else if (ok && at != BETWEEN && at != COMMENT)
        ok = bad(&r, "an instruction has no value");
    if (ok && !modelfile_value(m, "from"))
        ok = error_set(err, GM_E_INPUT, "read %s: there is no FROM", label);
    mem_free(r.now.name);
    mem_free(r.role);
    str_free(&r.text);
    if (!ok)
        modelfile_free(m);
    return ok;
}

const char *modelfile_value(const struct modelfile *m, const char *name)
{
    for (size_t i = m->n; i-- > 0;)
        if (!m->commands[i].parameter && strcmp(m->commands[i].name, name) == 0)
            return m->commands[i].value;
    return NULL;
}

/* ---- checking ---- */

enum parameter_type { P_INT, P_FLOAT, P_BOOL, P_TEXT, P_OLD };

static const struct {
    const char *name;
    enum parameter_type type;
    double min, max; /* outside: read, but of no sense */
} parameters[] = {
    {"num_ctx", P_INT, 1, 1e9},        {"num_predict", P_INT, -2, 1e9},     {"num_keep", P_INT, -1, 1e9},       {"seed", P_INT, -1, 9e18},
    {"top_k", P_INT, 0, 1e9},          {"top_p", P_FLOAT, 0, 1},            {"min_p", P_FLOAT, 0, 1},           {"typical_p", P_FLOAT, 0, 1},
    {"temperature", P_FLOAT, 0, 100},  {"repeat_penalty", P_FLOAT, 0, 100}, {"repeat_last_n", P_INT, -1, 1e9},  {"num_batch", P_INT, 1, 1e9},
    {"frequency_penalty", P_FLOAT, -100, 100}, {"presence_penalty", P_FLOAT, -100, 100},
    {"num_gpu", P_INT, -1, 1e9},       {"main_gpu", P_INT, 0, 1e9},
    {"num_thread", P_INT, 0, 1e9},     {"use_mmap", P_BOOL, 0, 0},          {"stop", P_TEXT, 0, 0},             {"mirostat", P_OLD, 0, 0},
    {"mirostat_tau", P_OLD, 0, 0},     {"mirostat_eta", P_OLD, 0, 0},       {"penalize_newline", P_OLD, 0, 0},  {"low_vram", P_OLD, 0, 0},
    {"f16_kv", P_OLD, 0, 0},           {"logits_all", P_OLD, 0, 0},         {"vocab_only", P_OLD, 0, 0},        {"use_mlock", P_OLD, 0, 0}};

struct lines {
    char **list;
    size_t n, cap, n_fatal;
};

static void say(struct lines *l, char *line)
{
    l->list = mem_room(l->list, l->n, &l->cap, sizeof *l->list);
    l->list[l->n++] = line;
}

/* A line that makes Ollama refuse the file: those come first. */
static bool refuse(struct lines *l, char *line)
{
    say(l, line);
    memmove(l->list + l->n_fatal + 1, l->list + l->n_fatal, (l->n - 1 - l->n_fatal) * sizeof *l->list);
    l->list[l->n_fatal++] = line;
    return false;
}

static bool is_number(const char *text, bool whole, double *x)
{
    char *end = NULL;
    errno = 0;
    *x = whole ? (double)strtoll(text, &end, 10) : strtod(text, &end);
    return *text && !*end && errno == 0 && isfinite(*x) && (strchr("+-.", *text) || (*text >= '0' && *text <= '9'));
}

static bool check_parameter(const struct modelfile_command *c, struct lines *l)
{
    size_t i = 0, known = sizeof parameters / sizeof *parameters;
    while (i < known && strcmp(parameters[i].name, c->name) != 0)
        i++;
    double x;
    if (i == known)
        return refuse(l, mem_printf("line %d: Ollama has no parameter %.40s", c->line, c->name));
    switch (parameters[i].type) {
    case P_OLD:
        say(l, mem_printf("line %d: Ollama reads %s and does nothing with it", c->line, c->name));
        return true;
    case P_TEXT:
        if (!c->value[0])
            say(l, mem_printf("line %d: an empty stop text ends every answer at once", c->line));
        return true;
    case P_BOOL: {
        static const char *const words[] = {"1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"};
        for (size_t w = 0; w < sizeof words / sizeof *words; w++)
            if (strcmp(c->value, words[w]) == 0)
                return true;
        return refuse(l, mem_printf("line %d: %s is true or false, not \"%.40s\"", c->line, c->name, c->value));
    }
    default:
        if (!is_number(c->value, parameters[i].type == P_INT, &x))
            return refuse(l, mem_printf("line %d: %s is a %s, not \"%.40s\"", c->line, c->name,
                                        parameters[i].type == P_INT ? "whole number" : "number", c->value));
        if (x < parameters[i].min || x > parameters[i].max)
            say(l, mem_printf("line %d: %s %.40s is out of range", c->line, c->name, c->value));
        return true;
    }
}

bool modelfile_check(const struct modelfile *m, char ***lines, size_t *n)
{
    struct lines l = {0};
    bool ok = true;
    for (size_t i = 0; i < m->n; i++) {
        const struct modelfile_command *c = &m->commands[i];
        if (c->parameter) {
            ok = check_parameter(c, &l) && ok;
        } else if (strcmp(c->name, "template") == 0) {
            struct gm_error err = {0};
            struct go_template *t = go_template_parse(c->value, strlen(c->value), &err);
            char *line = t ? NULL : mem_printf("line %d: TEMPLATE: %s", c->line, err.text);
            if (line && err.code == GM_E_UNSUPPORTED) /* not run here, Ollama may still */
                say(&l, line);
            else if (line)
                ok = refuse(&l, line);
            go_template_free(t);
        } else if (!c->value[0]) {
            char *line = mem_printf("line %d: %s has no value", c->line, c->name);
            if (strcmp(c->name, "from") == 0)
                ok = refuse(&l, line);
            else
                say(&l, line);
        }
    }
    if (!modelfile_value(m, "template"))
        say(&l, mem_copy("there is no TEMPLATE: Ollama guesses one from the chat template in the GGUF"));
    *lines = l.list;
    *n = l.n;
    return ok;
}

/* ---- writing ---- */

static void add_quoted(struct str *out, const char *instruction, const char *value)
{
    const char *quotes = strchr(value, '\n') || strchr(value, '"') || !value[0] ? "\"\"\"" : "\"";
    str_printf(out, "%s %s%s%s\n", instruction, quotes, value, quotes);
}

/* One that Ollama's parser drops on its way; 0: there is none. */
static uint32_t lost(const char *text)
{
    const char *p = text, *end = text + strlen(text);
    while (p < end) {
        uint32_t c;
        p += utf8_decode(p, end, &c);
        if (!printable(c) && !is_newline(c) && !is_blank(c))
            return c;
    }
    return 0;
}

/* What is written has to come back from the reader. */
static bool comes_back(const char *text, const char *name, const char *value, struct gm_error *err)
{
    struct modelfile m;
    struct gm_error unread = {0};
    const char *got = modelfile_read(&m, text, strlen(text), "Modelfile", &unread) ? modelfile_value(&m, name) : NULL;
    bool same = got && strcmp(got, value) == 0;
    if (!same && lost(value))
        error_set(err, GM_E_UNSUPPORTED, "write Modelfile: %s has U+%04X in it, which Ollama drops when it reads (leave that character out)",
                  name, lost(value));
    else if (!same)
        error_set(err, GM_E_UNSUPPORTED, "write Modelfile: %s has \"\"\" at the end of a line, where Ollama stops reading", name);
    modelfile_free(&m);
    return same;
}

/* The shortest decimal that is this float. */
static void add_number(struct str *out, const char *name, float x)
{
    char text[32];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)x);
        if (strtof(text, NULL) == x)
            break;
    }
    str_printf(out, "PARAMETER %s %s\n", name, text);
}

char *modelfile_write(const struct modelfile_settings *s, struct gm_error *err)
{
    struct str out = {0};
    for (const char *line = s->comment; line && *line;) {
        size_t n = strcspn(line, "\n");
        str_add(&out, "# ");
        text_clean(&out, line, n, false, false);
        str_add(&out, "\n");
        line += n + (line[n] == '\n');
    }
    str_printf(&out, "FROM %s\n", s->from);
    add_quoted(&out, "TEMPLATE", s->template);
    if (s->system && s->system[0])
        add_quoted(&out, "SYSTEM", s->system);
    for (size_t i = 0; i < s->n_stops; i++)
        add_quoted(&out, "PARAMETER stop", s->stops[i]);
    add_number(&out, "temperature", s->sampling.temperature);
    str_printf(&out, "PARAMETER top_k %d\n", s->sampling.top_k); /* 0: all, here and there */
    add_number(&out, "top_p", s->sampling.top_p);
    add_number(&out, "min_p", s->sampling.min_p);
    add_number(&out, "repeat_penalty", s->sampling.repeat_penalty);
    str_printf(&out, "PARAMETER repeat_last_n %d\n", SAMPLER_RECENT);
    if (s->num_ctx > 0)
        str_printf(&out, "PARAMETER num_ctx %lld\n", (long long)s->num_ctx);
    if (s->license)
        add_quoted(&out, "LICENSE", s->license);
    char *text = str_take(&out);
    if (comes_back(text, "template", s->template, err) && (!s->system || !s->system[0] || comes_back(text, "system", s->system, err)))
        return text;
    mem_free(text);
    return NULL;
}
