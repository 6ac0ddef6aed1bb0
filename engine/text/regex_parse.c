/* regex_parse.c - reads a pattern and writes its program.
 *
 * Each part is parsed into instructions at the end of the program. What repeats is copied: the instructions of a part know
 * where they go by their own addresses, so a copy shifts them.
 */
#include "engine/base/mem.h"
#include "engine/base/str.h"
#include "engine/text/regex_private.h"
#include "engine/text/unicode.h"

#include <string.h>

struct parser {
    const char *start, *p, *end;
    struct regex *re;
    struct gm_error *err;
    int depth;
    bool ignore_case;
};

static bool parse_alternatives(struct parser *s, bool *nullable);

static bool refuse(struct parser *s, const char *what)
{
    return error_set(s->err, GM_E_UNSUPPORTED, "pattern at byte %zu: %s is not supported", (size_t)(s->p - s->start) + 1, what);
}

static bool wrong(struct parser *s, const char *what)
{
    return error_set(s->err, GM_E_INPUT, "pattern at byte %zu: %s", (size_t)(s->p - s->start) + 1, what);
}

static bool emit(struct parser *s, struct regex_step step)
{
    struct regex *re = s->re;
    if (re->n_steps == RX_STEPS_MAX)
        return error_set(s->err, GM_E_UNSUPPORTED, "pattern: it needs more than %d instructions", RX_STEPS_MAX);
    re->steps = mem_room(re->steps, re->n_steps, &re->cap_steps, sizeof *re->steps);
    re->steps[re->n_steps++] = step;
    return true;
}

static uint32_t here(const struct parser *s)
{
    return (uint32_t)s->re->n_steps;
}

/* Makes room for one instruction at `at`; what lies behind moves on. */
static bool insert(struct parser *s, uint32_t at, struct regex_step step)
{
    if (!emit(s, (struct regex_step){.op = RX_DONE}))
        return false;
    struct regex *re = s->re;
    memmove(re->steps + at + 1, re->steps + at, (re->n_steps - 1 - at) * sizeof *re->steps);
    for (size_t i = at + 1; i < re->n_steps; i++) {
        struct regex_step *moved = &re->steps[i];
        if (moved->op == RX_SPLIT || moved->op == RX_JUMP || moved->op == RX_AHEAD || moved->op == RX_NOT_AHEAD || moved->op == RX_ATOMIC) {
            moved->x += 1; /* they go forwards or to the beginning of the same part, which moved, too */
            moved->y += 1;
        }
    }
    re->steps[at] = step;
    return true;
}

/* ---- sets of characters ---- */

static void set_range(struct regex_set *set, uint32_t low, uint32_t high)
{
    set->ranges = mem_grow(set->ranges, set->n_ranges, set->n_ranges + 1, sizeof *set->ranges);
    set->ranges[set->n_ranges][0] = low;
    set->ranges[set->n_ranges++][1] = high;
}

/* Under (?i: the other case belongs in, too: ASCII letters, and the two letters beyond that fold to one. */
static void add_char(struct parser *s, struct regex_set *set, uint32_t low, uint32_t high)
{
    set_range(set, low, high);
    if (!s->ignore_case)
        return;
    for (uint32_t c = 'a'; c <= 'z'; c++) {
        uint32_t upper = c - 32;
        if (c >= low && c <= high)
            set_range(set, upper, upper);
        if (upper >= low && upper <= high)
            set_range(set, c, c);
        if (((c >= low && c <= high) || (upper >= low && upper <= high)) && (c == 's' || c == 'k'))
            set_range(set, c == 's' ? 0x17F : 0x212A, c == 's' ? 0x17F : 0x212A);
    }
}

/* Fills the bits of ASCII, once all is in; the index of the set. */
static uint32_t finish_set(struct parser *s, struct regex_set set)
{
    struct regex *re = s->re;
    for (uint32_t c = 0; c < 0x80; c++) {
        bool has = (set.space && unicode_is_space(c)) || set.categories >> unicode_category(c) & 1;
        for (size_t i = 0; !has && i < set.n_ranges; i++)
            has = c >= set.ranges[i][0] && c <= set.ranges[i][1];
        if (has != set.negated)
            set.ascii[c >> 6] |= (uint64_t)1 << (c & 63);
    }
    re->sets = mem_room(re->sets, re->n_sets, &re->cap_sets, sizeof *re->sets);
    re->sets[re->n_sets] = set;
    return (uint32_t)re->n_sets++;
}

