/* fold.c - Unicode text to plain spoken characters, one word at a time. */
#include "engine/verse/fold.h"

#include "engine/base/str.h"

#include <stdint.h>
#include <string.h>

/* Base letters of U+00C0..U+017F and U+1E00..U+1EFF (Unicode decompositions). Digits: 1 2 = AE ae,
 * 3 4 = OE oe, 5 = ss; ? = no letter. */
static const char latin_low[] = "AAAAAA1CEEEEIIIIDNOOOOO?OUUUUYT5aaaaaa2ceeeeiiiidnooooo?ouuuuyty"
                                "AaAaAaCcCcCcCcDdDdEeEeEeEeEeGgGgGgGgHhHhIiIiIiIiIiYyJjKkkLlLlLl?"
                                "?LlNnNnNnnNnOoOoOo34RrRrRrSsSsSsSsTtTtTtUuUuUuUuUuUuWwYyYZzZzZzs";
static const char latin_high[] = "AaBbBbBbCcDdDdDdDdDdEeEeEeEeEeFfGgHhHhHhHhHhIiIiKkKkKkLlLlLlLlMm"
                                 "MmMmNnNnNnNnOoOoOoOoPpPpRrRrRrRrSsSsSsSsSsTtTtTtTtUuUuUuUuUuVvVv"
                                 "WwWwWwWwWwXxXxYyZzZzZzhtwy????5?AaAaAaAaAaAaAaAaAaAaAaAaEeEeEeEe"
                                 "EeEeEeEeIiIiOoOoOoOoOoOoOoOoOoOoOoOoUuUuUuUuUuUuUuYyYyYyYy??????";

enum kind { BREAK, SPACE, SKIP, MARK, TEXT };

/* What one scalar is: its characters go to `out` (at most 3, NUL-terminated). */
struct folding {
    enum kind kind;
    unsigned char mark;
    char out[4];
};

static struct folding text_of(const char *out, unsigned mark)
{
    struct folding f = {.kind = TEXT, .mark = (unsigned char)mark};
    size_t n = strlen(out);
    memcpy(f.out, out, n < 3 ? n : 3);
    return f;
}

static struct folding char_of(char c)
{
    char out[2] = {c, 0};
    return text_of(out, 0);
}

static struct folding latin(char base, uint32_t u)
{
    static const char *const pairs[] = {"AE", "ae", "OE", "oe", "ss"};
    struct folding none = {.kind = BREAK};
    if (base == '?')
        return none;
    if (base >= '1' && base <= '5')
        return text_of(pairs[base - '1'], 0);
    char out[2] = {base, 0};
    bool diaeresis = u == 0xC4 || u == 0xCB || u == 0xCF || u == 0xD6 || u == 0xDC || u == 0xE4 ||
                     u == 0xEB || u == 0xEF || u == 0xF6 || u == 0xFC || u == 0xFF;
    return text_of(out, diaeresis ? FOLD_DIAERESIS : FOLD_ACCENT);
}

/* Letters of other scripts: one syllable a kana (small ones belong to the one before), a Hangul
 * block, an ideograph, a Greek or Cyrillic vowel. Rough, and said to be so: the source of such a
 * word is "rules". */
static struct folding foreign(uint32_t u)
{
    static const char nucleus[] = {FOLD_NUCLEUS, 0}, consonant[] = {FOLD_CONSONANT, 0};
    struct folding none = {.kind = BREAK};
    if ((u >= 0x3041 && u <= 0x3096) || (u >= 0x30A1 && u <= 0x30FA)) {
        uint32_t k = (u - 0x3041) % 0x60; /* small a i u e o, ya yu yo, wa */
        bool small = (k < 10 && k % 2 == 0) || k == 0x42 || k == 0x44 || k == 0x46 || k == 0x4D;
        return text_of(small ? consonant : nucleus, 0);
    }
    if (u == 0x30FC || (u >= 0xAC00 && u <= 0xD7A3) || (u >= 0x3400 && u <= 0x4DBF) ||
        (u >= 0x4E00 && u <= 0x9FFF))
        return text_of(nucleus, 0);
    if (u >= 0x400 && u <= 0x52F) {
        static const uint16_t vowels[] = {0x430, 0x435, 0x451, 0x438, 0x43E, 0x443, 0x44B,
                                          0x44D, 0x44E, 0x44F, 0x456, 0x457, 0x454};
        uint32_t lower = u < 0x410 ? u + 0x50 : u < 0x430 ? u + 0x20 : u;
        for (size_t i = 0; i < sizeof vowels / sizeof *vowels; i++)
            if (vowels[i] == lower)
                return text_of(nucleus, 0);
        return text_of(consonant, 0);
    }
    if ((u >= 0x386 && u <= 0x3CE) || (u >= 0x1F00 && u <= 0x1FFF)) {
        static const uint16_t vowels[] = {0x3B1, 0x3B5, 0x3B7, 0x3B9, 0x3BF, 0x3C5, 0x3C9, 0x3AC,
                                          0x3AD, 0x3AE, 0x3AF, 0x3CC, 0x3CD, 0x3CE, 0x3CA, 0x3CB};
        uint32_t lower = u >= 0x391 && u <= 0x3AB ? u + 0x20 : u;
        for (size_t i = 0; i < sizeof vowels / sizeof *vowels; i++)
            if (vowels[i] == lower)
                return text_of(nucleus, 0);
        bool other = u < 0x391 ||
                     (u >= 0x1F00 && u < 0x1FE4); /* capitals with an accent, polytonic vowels */
        return text_of(other ? nucleus : consonant, 0);
    }
    return none;
}

