/* regex_match.c - runs a pattern's program over a text. */
#include "engine/base/mem.h"
#include "engine/base/str.h"
#include "engine/text/regex_private.h"
#include "engine/text/unicode.h"

enum { SEEN_SLOTS = 1 << 12, SEEN_FROM_STEPS = 64, STACK_MAX = 1 << 24 };

/* Where to go on when the way at hand fails: at `pc` with `at`; a greedy run may then give back one character after the
 * other down to `low`, a lazy one may take `more`. */
struct regex_choice {
    uint32_t pc;
    uint32_t more;
    size_t at, low;
};

/* A state in which an attempt was already: it failed from there, or the attempt would be over. */
struct regex_seen {
    uint64_t attempt;
    uint32_t pc;
    size_t at;
};

struct matching {
    const struct regex *re;
    struct regex_run *run;
    const char *text;
    size_t begin, end;
};

struct regex_run regex_run_begin(size_t text_bytes)
{
    return (struct regex_run){.steps_left = REGEX_STEPS_FREE + (uint64_t)text_bytes * REGEX_STEPS_PER_BYTE};
}

void regex_run_free(struct regex_run *run)
{
    mem_free(run->stack);
    mem_free(run->seen);
    *run = (struct regex_run){0};
}

bool regex_set_has(const struct regex_set *set, uint32_t c)
{
    if (c < 0x80)
        return set->ascii[c >> 6] >> (c & 63) & 1;
    bool has = (set->space && unicode_is_space(c)) || (set->categories && set->categories >> unicode_category(c) & 1);
    for (size_t i = 0; !has && i < set->n_ranges; i++)
        has = c >= set->ranges[i][0] && c <= set->ranges[i][1];
    return has != set->negated;
}

/* Behind the character at `at` if it is of the set; 0: it is not. */
static inline size_t step(const struct matching *m, const struct regex_set *set, size_t at)
{
    if (at >= m->end)
        return 0;
    unsigned char byte = (unsigned char)m->text[at];
    if (byte < 0x80)
        return set->ascii[byte >> 6] >> (byte & 63) & 1 ? at + 1 : 0;
    uint32_t c;
    int len = utf8_decode(m->text + at, m->text + m->end, &c);
    return regex_set_has(set, c) ? at + (size_t)len : 0;
}

static size_t before(const struct matching *m, size_t at)
{
    do
        at--;
    while (((unsigned char)m->text[at] & 0xC0) == 0x80);
    return at;
}

static bool push(struct regex_run *run, struct regex_choice c)
{
    if (run->n_stack == STACK_MAX)
        return false;
    run->stack = mem_room(run->stack, run->n_stack, &run->cap_stack, sizeof *run->stack);
    run->stack[run->n_stack++] = c;
    return true;
}

/* Was this attempt here before? Notes the state. The table forgets: then the way is walked again, at the steps' cost. */
static bool seen(struct regex_run *run, uint64_t attempt, uint32_t pc, size_t at)
{
    if (!run->seen)
        run->seen = mem_new(SEEN_SLOTS, sizeof *run->seen);
    uint64_t hash = (at * 31 + pc) * 0x9E3779B97F4A7C15u;
    struct regex_seen *s = &run->seen[hash >> 52];
    if (s->attempt == attempt && s->pc == pc && s->at == at)
        return true;
    *s = (struct regex_seen){attempt, pc, at};
    return false;
}