/* \p{Lu}, \P{L}, \p{^N}: behind the p. */
static bool parse_property(struct parser *s, bool turned, uint32_t *mask)
{
    const char *close = s->p < s->end && *s->p == '{' ? memchr(s->p, '}', (size_t)(s->end - s->p)) : NULL;
    if (!close)
        return wrong(s, "\\p without {name}");
    const char *name = s->p + 1;
    if (name < close && *name == '^') {
        turned = !turned;
        name++;
    }
    *mask = unicode_category_mask(name, (size_t)(close - name));
    if (*mask == 0)
        return refuse(s, "this \\p{...}");
    if (turned)
        *mask = UNICODE_ALL_CATEGORIES & ~*mask;
    s->p = close + 1;
    return true;
}

static bool parse_hex(struct parser *s, int digits, uint32_t *c)
{
    *c = 0;
    bool braced = digits == 2 && s->p < s->end && *s->p == '{';
    s->p += braced;
    int n = 0;
    for (; s->p < s->end && n < (braced ? 6 : digits); s->p++, n++) {
        if (hex_digit(*s->p) < 0)
            break;
        *c = 16 * *c + (uint32_t)hex_digit(*s->p);
    }
    if (n == 0 || (!braced && n < digits && digits == 4) || (braced && (s->p == s->end || *s->p++ != '}')) || *c > 0x10FFFF)
        return wrong(s, "a character by its number is cut short or too large");
    return true;
}

/* What stands behind a backslash: one character (*c), or a class (added to set, *is_class). */
static bool parse_escape(struct parser *s, struct regex_set *set, bool *is_class, uint32_t *c)
{
    *is_class = false;
    if (s->p == s->end)
        return wrong(s, "it ends with a backslash");
    int len = utf8_decode(s->p, s->end, c);
    s->p += len;
    uint32_t mask;
    switch (*c) {
    case 'n': *c = '\n'; return true;
    case 'r': *c = '\r'; return true;
    case 't': *c = '\t'; return true;
    case 'f': *c = '\f'; return true;
    case 'v': *c = '\v'; return true;
    case 'a': *c = '\a'; return true;
    case 'e': *c = 0x1B; return true;
    case 'x': return parse_hex(s, 2, c);
    case 'u': return parse_hex(s, 4, c);
    case 'p':
    case 'P':
        *is_class = true;
        if (!parse_property(s, *c == 'P', &mask))
            return false;
        set->categories |= mask;
        return true;
    case 'd':
        *is_class = true;
        set->categories |= unicode_category_mask("Nd", 2);
        return true;
    case 'D':
        *is_class = true;
        set->categories |= UNICODE_ALL_CATEGORIES & ~unicode_category_mask("Nd", 2);
        return true;
    case 's':
        *is_class = set->space = true;
        return true;
    case 'S': /* all but White_Space: control characters and separators hold spaces, the other categories none */
        *is_class = true;
        set->categories |= UNICODE_ALL_CATEGORIES & ~unicode_category_mask("Cc", 2) & ~unicode_category_mask("Z", 1);
        set_range(set, 0, 8);
        set_range(set, 0xE, 0x1F);
        set_range(set, 0x7F, 0x84);
        set_range(set, 0x86, 0x9F);
        return true;
    default:
        if ((*c | 32) - 'a' < 26 || *c - '0' < 10 || *c >= 0x80) {
            s->p -= len;
            return refuse(s, "this character behind a backslash");
        }
        return true;
    }
}

