/* derive.c - inflections, affixes and compounds of known words. */
#include "engine/verse/derive.h"

#include "engine/verse/spelling.h"

#include <string.h>

enum { DEPTH_MAX = 3, STEM_MIN = 3, WORD_MAX = LEXICON_WORD_MAX };

static bool vowel(char c)
{
    return c != '\0' && strchr("aeiouy", c) != NULL;
}
static bool ends(const char *w, size_t n, const char *tail)
{
    size_t k = strlen(tail);
    return n >= k && memcmp(w + n - k, tail, k) == 0;
}

bool derive_hisses(const char *w, size_t n)
{
    if (ends(w, n, "ache"))
        return false; /* headaches */
    static const char *const tails[] = {"s",  "x",  "z",  "ch",  "sh",  "ce",
                                        "se", "ze", "ge", "che", "she", "xe"};
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++)
        if (ends(w, n, tails[i]))
            return true;
    return false;
}

/* ...tabl, ...twinkl: the l is a syllable until a vowel follows. */
static bool syllabic_l(const char *w, size_t n)
{
    return n > 2 && w[n - 1] == 'l' && strchr("bcdfgkpstz", w[n - 2]);
}

static bool derived(const struct lexicon *x, const char *w, size_t n, int depth, struct reading *r);

/* The stem w[0..n) + tail, as it stands in the dictionary or derived itself. */
static bool stem(const struct lexicon *x, const char *w, size_t n, const char *tail, int depth,
                 struct reading *r)
{
    char word[WORD_MAX + 1];
    size_t k = strlen(tail);
    if (n + k < STEM_MIN || n + k > WORD_MAX)
        return false;
    memcpy(word, w, n);
    memcpy(word + n, tail, k);
    word[n + k] = '\0';
    if (lexicon_find(x, word, n + k, r))
        return true;
    return depth > 0 && derived(x, word, n + k, depth - 1, r);
}

/* The stem before a suffix that begins with a vowel: as it is, with its e, or with one of its
 * doubled consonants (hope, hop). */
static bool stem_before_vowel(const struct lexicon *x, const char *w, size_t n, int depth,
                              struct reading *r, bool *with_e)
{
    *with_e = false;
    bool doubled = n > STEM_MIN && w[n - 1] == w[n - 2] && !vowel(w[n - 1]);
    if (doubled && stem(x, w, n - 1, "", 0, r))
        return true;
    bool two =
        n > 1 && !vowel(w[n - 1]) && !vowel(w[n - 2]) && w[n - 1] != 'l'; /* attach, not attache */
    if (two && stem(x, w, n, "", 0, r))
        return true;
    if (n && stem(x, w, n, "e", 0, r) && !(vowel(w[n - 1]) && w[n - 1] != 'u'))
        return *with_e = true;
    if (stem(x, w, n, "", 0, r))
        return true;
    if (n > STEM_MIN && w[n - 1] == 'k' && w[n - 2] == 'c' && stem(x, w, n - 1, "", 0, r))
        return true; /* panicked */
    if (depth > 0 && (stem(x, w, n, "", depth, r) || (*with_e = stem(x, w, n, "e", depth, r))))
        return true;
    return false;
}

/* wander + ing is also said with two syllables, twinkle + ing too: the fuller one is the likely
 * one. */
static void add_ing(const char *w, size_t n, bool with_e, struct reading *r)
{
    bool weak = ends(w, n, "er") || ends(w, n, "en") || ends(w, n, "el") || ends(w, n, "or") ||
                (with_e && syllabic_l(w, n));
    bool several = r->count[0] > 1;
    reading_shift(r, 1);
    if (weak && several)
        reading_also(r, r->count[0] - 1);
}

