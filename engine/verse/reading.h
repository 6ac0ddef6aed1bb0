/* reading.h - a set of syllable counts that a piece of text may have, the likely one first. Inside
 * the verse room only.
 *
 * Plain values, no memory. A set keeps at most SYLLABLES_ALTERNATIVES counts: beyond that the
 * likely, the smallest and the largest stay.
 *
 *     struct reading whole = reading_of(0, FROM_NONE);
 *     reading_plus(&whole, &part);      // spoken after one another: every sum of the two sets
 *     reading_or(&whole, &other);       // spoken one way or the other
 */
#ifndef GM_VERSE_READING_H
#define GM_VERSE_READING_H

#include "engine/verse/syllables.h"

#include <stdbool.h>

/* In the order of trust: what is made of parts carries the last of theirs. */
enum source {
    FROM_NONE,
    FROM_OVERLAY,
    FROM_DICTIONARY,
    FROM_NUMBER,
    FROM_LETTERS,
    FROM_INFLECTION,
    FROM_COMPOUND,
    FROM_RULES
};

enum { READING_CAP = 1000000 }; /* sums stop here */

struct reading {
    int n; /* counts in `count`; 1 at least */
    int count[SYLLABLES_ALTERNATIVES];
    enum source source;
};

struct reading reading_of(int count, enum source source);
void reading_plus(struct reading *a, const struct reading *b);
void reading_or(struct reading *a,
                const struct reading *b);        /* a's likely one stays; the source stays */
void reading_shift(struct reading *a, int by);   /* every count moves; none falls below 0 */
void reading_also(struct reading *a, int count); /* one more accepted count */
void reading_bounds(const struct reading *a, int *min, int *max);
const char *source_name(enum source source);

#endif
