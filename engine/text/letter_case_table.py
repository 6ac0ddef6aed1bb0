#!/usr/bin/env python3
"""Writes letter_case_table.h: what str.upper() and the like make of a character, by this Python's Unicode. Run it in this folder; nothing runs it
in a build."""
import unicodedata

CHARACTERS = [c for c in range(0x80, 0x110000) if not 0xD800 <= c < 0xE000]  # ASCII is decided by code


def ranges(test):
    out = []
    for c in CHARACTERS:
        if not test(chr(c)):
            continue
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def runs(change, characters):
    """[first, last, step, distance] of characters that become one character: another one, or what str.upper() does not make of them."""
    out = []
    for c in characters:
        to = change(chr(c))
        if len(to) != 1 or (ord(to) == c and characters is CHARACTERS):
            continue
        by = ord(to) - c
        if out and out[-1][3] == by and (c - out[-1][1] == out[-1][2] or (out[-1][0] == out[-1][1] and c - out[-1][1] <= 2)):
            out[-1][2] = c - out[-1][1]
            out[-1][1] = c
        else:
            out.append([c, c, 1, by])
    return out


def longer(change, characters):
    return [[c] + [ord(x) for x in (change(chr(c)) + "\0\0")[:3]] for c in characters if len(change(chr(c))) > 1]


tables = []
for name, change in dict(upper=str.upper, lower=str.lower, title=str.title).items():
    characters = [c for c in CHARACTERS if chr(c).title() != chr(c).upper()] if name == "title" else CHARACTERS
    tables.append(("int32_t", f"{name}_runs", 4, runs(change, characters)))
    tables.append(("uint32_t", f"{name}_longer", 4, longer(change, characters)))
tables.append(("uint32_t", "lower_case", 2, ranges(str.islower)))
tables.append(("uint32_t", "cased", 2, ranges(lambda x: x.islower() or x.isupper() or x.istitle())))
with open("letter_case_table.h", "w", encoding="ascii") as f:
    f.write(f"/* letter_case_table.h - made by letter_case_table.py from Unicode {unicodedata.unidata_version}: {{first, last, step, distance}} where one\n"
            " * character becomes one, {character, up to three} where it becomes more, from U+0080 on; title: where it is not upper. */\n"
            "#ifndef GM_TEXT_LETTER_CASE_TABLE_H\n#define GM_TEXT_LETTER_CASE_TABLE_H\n\n#include <stdint.h>\n")
    for kind, name, width, rows in tables:
        f.write(f"\nstatic const {kind} letter_{name}[][{width}] = {{\n")
        line = "   "
        for row in rows:
            item = " {" + ", ".join(f"0x{v:X}" if v >= 0 else str(v) for v in row) + "},"
            if len(line) + len(item) > 118:
                f.write(line + "\n")
                line = "   "
            line += item
        f.write(line + "\n};\n")
    f.write("\n#endif\n")