static bool parse_class(struct parser *s, struct regex_set *set)
{
    if (s->p < s->end && *s->p == '^') {
        set->negated = true;
        s->p++;
    }
    if (s->p < s->end && *s->p == ']')
        return refuse(s, "a class that begins with ]");
    while (s->p < s->end && *s->p != ']') {
        if (*s->p == '[')
            return refuse(s, "a class within a class");
        if (*s->p == '&' && s->p + 1 < s->end && s->p[1] == '&')
            return refuse(s, "&& in a class");
        bool is_class = false;
        uint32_t low, high;
        s->p += utf8_decode(s->p, s->end, &low);
        if (low == '\\' && !parse_escape(s, set, &is_class, &low))
            return false;
        if (is_class)
            continue;
        high = low;
        if (s->p + 1 < s->end && s->p[0] == '-' && s->p[1] != ']') {
            s->p++;
            s->p += utf8_decode(s->p, s->end, &high);
            if (high == '\\' && !parse_escape(s, set, &is_class, &high))
                return false;
            if (is_class || high < low)
                return wrong(s, "a range that goes backwards or ends in a class");
        }
        if (s->ignore_case && high >= 0x80)
            return refuse(s, "(?i: beyond ASCII");
        add_char(s, set, low, high);
    }
    if (s->p == s->end)
        return wrong(s, "a class without its ]");
    s->p++;
    return true;
}

/* ---- parts ---- */

static bool emit_set(struct parser *s, struct regex_set set)
{
    return emit(s, (struct regex_step){.op = RX_SET, .x = finish_set(s, set)});
}

/* Makes what begins at `begin` a part of its own, run by one instruction: (?=...) (?!...) (?>...), possessive loops. */
static bool wrap(struct parser *s, uint32_t begin, enum regex_op op)
{
    if (!insert(s, begin, (struct regex_step){.op = op}) || !emit(s, (struct regex_step){.op = RX_DONE}))
        return false;
    s->re->steps[begin].x = here(s);
    return true;
}

static bool parse_group(struct parser *s, bool *nullable)
{
    enum regex_op around = RX_DONE; /* none */
    bool case_before = s->ignore_case, inner_nullable;
    uint32_t begin = here(s);
    if (s->p < s->end && *s->p == '?') {
        static const struct {
            const char *text;
            enum regex_op around;
            bool ignore_case;
        } kinds[] = {{"?:", RX_DONE, false}, {"?=", RX_AHEAD, false}, {"?!", RX_NOT_AHEAD, false}, {"?>", RX_ATOMIC, false}, {"?i:", RX_DONE, true}};
        size_t k = 0, len = 0;
        for (; k < sizeof kinds / sizeof kinds[0]; k++) {
            len = strlen(kinds[k].text);
            if ((size_t)(s->end - s->p) >= len && memcmp(s->p, kinds[k].text, len) == 0)
                break;
        }
        if (k == sizeof kinds / sizeof kinds[0])
            return refuse(s, "this kind of (?...)");
        around = kinds[k].around;
        s->ignore_case = s->ignore_case || kinds[k].ignore_case;
        s->p += len;
    }
    if (++s->depth > RX_DEPTH_MAX)
        return refuse(s, "nesting as deep as this");
    if (!parse_alternatives(s, &inner_nullable))
        return false;
    s->depth--;
    s->ignore_case = case_before;
    if (s->p == s->end)
        return wrong(s, "a group without its )");
    s->p++;
    *nullable = inner_nullable || around == RX_AHEAD || around == RX_NOT_AHEAD;
    return around == RX_DONE || wrap(s, begin, around);
}

static bool parse_atom(struct parser *s, bool *nullable)
{
    struct regex_set set = {0};
    uint32_t c;
    bool is_class = false, ok = true;
    *nullable = false;
    s->p += utf8_decode(s->p, s->end, &c);
    switch (c) {
    case '(':
        return parse_group(s, nullable);
    case '[':
        ok = parse_class(s, &set);
        break;
    case '.':
        set_range(&set, '\n', '\n');
        set.negated = true;
        break;
    case '^':
    case '$':
        *nullable = true;
        return emit(s, (struct regex_step){.op = c == '^' ? RX_LINE_BEGIN : RX_LINE_END});
    case '*':
    case '+':
    case '?':
        s->p--;
        return wrong(s, "there is nothing to repeat");
    case '\\':
        if (s->p < s->end && (*s->p == 'A' || *s->p == 'z')) {
            *nullable = true;
            return emit(s, (struct regex_step){.op = *s->p++ == 'A' ? RX_TEXT_BEGIN : RX_TEXT_END});
        }
        ok = parse_escape(s, &set, &is_class, &c);
        if (!ok || is_class)
            break;
        /* fall through */
    default:
        ok = !s->ignore_case || c < 0x80 || refuse(s, "(?i: beyond ASCII");
        add_char(s, &set, c, c);
    }
    if (!ok) {
        mem_free(set.ranges);
        return false;
    }
    return emit_set(s, set);
}

