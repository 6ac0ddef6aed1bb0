/* word.h - one run of letters and apostrophes, as it stands in a text, to its counts. Inside the
 * verse room only.
 *
 * Order: the lexicon, capitals that are spelled out or Roman, contractions and poets' apostrophes,
 * stretched words, inflections, compounds, spelling. Any length; nothing is allocated.
 */
#ifndef GM_VERSE_WORD_H
#define GM_VERSE_WORD_H

#include "engine/verse/lexicon.h"

enum {
    WORD_SHOUTING = 1,    /* the whole line is in capitals: they mean nothing */
    WORD_AFTER_NUMBER = 2 /* "10 am" */
};

/* `c`: n letters (case as written) and apostrophes, at most FOLD_MAX; `mark` as in fold.h. At least
 * one letter. */
struct reading word_read(const struct lexicon *x, const char *c, const unsigned char *mark,
                         size_t n, unsigned flags);

#endif
