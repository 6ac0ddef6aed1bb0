#include "engine/text/unicode.h"

#include "engine/text/unicode_table.h"

#include <stddef.h>

static bool in_table(const uint32_t (*table)[2], size_t n, uint32_t c)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c > table[middle][1])
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && c >= table[low][0];
}

#define IN_TABLE(table, c) in_table(table, sizeof table / sizeof table[0], c)

bool unicode_is_letter(uint32_t c)
{
    if (c < 0x80)
        return (c | 0x20) - 'a' < 26;
    return IN_TABLE(unicode_letters, c);
}

bool unicode_is_number(uint32_t c)
{
    if (c < 0x80)
        return c - '0' < 10;
    return IN_TABLE(unicode_numbers, c);
}

bool unicode_is_space(uint32_t c)
{
    if (c < 0x80)
        return c == ' ' || c - 9 < 5;
    return c == 0x85 || c == 0xA0 || c == 0x1680 || c - 0x2000 <= 10 || c == 0x2028 ||
           c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool unicode_is_word(uint32_t c)
{
    if (c < 0x80)
        return unicode_is_letter(c) || unicode_is_number(c) || c == '_';
    return IN_TABLE(unicode_words, c);
}
