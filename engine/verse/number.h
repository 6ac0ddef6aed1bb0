/* number.h - figures read aloud: cardinals, years, ordinals, decades, decimals, times, money, Roman
 * numerals. Inside the verse room only.
 *
 * The common American reading is the likely one ("two hundred five"); "and", the long form of a
 * year and the like are alternatives.
 */
#ifndef GM_VERSE_NUMBER_H
#define GM_VERSE_NUMBER_H

#include "engine/verse/reading.h"

/* Does a number begin here (a digit, or $ # . before one)? */
bool number_begins(const char *c, size_t n, size_t at);
/* Reads it with what belongs to it (1,000  3.14  7:30  1st  1990s  $5  5%  10am); returns how many
 * characters that is (> 0). */
size_t number_read(const char *c, size_t n, size_t at, struct reading *r);
/* Capital letters that are a canonical Roman numeral from II up, as in "Henry VIII". */
bool number_roman(const char *c, size_t n, struct reading *r);

#endif
