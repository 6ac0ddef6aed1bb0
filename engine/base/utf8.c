/* utf8.c - reading and writing UTF-8 after Unicode 15, section 3.9, tables 3-7 (well-formed sequences) and 3-8. */
#include "engine/base/str.h"

/* Length of the sequence that `lead` begins, 0 if it can begin none; *low and *high bound the second byte, which is where overlong
 * forms, surrogates and scalars above U+10FFFF show (table 3-7). */
static int lead_length(unsigned char lead, unsigned char *low, unsigned char *high)
{
    *low = 0x80;
    *high = 0xBF;
    if (lead < 0x80)
        return 1;
    if (lead >= 0xC2 && lead <= 0xDF)
        return 2;
    if (lead >= 0xE0 && lead <= 0xEF) {
        if (lead == 0xE0)
            *low = 0xA0;
        if (lead == 0xED)
            *high = 0x9F;
        return 3;
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        if (lead == 0xF0)
            *low = 0x90;
        if (lead == 0xF4)
            *high = 0x8F;
        return 4;
    }
    return 0;
}

/* How many bytes at p, of at most `length`, continue the lead byte validly (the lead itself counts). */
static int valid_part(const unsigned char *p, const unsigned char *end, int length, unsigned char low, unsigned char high)
{
    int i = 1;
    while (i < length && p + i < end && p[i] >= low && p[i] <= high) {
        i++;
        low = 0x80;
        high = 0xBF;
    }
    return i;
}

int utf8_decode(const char *p, const char *end, uint32_t *scalar)
{
    const unsigned char *u = (const unsigned char *)p;
    unsigned char low, high;
    int length = lead_length(u[0], &low, &high);
    *scalar = 0xFFFD;
    if (length == 0)
        return 1;
    if (length == 1) {
        *scalar = u[0];
        return 1;
    }
    int have = valid_part(u, (const unsigned char *)end, length, low, high);
    if (have < length)
        return have;
    uint32_t value = u[0] & (0x7Fu >> length);
    for (int i = 1; i < length; i++)
        value = value << 6 | (u[i] & 0x3Fu);
    *scalar = value;
    return length;
}

int utf8_encode(uint32_t scalar, char out[4])
{
    if (scalar < 0x80) {
        out[0] = (char)scalar;
        return 1;
    }
    int length = scalar < 0x800 ? 2 : scalar < 0x10000 ? 3 : 4;
    for (int i = length - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (scalar & 0x3F));
        scalar >>= 6;
    }
    out[0] = (char)((0xF00u >> length & 0xF0u) | scalar);
    return length;
}

bool utf8_valid(const char *p, size_t n)
{
    const char *end = p + n;
    while (p < end) {
        unsigned char low, high;
        int length = lead_length((unsigned char)*p, &low, &high);
        if (length == 0 || valid_part((const unsigned char *)p, (const unsigned char *)end, length, low, high) < length)
            return false;
        p += length;
    }
    return true;
}

size_t utf8_complete_prefix(const char *p, size_t n)
{
    const unsigned char *u = (const unsigned char *)p;
    /* Only a lead byte within the last three can begin a sequence that is still to be completed. */
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        unsigned char low, high;
        const unsigned char *lead = u + n - back;
        int length = lead_length(*lead, &low, &high);
        if (length == 0)
            continue; /* a continuation byte, or one that is invalid anyway */
        bool all_fit = valid_part(lead, u + n, length, low, high) == (int)back;
        return length > (int)back && all_fit ? n - back : n;
    }
    return n;
}
