/* derive.h - words that the dictionary does not hold but whose parts it does. Inside the verse room
 * only.
 *
 * Inflections and derivations (dapples, unlit, moonlessness), and compounds of two known words
 * (snowmelt), so that the silent e inside "lovelorn" or "homeward" is no syllable. Recursion is
 * bounded: a word loses at most three affixes.
 */
#ifndef GM_VERSE_DERIVE_H
#define GM_VERSE_DERIVE_H

#include "engine/verse/lexicon.h"

/* `w`: n letters a-z. The word itself is not looked up. False: no known parts. */
bool derive_inflection(const struct lexicon *x, const char *w, size_t n, struct reading *r);
bool derive_compound(const struct lexicon *x, const char *w, size_t n, struct reading *r);
/* Does a plural or possessive s after this word make a syllable (roses, church's)? */
bool derive_hisses(const char *w, size_t n);

#endif
