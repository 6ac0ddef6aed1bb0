/* spelling.c - rules of English spelling for words that stand in no dictionary.
 *
 * A word is cut into groups of vowel letters. Each group is one syllable, unless it is silent
 * (final e, -ed, -es, e before -ly and the like), and one more for each place inside it where two
 * vowels are spoken apart (li-on, cre-ate, mu-se-um). */
#include "engine/verse/spelling.h"

#include "engine/verse/fold.h"

#include <stdbool.h>
#include <string.h>

struct word {
    const char *c;
    const unsigned char *mark;
    size_t n;
};

/* Letters beyond the ends read as 0. */
static char at(const struct word *w, size_t i)
{
    return i < w->n ? w->c[i] : '\0';
}
static char before(const struct word *w, size_t i, size_t by)
{
    return i >= by ? w->c[i - by] : '\0';
}

static bool in(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

static bool follows(const struct word *w, size_t i, const char *text)
{
    size_t n = strlen(text);
    return i <= w->n && w->n - i >= n && memcmp(w->c + i, text, n) == 0;
}

static bool ends_here(const struct word *w, size_t i, const char *text)
{
    return follows(w, i, text) && i + strlen(text) == w->n;
}

static bool precedes(const struct word *w, size_t i, const char *text)
{
    size_t n = strlen(text);
    return i >= n && memcmp(w->c + i - n, text, n) == 0;
}

static bool plain_vowel(char c)
{
    return in(c, "aeiou");
}

static bool vowel(const struct word *w, size_t i)
{
    char c = at(w, i);
    if (c == 'u')
        return before(w, i, 1) != 'q' || !plain_vowel(at(w, i + 1));
    if (c != 'y')
        return plain_vowel(c);
    if (!plain_vowel(at(w, i + 1)))
        return true;
    if (i == 0 || plain_vowel(before(w, i, 1)))
        return false; /* yes, beyond */
    if (in(at(w, i + 1), "ei"))
        return true; /* flying, dyer */
    for (size_t k = 0; k < i; k++)
        if (plain_vowel(w->c[k]))
            return false; /* canyon */
    return true;          /* hyacinth */
}

static bool vowel_before(const struct word *w, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (vowel(w, k))
            return true;
    return false;
}

/* i-: letters i and i+1 = "i" and another vowel. */
static bool parts_i(const struct word *w, size_t i)
{
    char b = before(w, i, 1);
    bool soft = in(b, "tcsgx") || (b == 'h' && in(before(w, i, 2), "sc"));
    switch (at(w, i + 1)) {
    case 'a':
        if (follows(w, i, "iate") || follows(w, i, "iati") || follows(w, i, "iato"))
            return true;
        if (ends_here(w, i, "iage") || ends_here(w, i, "iages"))
            return false;
        if (soft)
            return !in(at(w, i + 2), "lnr") && i + 2 != w->n; /* special, musician, Russia */
        return true;
    case 'o':
        if (soft && (at(w, i + 2) == 'n' || at(w, i + 2) == 'u'))
            return false; /* nation, precious */
        if (at(w, i + 2) == 'n' && (precedes(w, i, "ll") || (b == 'n' && vowel_before(w, i - 1))))
            return false; /* million, union */
        return true;
    case 'u':
        return true; /* stadium */
    case 'i':
        return true;
    case 'e':
        if (ends_here(w, i, "ies") || ends_here(w, i, "ied") || ends_here(w, i, "ie"))
            return false;
        if (follows(w, i, "iety") || follows(w, i, "ieti"))
            return true;
        if (ends_here(w, i, "ier") || ends_here(w, i, "iers") || ends_here(w, i, "iest"))
            return vowel_before(w, i);
        if (follows(w, i, "ient") || follows(w, i, "ienc"))
            return !in(b, "tc");
        if (ends_here(w, i, "iel") || ends_here(w, i, "iels"))
            return vowel_before(w, i);
        if (ends_here(w, i, "iet") || ends_here(w, i, "iets"))
            return true; /* quiet, diet */
        return false;
    case 'y':
        return false;
    }
    return false;
}

/* re- before a vowel, told from reach, ready, real, rein by what comes next. */
static bool opens_re(const struct word *w, size_t i)
{
    if (i != 1 || w->c[0] != 'r')
        return false;
    static const char *const heads[] = {"eact", "eadj", "eadm", "eaff", "eall", "eani",
                                        "eapp", "earr", "eass", "eatt", "eawa", "einc",
                                        "einf", "eins", "eint", "einv", "eite"};
    for (size_t k = 0; k < sizeof heads / sizeof *heads; k++)
        if (follows(w, i, heads[k]))
            return true;
    return false;
}

static bool parts_e(const struct word *w, size_t i)
{
    switch (at(w, i + 1)) {
    case 'a':
        if (i + 2 == w->n || ends_here(w, i, "eas"))
            return vowel_before(w, i) && before(w, i, 1) != 'h'; /* idea */
        if (follows(w, i, "eate") || follows(w, i, "eati") || follows(w, i, "eato"))
            return in(before(w, i, 1), "rlmn") && !precedes(w, i, "tr");
        if (ends_here(w, i, "eal") || ends_here(w, i, "eals"))
            return in(before(w, i, 1), "dnr") && vowel_before(w, i) && !precedes(w, i, "pp");
        if (ends_here(w, i, "ean") || ends_here(w, i, "eans"))
            return vowel_before(w, i) && !in(before(w, i, 1), "bc");
        if (follows(w, i, "eality") || follows(w, i, "ealis"))
            return true;
        return opens_re(w, i);
    case 'o':
        if (in(before(w, i, 1), "gh") && in(at(w, i + 2), "nu"))
            return false; /* pigeon, gorgeous, luncheon */
        return !follows(w, i, "eople") && !follows(w, i, "eopar") && !precedes(w, i, "y");
    case 'u':
        return ends_here(w, i, "eum") || ends_here(w, i, "eums") || ends_here(w, i, "eus");
    case 'i':
        return opens_re(w, i) || ends_here(w, i, "eing") || ends_here(w, i, "eings") ||
               follows(w, i, "eity") || follows(w, i, "eist") || follows(w, i, "eism");
    }
    return false;
}

static bool parts_u(const struct word *w, size_t i)
{
    char b = before(w, i, 1);
    switch (at(w, i + 1)) {
    case 'a':
        return b != 'g' && (b != 's' || follows(w, i, "ual"));
    case 'e':
        if (b == 'g')
            return false;
        return ends_here(w, i, "uel") || ends_here(w, i, "uels") || follows(w, i, "uent") ||
               follows(w, i, "uenc") || ends_here(w, i, "uet") || ends_here(w, i, "uer");
    case 'i':
        if (b == 'g')
            return ends_here(w, i, "uity");
        return follows(w, i, "uity") || follows(w, i, "uiti") || ends_here(w, i, "uing") ||
               follows(w, i, "uist") || follows(w, i, "uid") || ends_here(w, i, "uin") ||
               ends_here(w, i, "uins") || ends_here(w, i, "uous");
    case 'o':
        return b != 'b';
    case 'u':
        return true;
    }
    return false;
}

static bool parts_o(const struct word *w, size_t i)
{
    switch (at(w, i + 1)) {
    case 'a':
        return i + 2 == w->n || (i == 0 && at(w, 2) == 's') || follows(w, i, "oacti");
    case 'e':
        return (precedes(w, i, "p") && in(at(w, i + 2), "mt")) ||
               (ends_here(w, i, "oer") && in(before(w, i, 1), "dg"));
    case 'i':
        return ends_here(w, i, "oing") || ends_here(w, i, "oings") || ends_here(w, i, "oic") ||
               follows(w, i, "oism") || follows(w, i, "oist");
    case 'o':
        return follows(w, i, "oolog") && precedes(w, i, "z");
    }
    return false;
}

/* Are the vowels i and i+1 of one group spoken apart? */
static bool parts(const struct word *w, size_t i)
{
    if (w->mark && (w->mark[i + 1] & FOLD_DIAERESIS))
        return true; /* naïve */
    switch (at(w, i)) {
    case 'i':
        return parts_i(w, i);
    case 'e':
        return parts_e(w, i);
    case 'u':
        return parts_u(w, i);
    case 'o':
        return parts_o(w, i);
    case 'y':
        return plain_vowel(at(w, i + 1)); /* flying */
    case 'a':
        return at(w, i + 1) == 'o' || ends_here(w, i, "aic") || ends_here(w, i, "aics") ||
               follows(w, i, "aism");
    }
    return false;
}

/* -le, -re after a stop: the e is not spoken, but a syllable is (table, acre). */
static bool syllabic_end(const struct word *w, size_t e)
{
    char liquid = before(w, e, 1), stop = before(w, e, 2);
    if (liquid == 'l')
        return in(stop, "bcdfgkptz") || (stop == 's' && !precedes(w, e, "isl"));
    return liquid == 'r' && (in(stop, "ct") && before(w, e, 3) != 'r');
}

/* Is the lone e at i (a group of its own) silent? */
static bool silent_e(const struct word *w, size_t i)
{
    if (w->mark && w->mark[i])
        return false; /* café, learnèd */
    if (!vowel_before(w, i))
        return false;
    char b = before(w, i, 1);
    if (i + 1 == w->n)
        return !syllabic_end(w, i);
    if (i + 2 == w->n && at(w, i + 1) == 's')
        return !syllabic_end(w, i) && !in(b, "sxzcgj") && !(b == 'h' && in(before(w, i, 2), "cs"));
    if (i + 2 == w->n && at(w, i + 1) == 'd')
        return !in(b, "td") && !syllabic_end(w, i);
    static const char *const suffixes[] = {"ly",     "ment",     "ments", "ness",  "nesses", "less",
                                           "lessly", "lessness", "ful",   "fully", "some"};
    for (size_t k = 0; k < sizeof suffixes / sizeof *suffixes; k++)
        if (ends_here(w, i + 1, suffixes[k]))
            return !precedes(w, i, "pl");
    return false;
}

int spelling_count(const char *word, const unsigned char *mark, size_t n)
{
    struct word w = {word, mark, n};
    int count = 0;
    for (size_t i = 0; i < n;) {
        if (!vowel(&w, i)) {
            i++;
            continue;
        }
        size_t end = i + 1;
        int here = 1;
        while (end < n && vowel(&w, end)) {
            here += parts(&w, end - 1);
            end++;
        }
        if (end - i == 1 && word[i] == 'e' && silent_e(&w, i))
            here = 0;
        if (end - i == 2 && end == n && precedes(&w, end, "gue") && vowel_before(&w, i))
            here = 0; /* league */
        count += here;
        i = end;
    }
    if (precedes(&w, n, "sm") || precedes(&w, n, "sms") || precedes(&w, n, "thm") ||
        precedes(&w, n, "thms"))
        count++;
    if (n > 3 && follows(&w, 0, "mc"))
        count++;
    if (n > 7 && precedes(&w, n, "ically"))
        count--; /* the a is silent: basically */
    return count > 0 || n == 0 ? count : 1;
}
