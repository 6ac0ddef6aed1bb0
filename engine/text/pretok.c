/* pretok.c - cuts a text into the stretches in which merging happens. Each stage cuts what the one
 * before it left: a matcher finds places, a behaviour says what becomes of them. */
#include "engine/text/tokenizer_private.h"
#include "engine/text/unicode.h"

#include <string.h>

/* ---- the published patterns, coded by hand: what regex.c finds, faster (the tests hold them against one another) ---- */

enum class { CLASS_SPACE, CLASS_LETTER, CLASS_NUMBER, CLASS_OTHER };

static enum class class_at(const char *p, const char *end, int *len)
{
    uint32_t c;
    *len = utf8_decode(p, end, &c);
    if (unicode_is_letter(c))
        return CLASS_LETTER;
    if (unicode_is_space(c))
        return CLASS_SPACE;
    return unicode_is_number(c) ? CLASS_NUMBER : CLASS_OTHER;
}

/* Behind the characters of this class that follow p. */
static const char *run_of(enum class kind, const char *p, const char *end)
{
    int len;
    while (p < end && class_at(p, end, &len) == kind)
        p += len;
    return p;
}

static size_t contraction(const char *p, size_t n)
{
    if (n < 2 || p[0] != '\'')
        return 0;
    if (p[1] == 's' || p[1] == 't' || p[1] == 'm' || p[1] == 'd')
        return 2;
    if (n < 3)
        return 0;
    return memcmp(p, "'re", 3) == 0 || memcmp(p, "'ve", 3) == 0 || memcmp(p, "'ll", 3) == 0 ? 3 : 0;
}

/* In either case; U+017F is an s, too. */
static size_t contraction_any_case(const char *p, size_t n)
{
    char low[3] = {0};
    if (n < 2 || p[0] != '\'')
        return 0;
    if (n >= 3 && memcmp(p, "'\xC5\xBF", 3) == 0)
        return 3;
    for (size_t i = 0; i < 3 && i < n; i++)
        low[i] = (char)(p[i] >= 'A' && p[i] <= 'Z' ? p[i] | 32 : p[i]);
    return contraction(low, n < 3 ? n : 3);
}

/* Behind white space at p, which leaves its last character to what follows unless it is the only one: \s+(?!\S)|\s+ */
static const char *spaces(const char *p, const char *end)
{
    const char *last = p, *at = p;
    for (int len; at < end && class_at(at, end, &len) == CLASS_SPACE; at += len)
        last = at;
    return at < end && last > p ? last : at;
}

/* GPT-2's pattern: a contraction; or a run of letters, of numbers or of other marks, with one space before it; or white
 * space. */
static const char *gpt2_match(const char *p, const char *end)
{
    size_t short_form = contraction(p, (size_t)(end - p));
    if (short_form)
        return p + short_form;
    int len;
    const char *at = p;
    enum class kind = class_at(p, end, &len);
    if (*p == ' ' && p + 1 < end) {
        int next_len;
        enum class next = class_at(p + 1, end, &next_len);
        if (next != CLASS_SPACE) {
            kind = next;
            at = p + 1;
            len = next_len;
        }
    }
    return kind == CLASS_SPACE ? spaces(p, end) : run_of(kind, at + len, end);
}

/* The pattern of Llama 3, with up to `digits` numbers in a stretch, and of Qwen, with one: contractions in either case;
 * letters with any one character but a line break or a number before them; numbers; marks with one space before them and
 * line breaks behind; white space up to its last line break; white space. */
static const char *llama3_match(const char *p, const char *end, int digits)
{
    size_t short_form = contraction_any_case(p, (size_t)(end - p));
    if (short_form)
        return p + short_form;
    int len, next_len = 0;
    enum class kind = class_at(p, end, &len), next = CLASS_SPACE;
    if (kind == CLASS_LETTER)
        return run_of(CLASS_LETTER, p + len, end);
    if (kind == CLASS_NUMBER) {
        while (p < end && digits-- > 0 && class_at(p, end, &len) == CLASS_NUMBER)
            p += len;
        return p;
    }
    if (p + len < end)
        next = class_at(p + len, end, &next_len);
    if (next == CLASS_LETTER && *p != '\r' && *p != '\n')
        return run_of(CLASS_LETTER, p + len + next_len, end);
    if (kind == CLASS_OTHER || (*p == ' ' && next == CLASS_OTHER)) {
        for (p = run_of(CLASS_OTHER, p + len, end); p < end && (*p == '\r' || *p == '\n');)
            p++;
        return p;
    }
    const char *at = run_of(CLASS_SPACE, p, end), *line = at;
    while (line > p && line[-1] != '\n' && line[-1] != '\r')
        line--;
    return line > p ? line : spaces(p, end);
}

/* ---- matchers ---- */

static enum regex_answer match_chars(bool (*is)(uint32_t), const char *text, size_t at, size_t end, struct regex_hit *hit)
{
    for (int len; at < end; at += (size_t)len) {
        uint32_t c;
        len = utf8_decode(text + at, text + end, &c);
        if (is(c)) {
            *hit = (struct regex_hit){at, at + (size_t)len};
            return REGEX_FOUND;
        }
    }
    return REGEX_NONE;
}

