/* jinja_lex.c - a template's text to tokens, white space control included.
 *
 * trim_blocks: one newline behind a block or comment goes. lstrip_blocks: blanks between the
 * beginning of a line and a block or comment go. `-` takes all white space on its side, `+` keeps
 * what the two rules would take. Both rules leave {{ ... }} alone.
 */
#include "engine/text/jinja_private.h"

#include "engine/base/mem.h"
#include "engine/text/unicode.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { NESTING_MAX = 128 };

struct lexer {
    const char *text, *p, *end;
    int line;
    const char *label;
    struct jinja_heap *heap;
    struct jinja_tokens *out;
    struct gm_error *err;
};

static bool fail(const struct lexer *x, int line, const char *what)
{
    return error_set(x->err, GM_E_INPUT, "%s:%d: %s", x->label, line, what);
}

static struct jinja_token *add(struct lexer *x, enum jinja_token_type type)
{
    struct jinja_tokens *o = x->out;
    o->list = mem_room(o->list, o->n, &o->cap, sizeof *o->list);
    struct jinja_token *t = &o->list[o->n++];
    *t = (struct jinja_token){.type = type, .line = x->line};
    return t;
}

static void move(struct lexer *x, const char *to)
{
    for (; x->p < to; x->p++)
        x->line += *x->p == '\n';
}

static bool at(const char *p, const char *end, const char *word)
{
    size_t n = strlen(word);
    return (size_t)(end - p) >= n && memcmp(p, word, n) == 0;
}

static const char *skip_space(const char *p, const char *end)
{
    uint32_t c;
    while (p < end) {
        int n = utf8_decode(p, end, &c);
        if (!unicode_is_blank(c))
            break;
        p += n;
    }
    return p;
}

/* The end of [begin, end) without the white space at it. */
static const char *strip_right(const char *begin, const char *end)
{
    const char *last = begin;
    uint32_t c;
    for (const char *p = begin; p < end;) {
        p += utf8_decode(p, end, &c);
        if (!unicode_is_blank(c))
            last = p;
    }
    return last;
}

/* Text in front of a tag, cut as the tag's sign and lstrip_blocks have it. */
static void add_data(struct lexer *x, const char *until, char sign, bool is_variable)
{
    const char *begin = x->p, *end = until;
    if (sign == '-') {
        end = strip_right(begin, until);
    } else if (sign != '+' && !is_variable) {
        const char *line = until;
        while (line > begin && line[-1] != '\n')
            line--;
        bool starts_line = line > begin || begin == x->text || begin[-1] == '\n';
        if (starts_line && skip_space(line, until) == until)
            end = line;
    }
    if (end > begin) {
        struct jinja_token *t = add(x, TOKEN_DATA);
        t->text = begin;
        t->n = (size_t)(end - begin);
    }
    move(x, until);
}

/* If a tag ends here with `close` ("%}", "}}", "#}"), the place behind it and what it takes along;
 * else NULL. */
static const char *tag_end(const char *p, const char *end, const char *close)
{
    bool is_variable = close[0] == '}';
    char sign = *p == '-' || (*p == '+' && !is_variable) ? *p : 0;
    if (!at(p + (sign != 0), end, close))
        return NULL;
    p += (sign != 0) + 2;
    if (sign == '-')
        return skip_space(p, end);
    return !sign && !is_variable && p < end && *p == '\n' ? p + 1 : p;
}

static char sign_at(const char *p, const char *end)
{
    return p < end && (*p == '-' || *p == '+') ? *p : 0;
}

static bool lex_comment(struct lexer *x)
{
    int line = x->line;
    for (const char *p = x->p; p < x->end; p++) {
        const char *behind = tag_end(p, x->end, "#}");
        if (behind) {
            move(x, behind);
            return true;
        }
    }
    return fail(x, line, "the comment has no end (#})");
}

/* At "{%": the tag `word` alone ("{%- raw %}"); the place behind the word and its blanks. */
static const char *only_word(const char *p, const char *end, const char *word, char *sign)
{
    if (!at(p, end, "{%"))
        return NULL;
    *sign = sign_at(p + 2, end);
    p = skip_space(p + 2 + (*sign != 0), end);
    return at(p, end, word) ? skip_space(p + strlen(word), end) : NULL;
}

