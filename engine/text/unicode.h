/* unicode.h - the character data that tokenizers ask for. Pure functions over a generated table (unicode_table.py says of
 * which Unicode versions, and why). */
#ifndef GM_TEXT_UNICODE_H
#define GM_TEXT_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* General categories by number; a mask has a bit for each. */
#define UNICODE_ALL_CATEGORIES ((uint32_t)0x3FFFFFFF)
int unicode_category(uint32_t scalar);
uint32_t unicode_category_mask(const char *name, size_t len); /* "Lu", or "L" for all of them; 0: no such name */

bool unicode_is_letter(uint32_t scalar);      /* \p{L} */
bool unicode_is_number(uint32_t scalar);      /* \p{N} */
bool unicode_is_numeric(uint32_t scalar);     /* what Digits cuts: \p{N} of a newer Unicode */
bool unicode_is_space(uint32_t scalar);       /* White_Space, \s */
bool unicode_is_word(uint32_t scalar);        /* \w */
bool unicode_is_blank(uint32_t scalar);       /* what strip() of Python takes away: White_Space, and U+001C to U+001F */

int unicode_combining_class(uint32_t scalar);
/* One level of the canonical decomposition: 0, 1 or 2 characters. */
int unicode_decompose(uint32_t scalar, uint32_t out[2]);
uint32_t unicode_compose(uint32_t first, uint32_t second); /* 0: these two make none */

#endif
