/* letter_case.h - upper, lower and title case of characters, as Python's str has them: what chat
 * templates ask for. Pure functions over a generated table (letter_case_table.py). */
#ifndef GM_TEXT_LETTER_CASE_H
#define GM_TEXT_LETTER_CASE_H

#include <stdbool.h>
#include <stdint.h>

bool letter_is_lower(uint32_t scalar); /* str.islower() */
bool letter_is_cased(uint32_t scalar); /* lower, upper or title */
/* One to three characters to `out`; returns how many. What stands around a character (a sigma at
 * the end of a word) is not looked at. */
int letter_upper(uint32_t scalar, uint32_t out[3]);
int letter_lower(uint32_t scalar, uint32_t out[3]);
int letter_title(uint32_t scalar, uint32_t out[3]);

#endif
