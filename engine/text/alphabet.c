/* alphabet.c - byte-level vocabularies spell each byte as one visible character: itself where it is
 * one, else U+0100 and up. */
#include "engine/text/tokenizer_private.h"

static bool stands_for_itself(int byte)
{
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

uint32_t alphabet_char(int byte)
{
    if (stands_for_itself(byte))
        return (uint32_t)byte;
    return 0x100 + (uint32_t)(byte < 127 ? byte : byte == 173 ? 67 : byte - 127 + 33);
}

int alphabet_byte(uint32_t scalar)
{
    if (scalar < 256)
        return stands_for_itself((int)scalar) ? (int)scalar : -1;
    uint32_t place = scalar - 0x100; /* 68 bytes are spelled otherwise: 0..32, 127..160, 173 */
    if (place < 33)
        return (int)place;
    if (place < 67)
        return (int)(place - 33 + 127);
    return place == 67 ? 173 : -1;
}