static bool plural(const struct lexicon *x, const char *w, size_t n, int depth, struct reading *r)
{
    if (ends(w, n, "ss") || ends(w, n, "us"))
        return false;
    if (stem(x, w, n - 1, "", depth, r)) {
        reading_shift(r, derive_hisses(w, n - 1));
        return true;
    }
    if (ends(w, n, "ies") && stem(x, w, n - 3, "y", depth, r))
        return true;
    if (ends(w, n, "ves") && (stem(x, w, n - 3, "f", 0, r) || stem(x, w, n - 3, "fe", 0, r)))
        return true;
    if (ends(w, n, "es") && stem(x, w, n - 2, "", depth, r)) {
        reading_shift(r, derive_hisses(w, n - 2));
        return true;
    }
    return false;
}

static bool past(const struct lexicon *x, const char *w, size_t n, int depth, struct reading *r)
{
    bool with_e;
    if (ends(w, n, "ied") && stem(x, w, n - 3, "y", depth, r))
        return true;
    if (!stem_before_vowel(x, w, n - 2, depth, r, &with_e))
        return false;
    reading_shift(r, w[n - 3] == 't' || w[n - 3] == 'd');
    return true;
}

static bool ing(const struct lexicon *x, const char *w, size_t n, int depth, struct reading *r)
{
    bool with_e;
    if (ends(w, n, "ying") && stem(x, w, n - 4, "ie", 0, r)) {
        reading_shift(r, 1);
        return true;
    }
    if (!stem_before_vowel(x, w, n - 3, depth, r, &with_e))
        return false;
    add_ing(w, n - 3, with_e, r);
    return true;
}

static bool adverb(const struct lexicon *x, const char *w, size_t n, int depth, struct reading *r)
{
    if (ends(w, n, "ically") && stem(x, w, n - 4, "", depth, r)) {
        reading_shift(r, 1);
        return true;
    }
    if (ends(w, n, "ily") && stem(x, w, n - 3, "y", depth, r)) {
        reading_shift(r, 1);
        return true;
    }
    if (n > 4 && !vowel(w[n - 3]) && stem(x, w, n - 1, "e", depth, r))
        return true; /* gentle, gently */
    if (!stem(x, w, n - 2, "", depth, r) && !(ends(w, n, "lly") && stem(x, w, n - 1, "", depth, r)))
        return false;
    reading_shift(r, 1);
    return true;
}

struct suffix {
    const char *text;
    int adds;
    bool before_vowel; /* the stem may have lost its e or doubled its consonant */
};

static bool suffixed(const struct lexicon *x, const char *w, size_t n, int depth, struct reading *r)
{
    static const struct suffix suffixes[] = {
        {"lessness", 2, false}, {"fulness", 2, false}, {"fully", 2, false}, {"lessly", 2, false},
        {"ness", 1, false},     {"less", 1, false},    {"ful", 1, false},   {"ment", 1, false},
        {"ship", 1, false},     {"hood", 1, false},    {"wards", 1, false}, {"ward", 1, false},
        {"some", 1, false},     {"like", 1, false},    {"dom", 1, false},   {"fold", 1, false},
        {"wise", 1, false},     {"able", 2, true},     {"ably", 2, true},   {"ish", 1, true},
        {"ism", 2, true},       {"ist", 1, true},      {"ize", 1, true},    {"ise", 1, true},
        {"est", 1, true},       {"eth", 1, true},      {"er", 1, true},     {"or", 1, true},
        {"en", 1, true},        {"y", 1, true}};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        const struct suffix *f = &suffixes[i];
        size_t k = strlen(f->text);
        if (n < k + STEM_MIN || !ends(w, n, f->text))
            continue;
        size_t left = n - k;
        bool with_e = false;
        if (f->text[0] == 'y' && vowel(w[left - 1]))
            continue; /* decoy, valley */
        if (f->text[0] == 'o' && w[left - 1] != 't')
            continue; /* -or: actor, creator */
        if (w[left - 1] == 'i' && left > 2 &&
            stem(x, w, left - 1, "y", depth, r)) { /* happiness, happiest */
            reading_shift(r, f->adds);
            return true;
        }
        if (f->before_vowel ? !stem_before_vowel(x, w, left, depth, r, &with_e)
                            : !stem(x, w, left, "", depth, r))
            continue;
        /* twinkle + y, + er: the l takes the new vowel, the count stays. */
        bool liquid = with_e && syllabic_l(w, left);
        reading_shift(r, f->adds - liquid);
        if (liquid)
            reading_also(r, r->count[0] + 1);
        return true;
    }
    return false;
}

