/* unicode.h - the character classes that pre-tokenisers ask for. Pure functions over a generated
 * table (unicode_table.py). */
#ifndef GM_TEXT_UNICODE_H
#define GM_TEXT_UNICODE_H

#include <stdbool.h>
#include <stdint.h>

bool unicode_is_letter(uint32_t scalar); /* \p{L} */
bool unicode_is_number(uint32_t scalar); /* \p{N} */
bool unicode_is_space(uint32_t scalar);  /* White_Space, \s */
bool unicode_is_word(uint32_t scalar);   /* \w */

#endif
