"""Fonts and words of the machine, each split into a training part and a part kept for evaluation."""
import functools
import hashlib
import subprocess

import numpy as np
from PIL import ImageFont

HELD_OUT = ("Inter", "Karla", "Vollkorn", "Courier Prime", "JetBrains Mono", "Lato", "Carlito", "Cantarell", "EB Garamond")
SKIP = (  # symbols, scripts and blackletter that few people could read, small capitals
    "Z003", "D050000L", "Standard Symbols", "Math", "Keyboard", "Monoisome", "Minus", "Aoyagi", "Blankenburg", "Manchu", "Isabella", "Kristi",
    "[F500]", "Symbola", "DSEG", "cwTeX", "Caliban", "Smallcaps", "Caps", "StayPuft", "Pagul", "Conakry", "Rufscript", "Chancery", "Titling",
    "Romande ADF Script", "Breip", "okolaks", "Dancing", "Lobster", "Leckerli", "Oldania", "Spleen", "Atari", "C-64", "Linden", "Cupola",
)
SKIP_STYLE = ("Thin", "Hairline", "ExtraLight", "SmallCaps", "Caps")
EASY = ("DejaVu Sans", "Liberation Sans", "Liberation Serif", "Roboto", "Open Sans", "FreeSerif", "Noto Sans", "DejaVu Serif")
COMMON = EASY + (  # what browsers, receipts and documents are set in
    "Arimo", "Cousine", "Tinos", "Nimbus Sans", "Nimbus Roman", "FreeSans", "FreeMono", "Noto Serif", "Noto Sans Mono", "PT Sans", "PT Serif",
    "PT Mono", "Liberation Mono", "DejaVu Sans Mono", "Liberation Sans Narrow", "Roboto Condensed", "Fira Code", "Hack", "Inconsolata", "Cabin",
    "Clear Sans", "Caladea", "Charis SIL", "OCR B", "TeX Gyre Heros", "TeX Gyre Termes", "M PLUS 1", "Go", "Oxygen-Sans", "B612", "Play", "Sora",
)


@functools.lru_cache(None)
def families(held_out):
    """{family: [(file, is_plain)]} of the installed fonts that cover ASCII."""
    ask = ["fc-list", ":charset=20-7e", "--format", "%{family[0]}|%{style[0]}|%{file}\n"]
    found = {}
    for line in sorted(set(subprocess.run(ask, capture_output=True, text=True, check=True).stdout.split("\n"))):
        if line.count("|") != 2:
            continue
        family, style, path = line.split("|")
        if any(s in family for s in SKIP) or not path.endswith((".ttf", ".otf")) or any(s in style for s in SKIP_STYLE):
            continue
        if family.startswith(HELD_OUT) == held_out:
            found.setdefault(family, []).append((path, style in ("Regular", "Book", "Roman", "Medium", "Normal", "Bold")))
    return found


@functools.lru_cache(None)
def names(held_out, group):
    have = families(held_out)
    return sorted(f for f in have if group is None or f in group)


@functools.lru_cache(None)
def advances(path):
    """Advance widths of the characters 32..126 at size 1."""
    font = ImageFont.truetype(path, 64, layout_engine=ImageFont.Layout.BASIC)
    return np.array([font.getlength(chr(c)) for c in range(32, 127)]) / 64


@functools.lru_cache(3000)
def load(path, size):
    """(font, advance widths in pixels)"""
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC), advances(path) * size


def pick_path(r, held_out=False, easy=False):
    group = None if held_out else EASY if easy else COMMON if r.random() < 0.4 else None
    files = families(held_out)[r.choice(names(held_out, group))]
    plain = [f for f in files if f[1]]
    return r.choice(plain if plain and r.random() < 0.7 else files)[0]


def pick(r, size, held_out=False, easy=False):
    return load(pick_path(r, held_out, easy), size)


@functools.lru_cache(None)
def words(held_out):
    """English words; one stem in ten is kept for evaluation."""
    with open("/usr/share/dict/words", encoding="utf8") as f:
        all_words = [w.strip() for i, w in enumerate(f) if w.isascii() and ("'" not in w or i % 10 == 0)]

    def kept(w):
        return hashlib.md5(w.lower().removesuffix("'s").rstrip("s").encode()).digest()[0] < 26

    return [w for w in all_words if kept(w) == held_out]
