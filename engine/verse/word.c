/* word.c - a run of letters and apostrophes to its counts. */
#include "engine/verse/word.h"

#include "engine/verse/derive.h"
#include "engine/verse/fold.h"
#include "engine/verse/number.h"
#include "engine/verse/spelling.h"

#include <string.h>

/* A piece of a folded word: the letters as written, in lower case, and their marks. */
struct piece {
    const char *c, *low;
    const unsigned char *mark;
    size_t n;
};

static struct reading read_piece(const struct lexicon *x, struct piece p, unsigned flags,
                                 int depth);

static struct piece cut(struct piece p, size_t from, size_t to)
{
    struct piece part = {p.c + from, p.low + from, p.mark + from, to - from};
    return part;
}

static bool vowel(char c)
{
    return c != '\0' && strchr("aeiouy", c) != NULL;
}

static bool all_upper(struct piece p)
{
    for (size_t i = 0; i < p.n; i++)
        if (!fold_is_upper(p.c[i]))
            return false;
    return true;
}

static bool tail_is(struct piece p, const char *tail)
{
    size_t k = strlen(tail);
    return p.n > k && memcmp(p.low + p.n - k, tail, k) == 0;
}

static struct reading spelled(struct piece p)
{
    int count = 0;
    for (size_t i = 0; i < p.n; i++)
        count += p.low[i] == 'w' ? 3 : 1;
    return reading_of(count, FROM_LETTERS);
}

/* Capitals that are read letter by letter although they are a word in lower case. */
static bool letters_by_habit(struct piece p)
{
    static const char *const words[] = {"us", "uk", "it", "ai", "eu", "ui", "io", "os", "id"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strlen(words[i]) == p.n && memcmp(words[i], p.low, p.n) == 0)
            return true;
    return false;
}

static bool capitals(const struct lexicon *x, struct piece p, struct reading *r)
{
    struct reading word;
    bool known = lexicon_find(x, p.low, p.n, &word);
    bool small = true; /* only I, V, X: certainly a number when it is well-formed */
    for (size_t i = 0; i < p.n; i++)
        small = small && strchr("IVX", p.c[i]);
    if ((small || !known) && number_roman(p.c, p.n, r)) {
        struct reading letters = spelled(p);
        reading_or(r, &letters);
        return true;
    }
    if (known) {
        if (!letters_by_habit(p))
            return false;
        *r = spelled(p);
        reading_or(r, &word);
        return true;
    }
    if (p.n < 2 || p.n > 6)
        return false;
    int vowels = 0;
    for (size_t i = 0; i < p.n; i++)
        vowels += vowel(p.low[i]);
    *r = spelled(p);
    if (vowels == 0)
        return true;
    struct reading said = reading_of(spelling_count(p.low, p.mark, p.n), FROM_LETTERS);
    if (p.n <= 3) {
        reading_or(r, &said);
    } else {
        reading_or(&said, r);
        *r = said;
    }
    return true;
}

/* hmm, brr, pfft, shh: a sound. html, pdf: letters. */
static struct reading without_vowels(struct piece p)
{
    bool sound = p.n == 1 || p.low[p.n - 1] == p.low[p.n - 2];
    static const char *const sounds[] = {"hmph", "mhm", "tsk", "psst", "pst", "pfft", "hm",
                                         "sh",   "th",  "ch",  "ng",   "nth", "sch"};
    for (size_t i = 0; i < sizeof sounds / sizeof *sounds; i++)
        sound = sound || (strlen(sounds[i]) == p.n && memcmp(sounds[i], p.low, p.n) == 0);
    struct reading one = reading_of(1, FROM_RULES), letters = spelled(p);
    if (p.n > 6)
        return one;
    if (sound) {
        reading_or(&one, &letters);
        return one;
    }
    reading_or(&letters, &one);
    return letters;
}

/* sooo, whoooosh: runs of three and more letters fall to two, then to one. */
static bool stretched(const struct lexicon *x, struct piece p, struct reading *r)
{
    char word[LEXICON_WORD_MAX + 1];
    for (size_t keep = 2; keep >= 1; keep--) {
        size_t n = 0, run = 0;
        bool any = false;
        for (size_t i = 0; i < p.n; i++) {
            run = i && p.low[i] == p.low[i - 1] ? run + 1 : 1;
            size_t ahead = i;
            while (ahead + 1 < p.n && p.low[ahead + 1] == p.low[i])
                ahead++;
            bool long_run = ahead - i + run >= 3;
            any = any || long_run;
            if (long_run && run > keep)
                continue;
            if (n == LEXICON_WORD_MAX)
                return false;
            word[n++] = p.low[i];
        }
        if (!any)
            return false;
        if (lexicon_find(x, word, n, r))
            return true;
    }
    return false;
}

