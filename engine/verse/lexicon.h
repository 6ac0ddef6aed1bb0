/* lexicon.h - the words whose counts are known: the overlay and the pronunciation table. Inside the
 * verse room only.
 *
 * The table is the file that engine/builtin/verse/make_counts.py writes (its layout stands there);
 * all of it is checked once at opening, so that looking up never reads outside. The overlay is
 * text: word, tab, counts with commas (the likely one first), and whatever follows.
 *
 * Memory: `struct syllables` owns the parsed overlay, borrows the table. Threads: read-only after
 * opening.
 */
#ifndef GM_VERSE_LEXICON_H
#define GM_VERSE_LEXICON_H

#include "engine/verse/reading.h"

enum { LEXICON_WORD_MAX = 47 }; /* longest word the table may hold, bytes */

struct overlay_word {
    char *word;
    struct reading reading;
};

struct syllables {
    const unsigned char *sets, *blocks, *entries;
    uint32_t n_words, n_blocks, n_sets, entry_bytes;
    struct overlay_word *overlay; /* sorted by word */
    size_t n_overlay;
};

/* What may be looked up while one word is counted. `hidden` is a word the dictionary must not know
 * (to measure the rules). */
struct lexicon {
    const struct syllables *s;
    unsigned without; /* enum syllables_without */
    const char *hidden;
    size_t hidden_n;
};

/* `word` in lower case, as the table spells it (a-z, ', -, .). */
bool lexicon_find(const struct lexicon *x, const char *word, size_t n, struct reading *r);
/* Word number i of the table (0 <= i < n_words) for tests and tools: writes it with a NUL.
 * O(block). */
void lexicon_word(const struct syllables *s, uint32_t i, char word[LEXICON_WORD_MAX + 1],
                  struct reading *r);

#endif