/* {% raw %} ... {% endraw %}; *found is false where the tag is another one. */
static bool lex_raw(struct lexer *x, const char *tag, bool *found)
{
    char sign;
    const char *p = only_word(tag, x->end, "raw", &sign);
    const char *behind = p && p < x->end ? tag_end(p, x->end, "%}") : NULL;
    *found = behind && *p != '+';
    if (!*found)
        return true;
    if (*p != '-')
        behind = p + 2; /* its newline stays */
    add_data(x, tag, sign, false);
    int line = x->line;
    move(x, behind);
    for (p = x->p; p < x->end; p++) {
        const char *close = only_word(p, x->end, "endraw", &sign);
        behind = close && close < x->end ? tag_end(close, x->end, "%}") : NULL;
        if (!behind)
            continue;
        add_data(x, p, sign, false);
        move(x, behind);
        return true;
    }
    return fail(x, line, "the raw block has no end ({% endraw %})");
}

/* ---- inside a tag ---- */

/* \xNN, \uNNNN, \UNNNNNNNN behind the letter; false: not so many digits, or no character. */
static bool hex_escape(const char **p, const char *end, int digits, uint32_t *out)
{
    *out = 0;
    if (end - *p < digits)
        return false;
    for (int i = 0; i < digits; i++, (*p)++) {
        int v = hex_digit(**p);
        if (v < 0)
            return false;
        *out = *out << 4 | (uint32_t)v;
    }
    return *out < 0x110000 && (*out < 0xD800 || *out > 0xDFFF);
}

/* The value of a string literal; out has room for n bytes (no escape grows). */
static bool unescape(const char *p, const char *end, char *out, size_t *n)
{
    static const char letters[] = "ntrabfv\\'\"", values[] = "\n\t\r\a\b\f\v\\'\"";
    char *o = out;
    while (p < end) {
        if (*p != '\\' || p + 1 == end) {
            *o++ = *p++;
            continue;
        }
        char c = *++p;
        const char *known = c ? strchr(letters, c) : NULL;
        uint32_t scalar = 0;
        if (known) {
            *o++ = values[known - letters];
            p++;
        } else if (c == '\n') {
            p++;
        } else if (c == 'x' || c == 'u' || c == 'U') {
            p++;
            if (!hex_escape(&p, end, c == 'x' ? 2 : c == 'u' ? 4 : 8, &scalar))
                return false;
            o += utf8_encode(scalar, o);
        } else if (c >= '0' && c <= '7') {
            for (int i = 0; i < 3 && p < end && *p >= '0' && *p <= '7'; i++)
                scalar = scalar * 8 + (uint32_t)(*p++ - '0');
            o += utf8_encode(scalar, o);
        } else {
            *o++ = '\\';
        }
    }
    *n = (size_t)(o - out);
    return true;
}