static bool parse_number(struct parser *s, uint32_t *n)
{
    const char *from = s->p;
    *n = 0;
    for (; s->p < s->end && *s->p >= '0' && *s->p <= '9' && *n <= RX_REPEAT_MAX; s->p++)
        *n = 10 * *n + (uint32_t)(*s->p - '0');
    return s->p > from;
}

/* {m}, {m,}, {,n}, {m,n}: behind the brace. */
static bool parse_counts(struct parser *s, uint32_t *min, uint32_t *max)
{
    bool has_min = parse_number(s, min), comma = s->p < s->end && *s->p == ',';
    s->p += comma;
    bool has_max = comma && parse_number(s, max);
    if (!comma)
        *max = *min;
    else if (!has_max)
        *max = RX_NO_MAX;
    if ((!has_min && !has_max) || s->p == s->end || *s->p != '}')
        return refuse(s, "a brace that is no count");
    s->p++;
    if (*min > *max)
        return refuse(s, "a count that goes backwards");
    if (*min > RX_REPEAT_MAX || (*max != RX_NO_MAX && *max > RX_REPEAT_MAX))
        return refuse(s, "a count beyond 1000");
    return true;
}

/* One more copy of the instructions [begin, end) at the end of the program. */
static bool copy_part(struct parser *s, uint32_t begin, uint32_t end)
{
    uint32_t by = here(s) - begin;
    for (uint32_t i = begin; i < end; i++) {
        struct regex_step step = s->re->steps[i];
        if (step.op == RX_SPLIT || step.op == RX_JUMP || step.op == RX_AHEAD || step.op == RX_NOT_AHEAD || step.op == RX_ATOMIC) {
            step.x += by;
            step.y += by;
        }
        if (!emit(s, step))
            return false;
    }
    return true;
}

static void aim_split(struct parser *s, uint32_t at, bool lazy, uint32_t in, uint32_t past)
{
    s->re->steps[at].x = lazy ? past : in;
    s->re->steps[at].y = lazy ? in : past;
}

/* The part from `begin` on, min to max times: `min` copies; then a loop over the last one (or over one that may be passed
 * by), or max - min further copies, each of which may be the last. */
static bool repeat(struct parser *s, uint32_t begin, uint32_t min, uint32_t max, enum regex_mode mode)
{
    struct regex *re = s->re;
    uint32_t n = here(s) - begin, from = begin; /* `from`: a copy to copy from */
    bool lazy = mode == RX_LAZY, ok = true;
    if (n == 1 && re->steps[begin].op == RX_SET) {
        re->steps[begin] = (struct regex_step){.op = RX_RUN, .mode = mode, .x = re->steps[begin].x, .min = min, .max = max};
        return true;
    }
    if (max == 0) {
        re->n_steps = begin;
        return true;
    }
    for (uint32_t i = 1; ok && i < min; i++)
        ok = copy_part(s, from, from + n);
    if (ok && max == RX_NO_MAX && min > 0) {
        uint32_t last = here(s) - n, at = here(s);
        ok = emit(s, (struct regex_step){.op = RX_SPLIT});
        aim_split(s, at, lazy, last, here(s));
    } else if (ok && max == RX_NO_MAX) {
        ok = insert(s, begin, (struct regex_step){.op = RX_SPLIT}) && emit(s, (struct regex_step){.op = RX_JUMP, .x = begin});
        aim_split(s, begin, lazy, begin + 1, here(s));
    } else if (ok) {
        uint32_t *splits = mem_new(max - min + 1, sizeof *splits), n_splits = 0;
        if (min == 0) {
            ok = insert(s, begin, (struct regex_step){.op = RX_SPLIT});
            splits[n_splits++] = begin;
            from++;
        }
        while (ok && n_splits < max - min) {
            splits[n_splits++] = here(s);
            ok = emit(s, (struct regex_step){.op = RX_SPLIT}) && copy_part(s, from, from + n);
        }
        for (uint32_t i = 0; ok && i < n_splits; i++)
            aim_split(s, splits[i], lazy, splits[i] + 1, here(s));
        mem_free(splits);
    }
    return ok && (mode != RX_POSSESSIVE || wrap(s, begin, RX_ATOMIC));
}

