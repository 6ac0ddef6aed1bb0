/* fold.h - text as it is written -> the plain characters that are spoken, word by word. Inside the
 * verse room only.
 *
 * A folded word holds ASCII letters (case kept), digits, ' - . and the spoken signs & % + @ $ = #
 * (pounds) , : (the last two between digits only), and two codes for letters of other scripts.
 * Accents fall away and leave a mark. Spaces, dashes, quotes, brackets, emoji and broken UTF-8 part
 * words and are not spoken; what is invisible (soft hyphen, joiners, variation selectors) is not
 * there.
 *
 * Memory: plain value, no allocation. A word longer than FOLD_MAX is cut: the rest comes as the
 * next word, `continues` is set.
 *
 *     size_t at = 0;
 *     struct folded w;
 *     while (fold_word(text, n, &at, &w)) count(&w);
 */
#ifndef GM_VERSE_FOLD_H
#define GM_VERSE_FOLD_H

#include <stdbool.h>
#include <stddef.h>

enum { FOLD_MAX = 192 };
enum {
    FOLD_NUCLEUS = 1,
    FOLD_CONSONANT = 2
}; /* a letter of another script that is a syllable / that is none */
enum { FOLD_ACCENT = 1, FOLD_DIAERESIS = 2 }; /* marks */

struct folded {
    char c[FOLD_MAX + 1]; /* NUL-terminated for the debugger's sake; n counts */
    unsigned char mark[FOLD_MAX + 1];
    size_t from[FOLD_MAX + 1],
        to[FOLD_MAX + 1]; /* the bytes of the text that each character stands for */
    size_t n;
    bool continues;
};

bool fold_word(const char *text, size_t n, size_t *at, struct folded *w);

static inline bool fold_is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}
static inline bool fold_is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}
static inline bool fold_is_letter(char c)
{
    return fold_is_lower((char)(c | 0x20));
}
static inline bool fold_is_digit(char c)
{
    return c >= '0' && c <= '9';
}
static inline char fold_lower(char c)
{
    return fold_is_upper(c) ? (char)(c + 32) : c;
}

#endif