/* "learnèd": the accent makes the ending a syllable. */
static bool sounded_ed(const struct lexicon *x, struct piece p, struct reading *r)
{
    if (p.n < 4 || !tail_is(p, "ed") || !p.mark[p.n - 2])
        return false;
    struct reading base;
    if (lexicon_find(x, p.low, p.n - 2, &base) || lexicon_find(x, p.low, p.n - 1, &base) ||
        (p.low[p.n - 3] == p.low[p.n - 4] && lexicon_find(x, p.low, p.n - 3, &base)))
        *r = reading_of(base.count[0] + 1, FROM_INFLECTION);
    else
        *r = reading_of(spelling_count(p.low, p.mark, p.n), FROM_RULES);
    return true;
}

/* A word of letters only. */
static struct reading read_letters(const struct lexicon *x, struct piece p, unsigned flags,
                                   int depth)
{
    struct reading r;
    if ((flags & WORD_AFTER_NUMBER) && p.n == 2 && (p.low[0] == 'a' || p.low[0] == 'p') &&
        p.low[1] == 'm')
        return spelled(p);
    if (p.n == 1 && fold_is_upper(p.c[0]) && p.c[0] != 'A' && p.c[0] != 'I' && p.c[0] != 'O')
        return spelled(p);
    if (!(flags & WORD_SHOUTING) && all_upper(p) && capitals(x, p, &r))
        return r;
    if (p.n >= 3 && p.c[p.n - 1] == 's' && all_upper(cut(p, 0, p.n - 1)) &&
        !lexicon_find(x, p.low, p.n, &r) && capitals(x, cut(p, 0, p.n - 1), &r))
        return r; /* DVDs */
    if (sounded_ed(x, p, &r))
        return r;
    if (lexicon_find(x, p.low, p.n, &r)) {
        /* rosé is not rose: when the known word has just its silent-e count, the accent adds one.
         */
        if (p.low[p.n - 1] == 'e' && p.mark[p.n - 1] &&
            r.count[0] == spelling_count(p.low, NULL, p.n) &&
            spelling_count(p.low, p.mark, p.n) > r.count[0])
            return reading_of(r.count[0] + 1, r.source);
        return r;
    }
    char quoted[LEXICON_WORD_MAX + 2] = "'";
    if (p.n < LEXICON_WORD_MAX) { /* tis, twas without their apostrophe */
        memcpy(quoted + 1, p.low, p.n);
        if (lexicon_find(x, quoted, p.n + 1, &r))
            return r;
    }
    if (stretched(x, p, &r))
        return r;
    bool any_vowel = false;
    for (size_t i = 0; i < p.n; i++)
        any_vowel = any_vowel || vowel(p.low[i]);
    if (!any_vowel)
        return without_vowels(p);
    for (size_t i = 1; i < p.n && depth < 4; i++)
        if (fold_is_upper(p.c[i]) &&
            (fold_is_lower(p.c[i - 1]) ||
             (i + 1 < p.n && fold_is_lower(p.c[i + 1])))) { /* CamelCase, BSide */
            r = read_piece(x, cut(p, 0, i), flags, depth + 1);
            struct reading rest = read_piece(x, cut(p, i, p.n), flags, depth + 1);
            reading_plus(&r, &rest);
            return r;
        }
    bool accented = p.mark[p.n - 1] != 0; /* a final é is part of no English stem */
    char full[LEXICON_WORD_MAX + 1];      /* countin: a dropped g */
    if (tail_is(p, "in") && p.n < LEXICON_WORD_MAX) {
        memcpy(full, p.low, p.n);
        full[p.n] = 'g';
        if (lexicon_find(x, full, p.n + 1, &r)) {
            r.source = FROM_INFLECTION;
            return r;
        }
    }
    if (!accented && derive_inflection(x, p.low, p.n, &r))
        return r;
    if (!accented && derive_compound(x, p.low, p.n, &r))
        return r;
    return reading_of(spelling_count(p.low, p.mark, p.n), FROM_RULES);
}

/* 's 'd 'll 've 're 'm n't 'st at the end of a known or unknown head. */
static bool contraction(const struct lexicon *x, struct piece p, unsigned flags, int depth,
                        struct reading *r)
{
    static const char *const tails[] = {"n't", "'s", "'d",  "'ll", "'ve",
                                        "'re", "'m", "'st", "'rt", "'t"};
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        if (!tail_is(p, tails[i]))
            continue;
        struct piece head = cut(p, 0, p.n - strlen(tails[i]));
        *r = read_piece(x, head, flags, depth + 1);
        if (r->source < FROM_INFLECTION)
            r->source = FROM_INFLECTION;
        char last = head.low[head.n - 1];
        int adds = 0;
        switch (tails[i][1]) {
        case '\'':
            adds = 1;
            break; /* n't */
        case 's':
            adds = tails[i][2] == '\0' && derive_hisses(head.low, head.n);
            break;
        case 'd':
            adds = last == 't' || last == 'd';
            break;
        case 'l':
        case 'v':
        case 'r':
            adds = tails[i][2] != 't' && !vowel(last) && last != 'w';
            break;
        }
        reading_shift(r, adds);
        return true;
    }
    return false;
}