static bool parse_repeated(struct parser *s, bool *nullable)
{
    uint32_t begin = here(s);
    if (!parse_atom(s, nullable))
        return false;
    while (s->p < s->end && (*s->p == '*' || *s->p == '+' || *s->p == '?' || *s->p == '{')) {
        char sign = *s->p++;
        uint32_t min = sign == '+', max = sign == '?' ? 1 : RX_NO_MAX;
        if (sign == '{' && !parse_counts(s, &min, &max))
            return false;
        enum regex_mode mode = RX_GREEDY;
        if (s->p < s->end && (*s->p == '?' || *s->p == '+')) {
            if (sign == '{' && (*s->p == '+' || min == max))
                return refuse(s, "a mark behind this count");
            mode = *s->p++ == '?' ? RX_LAZY : RX_POSSESSIVE;
        }
        if (*nullable && max == RX_NO_MAX)
            return refuse(s, "a loop over something that may be empty");
        if (!repeat(s, begin, min, max, mode))
            return false;
        *nullable = *nullable || min == 0;
        if (s->p < s->end && (*s->p == '*' || *s->p == '+' || *s->p == '?' || *s->p == '{'))
            return refuse(s, "one repetition behind the other");
    }
    return true;
}

static bool parse_alternatives(struct parser *s, bool *nullable)
{
    uint32_t jumps[256], n_jumps = 0; /* from the end of each alternative to the end of all */
    *nullable = false;
    for (;;) {
        uint32_t begin = here(s);
        bool all_nullable = true;
        while (s->p < s->end && *s->p != '|' && *s->p != ')') {
            bool part_nullable;
            if (!parse_repeated(s, &part_nullable))
                return false;
            all_nullable = all_nullable && part_nullable;
        }
        *nullable = *nullable || all_nullable;
        if (s->p == s->end || *s->p != '|')
            break;
        s->p++;
        if (n_jumps == 256)
            return refuse(s, "more than 256 alternatives");
        if (!insert(s, begin, (struct regex_step){.op = RX_SPLIT, .x = begin + 1}))
            return false;
        jumps[n_jumps++] = here(s);
        if (!emit(s, (struct regex_step){.op = RX_JUMP}))
            return false;
        s->re->steps[begin].y = here(s);
    }
    for (uint32_t i = 0; i < n_jumps; i++)
        s->re->steps[jumps[i]].x = here(s);
    return true;
}

struct regex *regex_compile(const char *pattern, size_t n, struct gm_error *err)
{
    struct regex *re = mem_new(1, sizeof *re);
    struct parser s = {.start = pattern, .p = pattern, .end = pattern + n, .re = re, .err = err};
    bool ok = utf8_valid(pattern, n) || error_set(err, GM_E_INPUT, "pattern is not UTF-8");
    ok = ok && parse_alternatives(&s, &re->nullable);
    ok = ok && (s.p == s.end || wrong(&s, "a ) too many")) && emit(&s, (struct regex_step){.op = RX_DONE});
    if (ok)
        return re;
    regex_free(re);
    return NULL;
}

bool regex_may_be_empty(const struct regex *re)
{
    return re->nullable;
}

void regex_free(struct regex *re)
{
    if (!re)
        return;
    for (size_t i = 0; i < re->n_sets; i++)
        mem_free(re->sets[i].ranges);
    mem_free(re->sets);
    mem_free(re->steps);
    mem_free(re);
}