/* Runs of word characters and runs of marks: \w+|[^\w\s]+ */
static enum regex_answer match_word(const char *text, size_t at, size_t end, struct regex_hit *hit)
{
    int len, kind = 0;
    for (; at < end; at += (size_t)len) {
        uint32_t c;
        len = utf8_decode(text + at, text + end, &c);
        int now = unicode_is_word(c) ? 1 : unicode_is_space(c) ? 0 : 2;
        if (kind && now != kind)
            break;
        if (now && !kind)
            hit->begin = at;
        kind = now;
    }
    hit->end = at;
    return kind ? REGEX_FOUND : REGEX_NONE;
}

static enum regex_answer stage_match(const struct stage *s, struct regex_run *run, const char *text, size_t begin, size_t at, size_t end,
                                     struct regex_hit *hit)
{
    const char *found, *p = text + at, *stop = text + end;
    switch (s->match) {
    case MATCH_TEXT:
        found = at < end ? memmem(p, end - at, s->pattern, s->pattern_len) : NULL;
        if (!found)
            return REGEX_NONE;
        *hit = (struct regex_hit){(size_t)(found - text), (size_t)(found - text) + s->pattern_len};
        return REGEX_FOUND;
    case MATCH_REGEX:
        return regex_find(s->regex, run, text, begin, at, end, hit);
    case MATCH_NUMERIC:
        return match_chars(unicode_is_numeric, text, at, end, hit);
    case MATCH_SPACE:
        return match_chars(unicode_is_space, text, at, end, hit);
    case MATCH_WORD:
        return match_word(text, at, end, hit);
    case MATCH_GPT2:
    case MATCH_LLAMA3:
    case MATCH_QWEN2:
        if (at == end)
            return REGEX_NONE;
        found = s->match == MATCH_GPT2 ? gpt2_match(p, stop) : llama3_match(p, stop, s->match == MATCH_LLAMA3 ? 3 : 1);
        *hit = (struct regex_hit){at, (size_t)(found - text)};
        return REGEX_FOUND;
    }
    return REGEX_NONE;
}

/* ---- behaviours ---- */

struct fold { /* of the parts that a stage makes: matches, and what is between them */
    struct pretok *p;
    int stage;
    bool open, open_match; /* a part that the next one may still join */
    size_t begin, end;
};

static bool emit(struct fold *f, size_t begin, size_t end)
{
    return begin == end || pretok_run(f->p, f->stage + 1, begin, end);
}

static bool close_part(struct fold *f)
{
    bool open = f->open;
    f->open = false;
    return !open || emit(f, f->begin, f->end);
}

static bool add_part(struct fold *f, size_t begin, size_t end, bool match)
{
    const struct stage *s = &f->p->stages[f->stage];
    match = match != s->invert;
    bool joins = false;
    switch (s->behavior) {
    case SPLIT_REMOVED:
        return match || emit(f, begin, end);
    case SPLIT_ISOLATED:
        return emit(f, begin, end);
    case SPLIT_CONTIGUOUS:
        joins = f->open && match == f->open_match;
        break;
    case SPLIT_WITH_PREVIOUS: /* a match joins what is before it, unless that ends with a match */
        joins = f->open && match && !f->open_match;
        break;
    case SPLIT_WITH_NEXT: /* a match waits for what is behind it, and stays alone before another match */
        joins = f->open && f->open_match && !match;
        break;
    }
    if (!joins) {
        if (!close_part(f))
            return false;
        f->open = true;
        f->begin = begin;
    }
    f->end = end;
    f->open_match = match;
    return true;
}

bool pretok_run(struct pretok *p, int stage, size_t begin, size_t end)
{
    if (stage == p->n_stages) {
        p->word(p->arg, begin, end);
        return true;
    }
    const struct stage *s = &p->stages[stage];
    struct fold f = {.p = p, .stage = stage};
    size_t from = begin, at = begin; /* from: behind the last match */
    bool matched = false;
    struct regex_hit hit;
    enum regex_answer answer;
    while (at <= end && (answer = stage_match(s, &p->run, p->text, begin, at, end, &hit)) != REGEX_NONE) {
        if (answer == REGEX_TOO_LONG)
            return false;
        if (hit.begin == hit.end && matched && hit.end == from) { /* an empty match right behind another is none */
            do
                at++;
            while (at < end && ((unsigned char)p->text[at] & 0xC0) == 0x80);
            continue;
        }
        if (hit.begin > from && !add_part(&f, from, hit.begin, false))
            return false;
        if (!add_part(&f, hit.begin, hit.end, true))
            return false;
        from = at = hit.end;
        matched = true;
    }
    if (from < end && !add_part(&f, from, end, false))
        return false;
    return close_part(&f);
}

/* ---- building ---- */

enum stage_match stage_known(const char *regex, size_t len)
{
    static const struct {
        const char *pattern;
        enum stage_match match;
    } known[] = {{STAGE_PATTERN_GPT2, MATCH_GPT2}, {STAGE_PATTERN_LLAMA3, MATCH_LLAMA3}, {STAGE_PATTERN_QWEN2, MATCH_QWEN2}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strlen(known[i].pattern) == len && memcmp(known[i].pattern, regex, len) == 0)
            return known[i].match;
    return MATCH_REGEX;
}
