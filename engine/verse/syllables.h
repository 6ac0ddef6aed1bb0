/* syllables.h - how many syllables a word, a line has: every count that an accepted pronunciation
 * gives, the likely one first.
 *
 * Sources, in this order: the overlay (words that the dictionary gets wrong or knows too few
 * readings of), the dictionary (counts of CMUdict), then what can be worked out: numbers and signs
 * read aloud, letters spelled, contractions and possessives, inflections and compounds of known
 * words, and for the rest rules of spelling. Text is read as a person would read it: curly quotes,
 * accents, dashes, emoji and markup marks are no obstacle and count nothing by themselves.
 *
 * Memory: the table stands in the program image; `struct syllables` is small. Counting a word
 * allocates nothing; a line_count owns its array. Threads: any number may count with one table at a
 * time. Text is untrusted: any bytes, any length.
 *
 *     struct syllables *s = syllables_open(&err);
 *     struct line_count line = {0};
 *     syllables_line(s, "The old fire still burns", 24, &line);     // line.likely 5, min 5, max 6
 *     line_count_free(&line);
 *     syllables_free(s);
 */
#ifndef GM_VERSE_SYLLABLES_H
#define GM_VERSE_SYLLABLES_H

#include "engine/base/error.h"

#include <stdint.h>

struct syllables;

enum { SYLLABLES_ALTERNATIVES = 8 };

struct word_count {
    size_t start, length; /* bytes of the word in the text that was asked about, quotes and commas
                             around it left out */
    int likely, min, max;
    int alternatives[SYLLABLES_ALTERNATIVES]; /* all accepted counts, likely first; n_alternatives
                                                 >= 1 */
    int n_alternatives;
    /* "overlay", "dictionary", "number", "letters", "inflection", "compound", "rules"; "none" where
     * nothing is spoken. A static string. A word of several parts (e.g. "sun-warmed") carries its
     * weakest part's source. */
    const char *source;
};

/* One word without spaces. What is nothing but signs (or empty) has count 0 and source "none". */
void syllables_word(const struct syllables *s, const char *text, size_t n,
                    struct word_count *count);

struct line_count {
    int likely, min, max; /* sums over the words; capped at 1,000,000 */
    uint64_t possible;    /* bit c set: some choice of readings gives c syllables (c < 64) */
    struct word_count *words;
    size_t n_words,
        capacity; /* words with at least one letter, digit or spoken sign; room in the array */
};

/* One line (a line break inside counts as a space). `line` starts as {0} or as it was left by an
 * earlier call: its array is used again. */
void syllables_line(const struct syllables *s, const char *text, size_t n, struct line_count *line);
void line_count_free(struct line_count *line);

struct syllables *syllables_open(struct gm_error *err); /* from the built-in table */
/* From other bytes (tests, a newer table); the bytes must outlive the result. `overlay` may be
 * NULL. Checks all of the table. */
struct syllables *syllables_open_bytes(const unsigned char *table, size_t n, const char *overlay,
                                       size_t n_overlay, struct gm_error *err);
void syllables_free(struct syllables *s);

/* Counts with part of the knowledge hidden, to measure the rest. */
enum syllables_without {
    SYLLABLES_NOT_WHOLE = 1, /* the dictionary does not know this very word; others it may know */
    SYLLABLES_RULES_ONLY = 2 /* no dictionary, no overlay */
};
void syllables_word_without(const struct syllables *s, unsigned without, const char *text, size_t n,
                            struct word_count *count);

#endif
