#!/usr/bin/env python3
"""Writes unicode_table.h: general categories, word characters, canonical decompositions. Run it in this folder; nothing runs it in a build.

The reference is Hugging Face's tokenizers 0.23: its patterns know Unicode 16, its Digits know Unicode 17, its normalisers Unicode 9. Characters keep
their decomposition and their class for ever, so the tables of Unicode 9 are those of 16 without what came since: whether a character has one is asked of
the library. Needs the packages tokenizers and unicodedata2 16.
"""
import unicodedata2 as ucd
from tokenizers import normalizers

assert ucd.unidata_version.startswith("16.")
ALL = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
NAMES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co Cn".split()


def category(c):
    return ucd.category(chr(c))


def ranges(test, since=0x80):
    out = []
    for c in range(since, 0x110000):
        if not test(c):
            continue
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def word(c):  # \w: Alphabetic, marks, decimal numbers, connectors, joiners
    circled = 0x24B6 <= c <= 0x24E9 or 0x1F130 <= c <= 0x1F149 or 0x1F150 <= c <= 0x1F169 or 0x1F170 <= c <= 0x1F189
    return category(c)[0] in "LM" or category(c) in ("Nd", "Nl", "Pc") or c in (0x200C, 0x200D) or circled


categories = []
for c in range(0x110000):
    k = NAMES.index(category(c))
    if not categories or categories[-1][1] != k:
        categories.append((c, k))

nfd = normalizers.NFD().normalize_str
classes, pairs, composed = [], [], []
for c in ALL:
    k, x = ucd.combining(chr(c)), chr(c)
    if k and any(nfd("a" + s) != "a" + s and nfd("a" + s) == ucd.normalize("NFD", "a" + s) for s in ("\u0301" + x, x + "\u0327", "\u0345" + x, x + "\u0334")):
        if classes and classes[-1][1] == c - 1 and classes[-1][2] == k:
            classes[-1][1] = c
        else:
            classes.append([c, c, k])
    parts = ucd.decomposition(x)
    if parts and parts[0] != "<" and not 0xAC00 <= c <= 0xD7A3 and nfd(x) != x:
        parts = [int(p, 16) for p in parts.split()] + [0]
        pairs.append((c, parts[0], parts[1]))
        if parts[1] and ucd.normalize("NFC", x) == x:
            composed.append((parts[0], parts[1], c))

with open("unicode_table.h", "w", encoding="ascii") as f:
    def write(head, items):
        f.write(f"\n{head} = {{\n")
        line = "   "
        for item in items:
            item = " {" + ", ".join(f"0x{x:X}" for x in item) + "},"
            if len(line) + len(item) > 158:
                f.write(line + "\n")
                line = "   "
            line += item
        f.write(line + "\n};\n")

    f.write("/* unicode_table.h - made by unicode_table.py: from U+0080 on where it has ranges, both ends inclusive. */\n")
    f.write("#ifndef GM_TEXT_UNICODE_TABLE_H\n#define GM_TEXT_UNICODE_TABLE_H\n\n#include <stdint.h>\n\n")
    f.write('static const char unicode_category_names[][3] = {' + ", ".join(f'"{n}"' for n in NAMES) + "};\n")
    f.write("\n/* The first character, and the category from there on. */")
    write("static const struct {\n    uint32_t first;\n    uint8_t category;\n} unicode_categories[]", categories)
    write("static const uint32_t unicode_words[][2]", ranges(word))
    f.write("\n/* Combining class. */")
    write("static const struct {\n    uint32_t low, high;\n    uint8_t class;\n} unicode_classes[]", classes)
    f.write("\n/* Canonical decomposition, one level; second 0: none. */")
    write("static const struct {\n    uint32_t c, first, second;\n} unicode_pairs[]", pairs)
    write("static const struct {\n    uint32_t first, second, c;\n} unicode_composed[]", sorted(composed))
    f.write("\n#endif\n")
