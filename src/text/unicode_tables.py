#!/usr/bin/env python3
"""Writes unicode_tables.cc: character classes as the `tokenizers` package sees them, and Python's special upper-casing.

The classes are measured, not taken from a Unicode release, because the package mixes engines of different releases: its
regular expressions use one, its Digits pre-tokeniser and its added-token matching use others.

    python src/text/unicode_tables.py > src/text/unicode_tables.cc     (needs: pip install tokenizers; clang-format afterwards)
"""
import sys

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers

POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]


def removed_by(pre_tokenizer):
    """Code points that a splitting pre-tokeniser takes out of a text of all code points, one at a time."""
    kept = set()
    for start in range(0, len(POINTS), 4096):
        chunk = POINTS[start:start + 4096]
        for piece, _ in pre_tokenizer.pre_tokenize_str("".join(map(chr, chunk))):
            kept.update(map(ord, piece))
    return [c for c in POINTS if c not in kept]


def by_regex(pattern):
    return removed_by(pre_tokenizers.Split(Regex(pattern), "removed"))


def digits():
    """A text `1c` comes back in one piece exactly when c counts as a digit."""
    split = pre_tokenizers.Digits(individual_digits=False)
    return [c for c in POINTS if len(split.pre_tokenize_str("1" + chr(c))) == 1]


def word():
    """An added token with single_word is not found right after a word character."""
    tokenizer = Tokenizer(models.BPE(vocab={}, merges=[]))
    tokenizer.add_special_tokens([AddedToken("<x>", single_word=True, normalized=False)])
    return [c for c in POINTS if not tokenizer.encode(chr(c) + "<x>").ids]


def strippable():
    """An added token with lstrip swallows the white space before it."""
    tokenizer = Tokenizer(models.BPE(vocab={}, merges=[]))
    tokenizer.add_special_tokens([AddedToken("<x>", lstrip=True, normalized=False)])
    return [c for c in POINTS if tokenizer.encode(chr(c) + "<x>").offsets[0][0] == 0]


def ranges(points):
    out = []
    for c in points:
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def cpp_string(text):
    return '"' + "".join(f"\\u{ord(c):04x}" if ord(c) > 127 else c for c in text) + '"'


def main():
    classes = [("kLetterRanges", r"\p{L} of the package's regular expressions", by_regex(r"\p{L}")),
               ("kNumberRanges", r"\p{N} of the package's regular expressions", by_regex(r"\p{N}")),
               ("kSpaceRanges", r"\s of the package's regular expressions", by_regex(r"\s")),
               ("kDigitRanges", "what the Digits pre-tokeniser splits off", digits()),
               ("kWordRanges", "word characters beside an added token with single_word", word()),
               ("kStripRanges", "white space that lstrip and rstrip swallow", strippable())]
    print(f"""// Written by unicode_tables.py (tokenizers {tokenizers.__version__}, Python {sys.version_info[0]}.{sys.version_info[1]}). Do not edit.
#include "text/unicode_tables.h"

namespace onsight::text::tables {{
""")
    for name, comment, points in classes:
        found = ranges(points)
        print(f"// {comment}: {len(points)} code points.")
        print(f"const CodeRange {name}[] = {{" + ", ".join(f"{{0x{a:x}, 0x{b:x}}}" for a, b in found) + "};")
        print(f"const size_t {name}Count = {len(found)};\n")
    special = [c for c in POINTS if len(chr(c).upper()) > 1 or len(chr(c).title()) > 1]
    print("// Letters whose upper or title case is more than one letter, as Python's str.upper and str.capitalize have them.")
    print("const SpecialCase kSpecialCases[] = {" + ", ".join(
        f"{{0x{c:x}, {cpp_string(chr(c).upper())}, {cpp_string(chr(c).title())}}}" for c in special) + "};")
    print(f"const size_t kSpecialCasesCount = {len(special)};")
    print("\n}  // namespace onsight::text::tables")


if __name__ == "__main__":
    main()