/* From `pc` to its RX_DONE; `at` moves behind the match. */
static enum regex_answer attempt(const struct matching *m, uint32_t pc, size_t *end_at)
{
    struct regex_run *run = m->run;
    size_t floor = run->n_stack, at = *end_at;
    uint64_t number = ++run->attempt, steps = 0;
    enum regex_answer answer = REGEX_NONE;
    for (;;) {
        const struct regex_step *s = &m->re->steps[pc];
        bool fails = false;
        if (run->steps_left == 0)
            goto too_long;
        run->steps_left--;
        if ((s->op == RX_SPLIT || s->op == RX_RUN) && ++steps > SEEN_FROM_STEPS && seen(run, number, pc, at))
            goto next_choice;
        switch (s->op) {
        case RX_SET: {
            size_t next = step(m, &m->re->sets[s->x], at);
            fails = next == 0;
            at = fails ? at : next;
            pc++;
            break;
        }
        case RX_RUN: {
            const struct regex_set *set = &m->re->sets[s->x];
            uint32_t n = 0, want = s->mode == RX_LAZY ? s->min : s->max;
            size_t low = at;
            for (size_t next; n < want && (next = step(m, set, at)) != 0; at = next, n++)
                if (n + 1 == s->min)
                    low = next;
            uint64_t cost = n;
            if (cost > run->steps_left)
                goto too_long;
            run->steps_left -= cost;
            fails = n < s->min;
            if (!fails && s->mode == RX_GREEDY && at > low && !push(run, (struct regex_choice){pc + 1, 0, at, low}))
                goto too_long;
            if (!fails && s->mode == RX_LAZY && s->max > s->min &&
                !push(run, (struct regex_choice){pc, s->max == RX_NO_MAX ? RX_NO_MAX : s->max - s->min, at, at}))
                goto too_long;
            pc++;
            break;
        }
        case RX_SPLIT:
            if (!push(run, (struct regex_choice){s->y, 0, at, at}))
                goto too_long;
            pc = s->x;
            break;
        case RX_JUMP:
            pc = s->x;
            break;
        case RX_AHEAD:
        case RX_NOT_AHEAD:
        case RX_ATOMIC: {
            size_t inner = at;
            enum regex_answer found = attempt(m, pc + 1, &inner);
            if (found == REGEX_TOO_LONG)
                goto too_long;
            fails = (found == REGEX_FOUND) == (s->op == RX_NOT_AHEAD);
            if (s->op == RX_ATOMIC && !fails)
                at = inner;
            pc = s->x;
            break;
        }
        case RX_LINE_BEGIN:
            fails = at > m->begin && (m->text[at - 1] != '\n' || at == m->end);
            pc++;
            break;
        case RX_LINE_END:
            fails = at < m->end && m->text[at] != '\n';
            pc++;
            break;
        case RX_TEXT_BEGIN:
            fails = at > m->begin;
            pc++;
            break;
        case RX_TEXT_END:
            fails = at < m->end;
            pc++;
            break;
        case RX_DONE:
            *end_at = at;
            answer = REGEX_FOUND;
            goto out;
        }
        if (!fails)
            continue;
    next_choice:
        if (run->n_stack == floor)
            goto out;
        struct regex_choice *c = &run->stack[run->n_stack - 1];
        if (c->more) { /* a lazy run takes one more */
            const struct regex_step *lazy = &m->re->steps[c->pc];
            size_t next = step(m, &m->re->sets[lazy->x], c->at);
            pc = c->pc + 1;
            at = next;
            if (next == 0) {
                run->n_stack--;
                goto next_choice;
            }
            c->at = next;
            if (c->more != RX_NO_MAX && --c->more == 0)
                run->n_stack--;
        } else if (c->at > c->low) { /* a greedy run gives one back */
            c->at = before(m, c->at);
            pc = c->pc;
            at = c->at;
            if (c->at == c->low)
                run->n_stack--;
        } else {
            pc = c->pc;
            at = c->at;
            run->n_stack--;
        }
    }
too_long:
    answer = REGEX_TOO_LONG;
out:
    run->n_stack = floor;
    return answer;
}

enum regex_answer regex_find(const struct regex *re, struct regex_run *run, const char *text, size_t begin, size_t at, size_t end,
                             struct regex_hit *hit)
{
    const struct matching m = {re, run, text, begin, end};
    for (;;) {
        size_t behind = at;
        enum regex_answer answer = attempt(&m, 0, &behind);
        if (answer != REGEX_NONE) {
            *hit = (struct regex_hit){at, behind};
            return answer;
        }
        if (at >= end)
            return REGEX_NONE;
        do
            at++;
        while (at < end && ((unsigned char)text[at] & 0xC0) == 0x80);
    }
}