static bool prefixed(const struct lexicon *x, const char *w, size_t n, int depth, struct reading *r)
{
    static const struct {
        const char *text;
        int adds;
    } prefixes[] = {{"counter", 2}, {"under", 2}, {"super", 2}, {"inter", 2}, {"micro", 2},
                    {"hyper", 2},   {"extra", 2}, {"ultra", 2}, {"photo", 2}, {"multi", 2},
                    {"over", 2},    {"anti", 2},  {"semi", 2},  {"mega", 2},  {"auto", 2},
                    {"tele", 2},    {"fore", 1},  {"dis", 1},   {"mis", 1},   {"non", 1},
                    {"sub", 1},     {"out", 1},   {"pre", 1},   {"up", 1},    {"un", 1},
                    {"re", 1},      {"de", 1},    {"be", 1},    {"en", 1},    {"em", 1},
                    {"in", 1},      {"im", 1}};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        size_t k = strlen(prefixes[i].text);
        if (n < k + 4 || memcmp(w, prefixes[i].text, k) != 0)
            continue;
        if (w[k] == 'e' && w[k - 1] == 'e')
            continue; /* reed, been */
        if (!stem(x, w + k, n - k, "", k > 2 ? depth : 0, r))
            continue;
        reading_shift(r, prefixes[i].adds);
        return true;
    }
    return false;
}

static bool derived(const struct lexicon *x, const char *w, size_t n, int depth, struct reading *r)
{
    bool done = false;
    if (n < STEM_MIN + 1)
        return false;
    if (w[n - 1] == 's')
        done = plural(x, w, n, depth, r);
    if (!done && ends(w, n, "ed"))
        done = past(x, w, n, depth, r);
    if (!done && ends(w, n, "ing"))
        done = ing(x, w, n, depth, r);
    if (!done && ends(w, n, "ly"))
        done = adverb(x, w, n, depth, r);
    if (!done)
        done = suffixed(x, w, n, depth, r);
    if (!done)
        done = prefixed(x, w, n, depth, r);
    if (done)
        r->source = FROM_INFLECTION;
    return done;
}

bool derive_inflection(const struct lexicon *x, const char *w, size_t n, struct reading *r)
{
    return n <= WORD_MAX && derived(x, w, n, DEPTH_MAX - 1, r);
}

/* Two words that merely meet inside another one (condit-ion, citr-ic) add syllables that the
 * spelling does not have. */
static bool plausible(const char *w, size_t n, size_t cut, const struct reading *r)
{
    int by_spelling = spelling_count(w, NULL, n);
    if (r->count[0] > by_spelling)
        return (vowel(w[cut - 1]) && vowel(w[cut])) ||
               (ends(w, n, "ed") && n - cut <= 4); /* seaeagle, hotbed */
    return r->count[0] == by_spelling || w[cut - 1] == 'e' || w[n - 1] == 'e' || w[n - 1] == 's' ||
           w[n - 1] == 'd';
}

bool derive_compound(const struct lexicon *x, const char *w, size_t n, struct reading *r)
{
    if (n < 6 || n > WORD_MAX)
        return false;
    /* The most even cut is the most trustworthy: short parts are found in any word. */
    for (size_t short_part = n / 2; short_part >= 3; short_part--)
        for (int side = 0; side < 2; side++) {
            size_t cut = side ? n - short_part : short_part;
            struct reading tail;
            if (!lexicon_find(x, w, cut, r))
                continue;
            if (!lexicon_find(x, w + cut, n - cut, &tail) &&
                !derived(x, w + cut, n - cut, 0, &tail))
                continue;
            reading_plus(r, &tail);
            if (!plausible(w, n, cut, r))
                continue;
            r->source = FROM_COMPOUND;
            return true;
        }
    return false;
}
