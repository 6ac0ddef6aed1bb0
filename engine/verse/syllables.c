/* syllables.c - a word, a line of text to its counts: cuts folded words into runs of letters,
 * numbers and signs, and adds them up. */
#include "engine/verse/syllables.h"

#include "engine/base/mem.h"
#include "engine/verse/fold.h"
#include "engine/verse/lexicon.h"
#include "engine/verse/number.h"
#include "engine/verse/word.h"

#include <string.h>

static int sign_count(char c)
{
    switch (c) {
    case '&':
    case '+':
    case '@':
        return 1; /* and, plus, at */
    case '%':
    case '=':
        return 2; /* percent, equals */
    default:
        return 0;
    }
}

/* A run of one sign: "C++" is read twice, "====" is a line. */
static size_t read_signs(const struct folded *w, size_t at, struct reading *r)
{
    size_t end = at;
    while (end < w->n && w->c[end] == w->c[at])
        end++;
    int each = end - at <= 2 ? sign_count(w->c[at]) : 0;
    *r = reading_of(each * (int)(end - at), each ? FROM_NUMBER : FROM_NONE);
    return end - at;
}

static size_t read_foreign(const struct folded *w, size_t at, struct reading *r)
{
    size_t end = at;
    int count = 0;
    while (end < w->n && (w->c[end] == FOLD_NUCLEUS || w->c[end] == FOLD_CONSONANT))
        count += w->c[end++] == FOLD_NUCLEUS;
    *r = reading_of(count, FROM_RULES);
    return end - at;
}

static bool letter_at(const struct folded *w, size_t i)
{
    return i < w->n && fold_is_letter(w->c[i]);
}

/* The dot of "example.com", not that of "J.R." or at an end. */
static bool spoken_dot(const struct folded *w, size_t at)
{
    return w->c[at] == '.' && at > 1 && letter_at(w, at - 1) && letter_at(w, at - 2) &&
           letter_at(w, at + 1) && letter_at(w, at + 2);
}

/* A word in its parts. */
static struct reading read_parts(const struct lexicon *x, const struct folded *w, unsigned flags)
{
    struct reading all = reading_of(0, FROM_NONE), part;
    for (size_t at = 0; at < w->n;) {
        char c = w->c[at];
        size_t used = 1;
        if (number_begins(w->c, w->n, at)) {
            used = number_read(w->c, w->n, at, &part);
        } else if (fold_is_letter(c) || (c == '\'' && letter_at(w, at + 1))) {
            size_t end = at + 1;
            while (letter_at(w, end) || (end < w->n && w->c[end] == '\''))
                end++;
            used = end - at;
            part = word_read(x, w->c + at, w->mark + at, used, flags);
        } else if (c == FOLD_NUCLEUS || c == FOLD_CONSONANT) {
            used = read_foreign(w, at, &part);
        } else if (spoken_dot(w, at)) {
            part = reading_of(1, FROM_LETTERS);
        } else
            used = read_signs(w, at, &part);
        reading_plus(&all, &part);
        at += used;
    }
    return all;
}

/* Words with hyphens and dots may stand in the lexicon as a whole (x-ray, a.m.). */
static bool read_whole(const struct lexicon *x, const struct folded *w, struct reading *r)
{
    char low[LEXICON_WORD_MAX + 1];
    if (w->n > LEXICON_WORD_MAX)
        return false;
    bool joint = false;
    for (size_t i = 0; i < w->n; i++) {
        low[i] = fold_lower(w->c[i]);
        joint = joint || w->c[i] == '-' || w->c[i] == '.';
    }
    if (!joint)
        return false;
    if (lexicon_find(x, low, w->n, r)) {
        struct reading bare;
        if (low[w->n - 1] == '.' && lexicon_find(x, low, w->n - 1, &bare))
            reading_or(r, &bare); /* "rep." or the end of a sentence */
        return true;
    }
    return w->c[w->n - 1] == '.' && memchr(low, '.', w->n - 1) && lexicon_find(x, low, w->n - 1, r);
}

static bool spoken(char c)
{
    return fold_is_letter(c) || fold_is_digit(c) || c == FOLD_NUCLEUS || c == FOLD_CONSONANT ||
           sign_count(c) > 0;
}

/* Counts the folded word; false when nothing in it is spoken. The shown word begins and ends at
 * what is spoken. */