/* wand'ring, o'er, giv'n: a letter left out, and with it a syllable. */
static bool elided(const struct lexicon *x, struct piece p, size_t apostrophe, struct reading *r)
{
    if (p.n > LEXICON_WORD_MAX)
        return false;
    char word[LEXICON_WORD_MAX + 1];
    memcpy(word, p.low, p.n);
    for (const char *letter = "evioau"; *letter; letter++) {
        word[apostrophe] = *letter;
        if (memchr(word, '\'', p.n))
            return false;
        if (!lexicon_find(x, word, p.n, r) && !derive_inflection(x, word, p.n, r))
            continue;
        struct reading full = *r;
        *r = reading_of(full.count[0] > 1 ? full.count[0] - 1 : 1, FROM_INFLECTION);
        for (int i = 1; i < full.n; i++)
            reading_also(r, full.count[i] > 1 ? full.count[i] - 1 : 1);
        return true;
    }
    return false;
}

/* Apostrophes inside: contraction, elision, else the parts one after the other (o'neill, l'amour,
 * th'eternal). */
static struct reading read_apostrophe(const struct lexicon *x, struct piece p, size_t apostrophe,
                                      unsigned flags, int depth)
{
    struct reading r;
    if (contraction(x, p, flags, depth, &r))
        return r;
    if (elided(x, p, apostrophe, &r))
        return r;
    struct piece head = cut(p, 0, apostrophe), tail = cut(p, apostrophe + 1, p.n);
    bool article =
        (head.n == 1 && !vowel(head.low[0])) || (head.n == 2 && memcmp(head.low, "th", 2) == 0);
    r = article ? reading_of(0, FROM_INFLECTION) : read_piece(x, head, flags, depth + 1);
    if (article && head.n == 2)
        reading_also(&r, 1); /* th' */
    struct reading rest = read_piece(x, tail, flags, depth + 1);
    reading_plus(&r, &rest);
    return r;
}

static struct reading read_piece(const struct lexicon *x, struct piece p, unsigned flags, int depth)
{
    struct reading r;
    const char *inside = memchr(p.low, '\'', p.n);
    if (inside && lexicon_find(x, p.low, p.n, &r))
        return r;
    /* Apostrophes at the ends: quotes, walkers', goin'. */
    bool trailing = p.n && p.low[p.n - 1] == '\'', leading = p.n && p.low[0] == '\'';
    if (trailing || leading) {
        if (trailing && leading && p.n > 2 && lexicon_find(x, p.low, p.n - 1, &r))
            return r; /* 'tis' */
        if (trailing && leading && p.n > 2 && lexicon_find(x, p.low + 1, p.n - 1, &r))
            return r;
        while (p.n && p.low[p.n - 1] == '\'')
            p.n--;
        size_t skip = 0;
        while (skip < p.n && p.low[skip] == '\'')
            skip++;
        p = cut(p, skip, p.n);
        if (p.n == 0)
            return reading_of(0, FROM_NONE);
        char full[LEXICON_WORD_MAX + 1];
        if (trailing && tail_is(p, "in") && p.n < LEXICON_WORD_MAX &&
            !memchr(p.low, '\'', p.n)) { /* goin' */
            memcpy(full, p.low, p.n);
            full[p.n] = 'g';
            if (lexicon_find(x, full, p.n + 1, &r) || derive_inflection(x, full, p.n + 1, &r))
                return r;
        }
        if (memchr(p.low, '\'', p.n) && lexicon_find(x, p.low, p.n, &r))
            return r;
    }
    if (p.n == 0)
        return reading_of(0, FROM_NONE);
    inside = memchr(p.low, '\'', p.n);
    if (!inside)
        return read_letters(x, p, flags, depth);
    if (depth >= 4) { /* many apostrophes: piece by piece, without more meaning */
        r = reading_of(0, FROM_RULES);
        for (size_t i = 0; i < p.n;) {
            size_t end = i;
            while (end < p.n && p.low[end] != '\'')
                end++;
            if (end > i) {
                struct reading part =
                    reading_of(spelling_count(p.low + i, p.mark + i, end - i), FROM_RULES);
                reading_plus(&r, &part);
            }
            i = end + 1;
        }
        return r;
    }
    return read_apostrophe(x, p, (size_t)(inside - p.low), flags, depth);
}

struct reading word_read(const struct lexicon *x, const char *c, const unsigned char *mark,
                         size_t n, unsigned flags)
{
    char low[FOLD_MAX + 1];
    if (n > FOLD_MAX)
        n = FOLD_MAX;
    for (size_t i = 0; i < n; i++)
        low[i] = fold_lower(c[i]);
    struct piece p = {c, low, mark, n};
    return read_piece(x, p, flags, 0);
}
