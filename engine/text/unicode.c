/* unicode.c - see unicode.h. */
#include "engine/text/unicode.h"

#include "engine/text/unicode_table.h"

#include <string.h>

#define COUNT(table) (sizeof table / sizeof table[0])

int unicode_category(uint32_t c)
{
    size_t low = 0, high = COUNT(unicode_categories); /* the last range that begins at or before c */
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (unicode_categories[middle].first <= c)
            low = middle;
        else
            high = middle;
    }
    return unicode_categories[low].category;
}

uint32_t unicode_category_mask(const char *name, size_t len)
{
    uint32_t mask = 0;
    for (size_t i = 0; i < COUNT(unicode_category_names); i++)
        if ((len == 1 || len == 2) && memcmp(unicode_category_names[i], name, len) == 0)
            mask |= (uint32_t)1 << i;
    return mask;
}

enum { LETTERS = 5, NUMBERS_FROM = 8, NUMBERS_TO = 10 }; /* as unicode_category_names has them: Lu..Lo, Nd..No */

bool unicode_is_letter(uint32_t c)
{
    if (c < 0x80)
        return (c | 0x20) - 'a' < 26;
    return unicode_category(c) < LETTERS;
}

bool unicode_is_number(uint32_t c)
{
    if (c < 0x80)
        return c - '0' < 10;
    int k = unicode_category(c);
    return k >= NUMBERS_FROM && k <= NUMBERS_TO;
}

bool unicode_is_numeric(uint32_t c)
{
    return unicode_is_number(c) || c - 0x11DE0 < 10 || c - 0x16FF4 < 3; /* the numbers that Unicode 17 brought */
}

bool unicode_is_space(uint32_t c)
{
    if (c < 0x80)
        return c == ' ' || c - 9 < 5;
    return c == 0x85 || c == 0xA0 || c == 0x1680 || c - 0x2000 <= 10 || c == 0x2028 ||
           c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool unicode_is_blank(uint32_t c)
{
    return unicode_is_space(c) || (c >= 0x1C && c <= 0x1F);
}

bool unicode_is_word(uint32_t c)
{
    if (c < 0x80)
        return unicode_is_letter(c) || unicode_is_number(c) || c == '_';
    size_t low = 0, high = COUNT(unicode_words);
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c > unicode_words[middle][1])
            low = middle + 1;
        else
            high = middle;
    }
    return low < COUNT(unicode_words) && c >= unicode_words[low][0];
}

/* Hangul syllables are computed: lead * 21 * 28 + vowel * 28 + tail. */
enum { S_BASE = 0xAC00, L_BASE = 0x1100, V_BASE = 0x1161, T_BASE = 0x11A7, L_COUNT = 19, V_COUNT = 21, T_COUNT = 28 };

int unicode_combining_class(uint32_t c)
{
    if (c < unicode_classes[0].low)
        return 0;
    size_t low = 0, high = COUNT(unicode_classes);
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c > unicode_classes[middle].high)
            low = middle + 1;
        else
            high = middle;
    }
    return low < COUNT(unicode_classes) && c >= unicode_classes[low].low ? unicode_classes[low].class : 0;
}

int unicode_decompose(uint32_t c, uint32_t out[2])
{
    if (c < unicode_pairs[0].c)
        return 0;
    if (c - S_BASE < L_COUNT * V_COUNT * T_COUNT) {
        uint32_t s = c - S_BASE;
        bool tail = s % T_COUNT != 0; /* LV + T, or L + V */
        out[0] = tail ? c - s % T_COUNT : L_BASE + s / (V_COUNT * T_COUNT);
        out[1] = tail ? T_BASE + s % T_COUNT : V_BASE + s % (V_COUNT * T_COUNT) / T_COUNT;
        return 2;
    }
    size_t low = 0, high = COUNT(unicode_pairs);
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (unicode_pairs[middle].c < c)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == COUNT(unicode_pairs) || unicode_pairs[low].c != c)
        return 0;
    out[0] = unicode_pairs[low].first;
    out[1] = unicode_pairs[low].second;
    return out[1] ? 2 : 1;
}

uint32_t unicode_compose(uint32_t a, uint32_t b)
{
    if (a - L_BASE < L_COUNT && b - V_BASE < V_COUNT)
        return S_BASE + ((a - L_BASE) * V_COUNT + (b - V_BASE)) * T_COUNT;
    if (a - S_BASE < L_COUNT * V_COUNT * T_COUNT && (a - S_BASE) % T_COUNT == 0 && b - T_BASE - 1 < T_COUNT - 1)
        return a + (b - T_BASE);
    size_t low = 0, high = COUNT(unicode_composed);
    while (low < high) {
        size_t middle = (low + high) / 2;
        uint32_t first = unicode_composed[middle].first;
        if (first < a || (first == a && unicode_composed[middle].second < b))
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < COUNT(unicode_composed) && unicode_composed[low].first == a && unicode_composed[low].second == b;
    return found ? unicode_composed[low].c : 0;
}