static bool lex_string(struct lexer *x)
{
    char quote = *x->p;
    const char *p = x->p + 1;
    while (p < x->end && *p != quote)
        p += *p == '\\' && p + 1 < x->end ? 2 : 1;
    if (p >= x->end)
        return fail(x, x->line, "the string has no end");
    struct jinja_token *t = add(x, TOKEN_STRING);
    size_t n = (size_t)(p - x->p - 1);
    char *out = jinja_take(x->heap, n + 1);
    t->text = out;
    if (!unescape(x->p + 1, p, out, &t->n))
        return fail(x, x->line, "the string holds an escape that stands for no character");
    move(x, p + 1);
    return true;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits, with single _ between them; the place behind. */
static const char *digits(const char *p, const char *end)
{
    while (p < end && (is_digit(*p) || (*p == '_' && p + 1 < end && is_digit(p[1]))))
        p++;
    return p;
}

static bool lex_number(struct lexer *x)
{
    const char *p = digits(x->p, x->end), *more;
    bool is_float = false, after_dot = x->p > x->text && x->p[-1] == '.';
    if (*x->p == '0' && p == x->p + 1 && p < x->end && strchr("xXoObB", *p))
        return fail(x, x->line, "numbers in this base are not supported (write it in base ten)");
    if (!after_dot && p + 1 < x->end && *p == '.' && is_digit(p[1])) {
        p = digits(p + 1, x->end);
        is_float = true;
    }
    if (!after_dot && p < x->end && (*p | 32) == 'e') {
        more = p + 1 + (p + 1 < x->end && (p[1] == '+' || p[1] == '-'));
        if (more < x->end && is_digit(*more)) {
            p = digits(more, x->end);
            is_float = true;
        }
    }
    char copy[64];
    size_t n = 0;
    for (const char *q = x->p; q < p; q++) {
        if (n + 1 == sizeof copy)
            return fail(x, x->line, "the number has too many digits");
        if (*q != '_')
            copy[n++] = *q;
    }
    copy[n] = 0;
    if (!is_float && n > 1 && *copy == '0' && strspn(copy, "0") != n)
        return fail(x, x->line, "a number begins with 0");
    struct jinja_token *t = add(x, is_float ? TOKEN_FLOAT : TOKEN_INT);
    errno = 0;
    if (is_float)
        t->number = strtod(copy, NULL);
    else
        t->integer = strtoll(copy, NULL, 10);
    if (!is_float && errno == ERANGE)
        return fail(x, x->line, "the number has more than 64 bits");
    move(x, p);
    return true;
}

static const char *name_end(const char *p, const char *end)
{
    uint32_t c;
    while (p < end) {
        int n = utf8_decode(p, end, &c);
        if (!unicode_is_word(c))
            break;
        p += n;
    }
    return p;
}

/* An operator; brackets are kept in `open`, so that the end of the tag is found outside of them. */
static bool lex_operator(struct lexer *x, char open[NESTING_MAX], int *n_open)
{
    static const char *const two[] = {"//", "**", "==", "!=", ">=", "<="};
    char c = *x->p;
    for (size_t i = 0; i < sizeof two / sizeof *two; i++)
        if (at(x->p, x->end, two[i])) {
            add(x, TOKEN_OPERATOR)->op = JINJA_OP2(two[i][0], two[i][1]);
            move(x, x->p + 2);
            return true;
        }
    if (!c || !strchr("+-/*%~[](){}><=.:|,;", c))
        return fail(x, x->line, "a character that has no meaning in a tag");
    if (strchr("([{", c)) {
        if (*n_open == NESTING_MAX)
            return fail(x, x->line, "brackets are nested too deep");
        open[(*n_open)++] = c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (strchr(")]}", c)) {
        if (*n_open == 0 || open[--*n_open] != c)
            return fail(x, x->line, "a bracket is closed that is not open");
    }
    add(x, TOKEN_OPERATOR)->op = c;
    move(x, x->p + 1);
    return true;
}

/* From behind "{{" or "{%" and its sign to behind the end of the tag. */
static bool lex_tag(struct lexer *x, const char *close, enum jinja_token_type end_type)
{
    char open[NESTING_MAX];
    int n_open = 0, line = x->line;
    for (;;) {
        const char *behind = n_open == 0 && x->p < x->end ? tag_end(x->p, x->end, close) : NULL;
        if (behind) {
            add(x, end_type);
            move(x, behind);
            return true;
        }
        move(x, skip_space(x->p, x->end));
        if (x->p >= x->end)
            return fail(x, line, "the tag has no end");
        if (tag_end(x->p, x->end, close) && n_open == 0)
            continue;
        const char *p = name_end(x->p, x->end);
        if (is_digit(*x->p)) {
            if (!lex_number(x))
                return false;
        } else if (p > x->p) {
            struct jinja_token *t = add(x, TOKEN_NAME);
            t->text = x->p;
            t->n = (size_t)(p - x->p);
            move(x, p);
        } else if (*x->p == '\'' || *x->p == '"') {
            if (!lex_string(x))
                return false;
        } else if (!lex_operator(x, open, &n_open)) {
            return false;
        }
    }
}

static const char *next_tag(const char *p, const char *end)
{
    while (p < end && (p = memchr(p, '{', (size_t)(end - p)))) {
        if (p + 1 < end && (p[1] == '{' || p[1] == '%' || p[1] == '#'))
            return p;
        p++;
    }
    return NULL;
}

bool jinja_lex(const char *text, size_t n, const char *label, struct jinja_heap *heap,
               struct jinja_tokens *out, struct gm_error *err)
{
    struct lexer x = {.text = text, .p = text, .end = text + n, .line = 1, .label = label,
                      .heap = heap, .out = out, .err = err};
    while (x.p < x.end) {
        const char *tag = next_tag(x.p, x.end);
        if (!tag) {
            add_data(&x, x.end, '+', true);
            break;
        }
        bool raw = false;
        if (tag[1] == '%' && !lex_raw(&x, tag, &raw))
            return false;
        if (raw)
            continue;
        char sign = sign_at(tag + 2, x.end);
        add_data(&x, tag, sign, tag[1] == '{');
        if (tag[1] != '#')
            add(&x, tag[1] == '{' ? TOKEN_VARIABLE_BEGIN : TOKEN_BLOCK_BEGIN);
        move(&x, tag + 2 + (sign != 0));
        if (tag[1] == '#' ? !lex_comment(&x)
            : tag[1] == '{' ? !lex_tag(&x, "}}", TOKEN_VARIABLE_END)
                            : !lex_tag(&x, "%}", TOKEN_BLOCK_END))
            return false;
    }
    add(&x, TOKEN_END);
    return true;
}
