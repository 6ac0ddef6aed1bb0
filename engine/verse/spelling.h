/* spelling.h - how many syllables a word that nobody knows probably has, from its letters alone.
 * Inside the verse room only.
 *
 * English spelling: groups of vowel letters, less the silent ones, plus the places where two vowels
 * meet and both are spoken. The rules and their exceptions were chosen by their score on the
 * dictionary with the dictionary hidden.
 */
#ifndef GM_VERSE_SPELLING_H
#define GM_VERSE_SPELLING_H

#include <stddef.h>

/* `word`: n lower-case letters (anything else counts as a consonant); `mark` (FOLD_ACCENT,
 * FOLD_DIAERESIS per letter) may be NULL. Any n. */
int spelling_count(const char *word, const unsigned char *mark, size_t n);

#endif
