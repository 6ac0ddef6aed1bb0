#!/usr/bin/env python3
"""Writes unicode_table.h: ranges of letters, numbers and word characters for pre-tokenising. Run it in this folder; nothing runs it in a build.

Takes the newest character data at hand: the package unicodedata2 where installed, else Python's own.
"""
try:
    import unicodedata2 as ucd
except ImportError:
    import unicodedata as ucd


def ranges(test):
    out = []
    for c in range(0x80, 0x110000):  # ASCII is decided by code
        if not test(c):
            continue
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def category(c):
    return ucd.category(chr(c))


def word(c):  # \w: Alphabetic, marks, decimal numbers, connectors, joiners
    circled = 0x24B6 <= c <= 0x24E9 or 0x1F130 <= c <= 0x1F149 or 0x1F150 <= c <= 0x1F169 or 0x1F170 <= c <= 0x1F189
    return category(c)[0] in "LM" or category(c) in ("Nd", "Nl", "Pc") or c in (0x200C, 0x200D) or circled


tables = dict(letters=ranges(lambda c: category(c)[0] == "L"), numbers=ranges(lambda c: category(c)[0] == "N"), words=ranges(word))
with open("unicode_table.h", "w", encoding="ascii") as f:
    f.write(f"/* unicode_table.h - made by unicode_table.py from Unicode {ucd.unidata_version}: ranges from U+0080 on, both ends inclusive. */\n")
    f.write("#ifndef GM_TEXT_UNICODE_TABLE_H\n#define GM_TEXT_UNICODE_TABLE_H\n\n#include <stdint.h>\n")
    for name, table in tables.items():
        f.write(f"\nstatic const uint32_t unicode_{name}[][2] = {{\n")
        line = "   "
        for a, b in table:
            item = f" {{0x{a:X}, 0x{b:X}}},"
            if len(line) + len(item) > 118:
                f.write(line + "\n")
                line = "   "
            line += item
        f.write(line + "\n};\n")
    f.write("\n#endif\n")
