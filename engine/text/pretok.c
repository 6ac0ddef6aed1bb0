/* pretok.c - cuts a text into the stretches in which merging happens. Each stage cuts what the one
 * before it left. */
#include "engine/text/tokenizer_private.h"
#include "engine/text/unicode.h"

#include <string.h>

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

/* Length of the match of GPT-2's pattern at p: a contraction; or a run of letters, of numbers or of
 * other marks, with one space before it; or white space, which leaves its last character to what
 * follows unless it is the only one. */
static size_t gpt2_match(const char *p, const char *end)
{
    size_t short_form = contraction(p, (size_t)(end - p));
    if (short_form)
        return short_form;
    const char *at = p;
    int len;
    enum class kind = class_at(at, end, &len);
    if (*p == ' ' && p + 1 < end) {
        int next_len;
        enum class next = class_at(p + 1, end, &next_len);
        if (next != CLASS_SPACE) {
            kind = next;
            at = p + 1;
            len = next_len;
        }
    }
    const char *last = at; /* where the last character of the run begins */
    for (;;) {
        last = at;
        at += len;
        if (at >= end || class_at(at, end, &len) != kind)
            break;
    }
    if (kind == CLASS_SPACE && at < end && last > p)
        at = last;
    return (size_t)(at - p);
}

static void split(const struct stage *stages, int n, const char *text, size_t begin, size_t end,
                  pretok_fn word, void *arg)
{
    const struct stage *s = stages;
    size_t from = begin, at = begin;
    while (at < end) {
        const char *hit = memmem(text + at, end - at, s->pattern, s->pattern_len);
        if (!hit)
            break;
        size_t hit_begin = (size_t)(hit - text), hit_end = hit_begin + s->pattern_len;
        if (s->kind == STAGE_SPLIT_ALONE) {
            if (hit_begin > from)
                pretok_run(stages + 1, n - 1, text, from, hit_begin, word, arg);
            pretok_run(stages + 1, n - 1, text, hit_begin, hit_end, word, arg);
        } else {
            pretok_run(stages + 1, n - 1, text, from, hit_end, word, arg);
        }
        from = at = hit_end;
    }
    if (from < end)
        pretok_run(stages + 1, n - 1, text, from, end, word, arg);
}

static void digits(const struct stage *stages, int n, const char *text, size_t begin, size_t end,
                   pretok_fn word, void *arg)
{
    size_t from = begin;
    bool number_before = false;
    for (size_t at = begin; at < end;) {
        uint32_t c;
        int len = utf8_decode(text + at, text + end, &c);
        bool number = unicode_is_number(c);
        bool cut = number != number_before || (number && stages->kind == STAGE_DIGITS_ALONE);
        if (cut && at > from) {
            pretok_run(stages + 1, n - 1, text, from, at, word, arg);
            from = at;
        }
        number_before = number;
        at += (size_t)len;
    }
    if (from < end)
        pretok_run(stages + 1, n - 1, text, from, end, word, arg);
}

void pretok_run(const struct stage *stages, int n_stages, const char *text, size_t begin,
                size_t end, pretok_fn word, void *arg)
{
    if (n_stages == 0) {
        word(arg, begin, end);
        return;
    }
    switch (stages->kind) {
    case STAGE_SPLIT_ALONE:
    case STAGE_SPLIT_WITH_PREVIOUS:
        split(stages, n_stages, text, begin, end, word, arg);
        break;
    case STAGE_DIGITS_ALONE:
    case STAGE_DIGIT_RUNS:
        digits(stages, n_stages, text, begin, end, word, arg);
        break;
    case STAGE_GPT2:
        while (begin < end) {
            size_t len = gpt2_match(text + begin, text + end);
            pretok_run(stages + 1, n_stages - 1, text, begin, begin + len, word, arg);
            begin += len;
        }
        break;
    }
}