static struct folding fold_scalar(uint32_t u)
{
    struct folding f = {.kind = BREAK};
    if (u < 0x80) {
        char c = (char)u;
        if (fold_is_letter(c) || fold_is_digit(c) || (c != 0 && strchr("'-.&%+@$=,:", c)))
            return char_of(c);
        f.kind = c == ' ' || (c >= 9 && c <= 13) ? SPACE : BREAK;
        return f;
    }
    if (u >= 0xC0 && u < 0x180)
        return latin(latin_low[u - 0xC0], u);
    if (u >= 0x1E00 && u < 0x1F00)
        return latin(latin_high[u - 0x1E00], u);
    if (u >= 0xFF01 && u <= 0xFF5E)
        return fold_scalar(u - 0xFEE0); /* full width */
    if (u >= 0x300 && u <= 0x36F) {
        f.kind = MARK;
        f.mark = u == 0x308 ? FOLD_DIAERESIS : FOLD_ACCENT;
        return f;
    }
    if (u == 0xAD || (u >= 0x200B && u <= 0x200D) || u == 0x2060 || u == 0xFEFF ||
        (u >= 0xFE00 && u <= 0xFE0F) || u == 0x2BB || u == 0x34F) { /* 02BB: the okina */
        f.kind = SKIP;
        return f;
    }
    if (u == 0x2018 || u == 0x2019 || u == 0x2BC || u == 0x2032 || u == 0x201B || u == 0xB4)
        return char_of('\'');
    if (u == 0x2010 || u == 0x2011)
        return char_of('-');
    if (u == 0xA0 || u == 0x85 || u == 0x1680 || (u >= 0x2000 && u <= 0x200A) || u == 0x2028 ||
        u == 0x2029 || u == 0x202F || u == 0x205F || u == 0x3000) {
        f.kind = SPACE;
        return f;
    }
    if (u >= 0xFB00 && u <= 0xFB06) {
        static const char *const ligatures[] = {"ff", "fi", "fl", "ffi", "ffl", "st", "st"};
        return text_of(ligatures[u - 0xFB00], 0);
    }
    if (u == 0xA3)
        return char_of('#'); /* pounds; a written # is never spoken */
    if (u == 0x20AC)
        return char_of('$');                   /* "euros" has as many syllables as "dollars" */
    if (u == 0xBC || u == 0xBD || u == 0xBE) { /* a quarter, a half, three quarters */
        static const char nuclei[] = {FOLD_NUCLEUS, FOLD_NUCLEUS, FOLD_NUCLEUS, 0};
        return text_of(nuclei + (u == 0xBD ? 2 : u == 0xBC ? 1 : 0), 0);
    }
    return foreign(u);
}

static bool alnum_at(const char *text, size_t n, size_t at)
{
    if (at >= n)
        return false;
    uint32_t u;
    utf8_decode(text + at, text + n, &u);
    struct folding f = fold_scalar(u);
    return f.kind == TEXT &&
           (fold_is_letter(f.out[0]) || fold_is_digit(f.out[0]) || f.out[0] <= FOLD_CONSONANT);
}

/* Does this sign belong to the word, or does it end it? `next` is the byte after it. */
static bool sign_joins(const struct folded *w, char c, const char *text, size_t n, size_t next)
{
    char before = w->n ? w->c[w->n - 1] : ' ';
    bool digit_next = next < n && fold_is_digit(text[next]);
    switch (c) {
    case '-':
        return w->n && before != '-' && alnum_at(text, n, next);
    case '.':
        return (next >= n || text[next] != '.') && before != '.' && (w->n || digit_next);
    case ',':
    case ':':
        return fold_is_digit(before) && digit_next;
    default:
        return true;
    }
}

bool fold_word(const char *text, size_t n, size_t *at, struct folded *w)
{
    w->n = 0;
    w->continues = false;
    while (*at < n) {
        uint32_t u;
        size_t step = (size_t)utf8_decode(text + *at, text + n, &u);
        struct folding f = fold_scalar(u);
        if (f.kind == TEXT && !fold_is_letter(f.out[0]) &&
            !sign_joins(w, f.out[0], text, n, *at + step))
            f.kind = BREAK;
        if (f.kind == SPACE || f.kind == BREAK) {
            if (w->n)
                break;
        } else if (f.kind == MARK && w->n) {
            w->mark[w->n - 1] |= f.mark;
            w->to[w->n - 1] = *at + step;
        } else if (f.kind == TEXT) {
            size_t length = strlen(f.out);
            if (w->n + length > FOLD_MAX) {
                w->continues = true;
                break;
            }
            for (size_t i = 0; i < length; i++) {
                w->c[w->n] = f.out[i];
                w->mark[w->n] = f.mark;
                w->from[w->n] = *at;
                w->to[w->n++] = *at + step;
            }
        }
        *at += step;
    }
    w->c[w->n] = '\0';
    return w->n > 0;
}