static bool count_word(const struct syllables *s, unsigned without, unsigned flags,
                       struct folded *w, struct word_count *count)
{
    char hidden[FOLD_MAX];
    struct lexicon x = {.s = s, .without = without};
    size_t first = 0, last = w->n;
    while (first < w->n && !spoken(w->c[first]))
        first++;
    while (last > first && !spoken(w->c[last - 1]))
        last--;
    if (first == last)
        return false;
    if (without & SYLLABLES_NOT_WHOLE) {
        for (size_t i = first; i < last; i++)
            hidden[i - first] = fold_lower(w->c[i]);
        x.hidden = hidden;
        x.hidden_n = last - first;
    }
    struct reading r;
    if (!read_whole(&x, w, &r))
        r = read_parts(&x, w, flags);
    if (first > 0 && (w->c[first - 1] == '$' || w->c[first - 1] == '#'))
        first--; /* $5 */
    /* An apostrophe that belongs to the word is shown with it: 'tis, walkers'. */
    if (first > 0 && w->c[first - 1] == '\'' && w->c[last < w->n ? last : last - 1] != '\'')
        first--;
    if (last < w->n && w->c[last] == '\'' && (first > 0 ? w->c[first - 1] : w->c[0]) != '\'')
        last++;
    count->start = w->from[first];
    count->length = w->to[last - 1] - w->from[first];
    count->likely = r.count[0];
    count->n_alternatives = r.n;
    memcpy(count->alternatives, r.count, sizeof r.count);
    reading_bounds(&r, &count->min, &count->max);
    count->source = source_name(r.source);
    return true;
}

void syllables_word_without(const struct syllables *s, unsigned without, const char *text, size_t n,
                            struct word_count *count)
{
    struct folded w;
    struct reading all = reading_of(0, FROM_NONE);
    size_t at = 0, start = 0, end = 0;
    bool any = false;
    while (fold_word(text, n, &at, &w)) {
        struct word_count part;
        if (!count_word(s, without, 0, &w, &part))
            continue;
        struct reading r = {.n = part.n_alternatives, .source = FROM_OVERLAY};
        memcpy(r.count, part.alternatives, sizeof r.count);
        for (int k = FROM_NONE; k <= FROM_RULES; k++)
            if (source_name((enum source)k) == part.source)
                r.source = (enum source)k;
        reading_plus(&all, &r);
        if (!any)
            start = part.start;
        end = part.start + part.length;
        any = true;
    }
    count->start = start;
    count->length = end - start;
    count->likely = all.count[0];
    count->n_alternatives = all.n;
    memcpy(count->alternatives, all.count, sizeof all.count);
    reading_bounds(&all, &count->min, &count->max);
    count->source = source_name(all.source);
}

void syllables_word(const struct syllables *s, const char *text, size_t n, struct word_count *count)
{
    syllables_word_without(s, 0, text, n, count);
}

/* A line of two words or more without a lower-case letter is shouted. */
static bool shouting(const char *text, size_t n)
{
    size_t upper = 0;
    bool gap = false, two = false;
    for (size_t i = 0; i < n; i++) {
        if (fold_is_lower(text[i]))
            return false;
        two = two || (gap && upper > 1 && fold_is_upper(text[i]));
        if (fold_is_upper(text[i]))
            upper++;
        if (text[i] == ' ')
            gap = true;
    }
    return two;
}

static int capped(long long sum)
{
    return sum < READING_CAP ? (int)sum : READING_CAP;
}

void syllables_line(const struct syllables *s, const char *text, size_t n, struct line_count *line)
{
    unsigned flags = shouting(text, n) ? WORD_SHOUTING : 0;
    struct folded w;
    size_t at = 0;
    line->n_words = 0;
    line->possible = 1;
    long long likely = 0, min = 0, max = 0;
    while (fold_word(text, n, &at, &w)) {
        if (line->n_words == line->capacity) {
            size_t more = line->capacity ? line->capacity * 2 : 16;
            line->words = mem_grow(line->words, line->capacity, more, sizeof *line->words);
            line->capacity = more;
        }
        struct word_count *word = &line->words[line->n_words];
        if (!count_word(s, 0, flags, &w, word))
            continue;
        line->n_words++;
        bool number = word->source == source_name(FROM_NUMBER);
        flags = number ? flags | WORD_AFTER_NUMBER : flags & ~(unsigned)WORD_AFTER_NUMBER;
        likely += word->likely;
        min += word->min;
        max += word->max;
        uint64_t sums = 0;
        for (int i = 0; i < word->n_alternatives; i++)
            if (word->alternatives[i] < 64)
                sums |= line->possible << word->alternatives[i];
        line->possible = sums;
    }
    line->likely = capped(likely);
    line->min = capped(min);
    line->max = capped(max);
}

void line_count_free(struct line_count *line)
{
    mem_free(line->words);
    line->words = NULL;
    line->n_words = line->capacity = 0;
}
