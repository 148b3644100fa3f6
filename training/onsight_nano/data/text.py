"""Printed text: square tiles as the prototype drew them, crops of any shape, receipts, displays, and pages for the dense stage."""
import math

import numpy as np
from PIL import Image, ImageDraw

from ..config import TILE
from ..preprocess import tile
from . import fonts, prompts, strings
from .degrade import degrade
from .labels import Labels, sample

UNITS = 256  # the square pictures are drawn on a canvas of 256 units


def rand_col(r, dark):
    if r.random() < 0.5:
        c = [r.randint(0, 70)] * 3
    else:
        c = [r.randint(0, 110) for _ in range(3)]
        c[r.randrange(3)] = r.randint(0, 60)
    return tuple(c) if dark else tuple(255 - x for x in c)


def fg_bg(r, flip=0.35):
    d = r.random() > flip
    return rand_col(r, d), rand_col(r, not d)


def render(lines, size, bg, angle=0.0, draw=True, clutter=None):
    """lines: (string, x, y, (font, advances), font size, colour) in pixels of a canvas of `size`.
    Returns the picture (None without draw), its labels, and where each byte of the lines joined by newlines stands: a list of one point."""
    w, h = size
    labels, at = Labels(), []
    im = Image.new("RGB", size, bg) if draw else None
    pen = ImageDraw.Draw(im) if draw else None
    if draw and clutter:
        clutter(pen)
    ca, sa = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    for n, (s, x, y, (font, adv), fs, fill) in enumerate(lines):
        codes = np.frombuffer(s.encode(), np.uint8)
        widths = adv[codes - 32]
        if draw:
            full = font.getlength(s)
            pen.text((x, y), s, font=font, fill=fill)
            widths = widths * (full / max(1.0, widths.sum()))
        xs, yc = x + np.concatenate([[0.0], np.cumsum(widths)]), y + fs * 0.62
        if n:
            at.append(None)
        for ch, x0, x1 in zip(codes, xs[:-1], xs[1:]):
            dx, dy = (x0 + x1) / 2 - w / 2, yc - h / 2
            cx, cy = (w / 2 + ca * dx + sa * dy) / w, (h / 2 - sa * dx + ca * dy) / h
            labels.character(int(ch) - 31, cx, cy, (x1 - x0) / 2 / w, fs * 0.5 / h)
            at.append([(min(0.999, max(0.0, cx)), min(0.999, max(0.0, cy)))])
    if draw and angle:
        im = im.rotate(angle, Image.Resampling.BILINEAR, fillcolor=bg)
    return im, labels, at


def reading(r, labels, im, text, at, kind, questions=prompts.READ, held_out=False):
    """A sample that asks to read (or, now and then, to describe) the text."""
    image = None if im is None else np.asarray(im)
    if not held_out and r.random() < 0.12:
        return sample(labels, image, prompts.ask(r, prompts.DESCRIPTION), "Text: " + text, kind, [None] * 6 + at)
    question = prompts.READ[0] if held_out or r.random() < 0.2 else prompts.ask(r, questions)
    return sample(labels, image, question, text, kind, at)


def square(r, nlines, held_out=False, page=False, lo=13, hi=44, plain=False, easy=False, draw=True):
    """The prototype's distribution: nlines lines of one font anywhere on a square tile; with page the tile is filled with lines in
    several fonts. plain: no distortion; easy: also few fonts, dark on light. held_out: fonts and words kept for evaluation."""
    plain = plain or easy
    k = 1.0 if plain or r.random() < 0.6 else r.uniform(0.45, 1.6)  # canvas pixels a unit
    stretch = 1.0 if plain else math.exp(r.uniform(-0.25, 0.25)) if r.random() < 0.85 else r.uniform(1.3, 2.2)
    w, h = round(UNITS * k), round(UNITS * k / stretch)
    fg, bg = fg_bg(r, 0.0 if easy else 0.35)
    clutter = None
    if not page and not plain and r.random() < 0.15:  # a box, rule or band
        x0, y0, dx, dy = r.randrange(w), r.randrange(h), r.randint(10, w), r.randint(1, 40)

        def clutter(pen):
            pen.rectangle((x0, y0, x0 + dx, y0 + dy), outline=fg, width=1)

    def size():
        top = 80 if (page or nlines == 1) and r.random() < 0.15 else hi  # now and then one big word
        s = math.exp(r.uniform(math.log(lo), math.log(top if page or nlines < 4 else 28)))
        return max(9, round(s * k * (1 if stretch < 1.3 else 1 / math.sqrt(stretch))))

    fs = size()
    font = fonts.pick(r, fs, held_out, easy)
    rows, gap, y = [], r.uniform(1.15, 1.7), 0.0
    align, margin = r.choice("lllcr"), r.uniform(0.01, 0.08) * w
    while len(rows) < (16 if page else nlines):
        if page and rows:
            fs = size()
            font = fonts.pick(r, fs, held_out, easy)
        pitch = fs * (r.uniform(1.1, 1.5) if page else gap)
        if (y + pitch > h - 2 or not page and sum(len(row[0]) for row in rows) > 110) and rows:
            break
        fill, ntok = 1.0 if page else r.choice([0.25, 0.5, 0.8, 1.0]), 99 if r.random() < 0.8 else r.randint(1, 2)
        rows.append((strings.line(r, font[1], w - 2 * margin, fill, held_out, ntok), y, font, fs))
        y += pitch
    top = 0 if page else r.uniform(0, max(0.0, h - y - 2))
    widths = [strings.text_width(f[1], s) for s, _, f, _ in rows]
    block = max(widths)
    left = margin if page else r.uniform(margin, max(margin, w - margin - block))
    angle = 0.0 if plain or r.random() < 0.65 else r.uniform(-3.5, 3.5)
    shift = {"l": 0.0, "c": 0.5, "r": 1.0}["l" if page else align]
    lines = []
    for (s, y, f, fs), sw in zip(rows, widths):
        colour = fg if not page or r.random() < 0.7 else rand_col(r, sum(bg) > 380)
        lines.append((s, left + (block - sw) * shift, top + y, f, fs, colour))
    im, labels, at = render(lines, (w, h), bg, angle, draw, clutter)
    if draw:
        how = Image.Resampling.BILINEAR if k < 0.75 else r.choice([Image.Resampling.LANCZOS, Image.Resampling.BICUBIC])
        im = im.resize((TILE, TILE), how)
        im = im if plain else degrade(r, im)
    return reading(r, labels, im, "\n".join(row[0] for row in rows), at, f"read{min(nlines, 4)}", held_out=held_out)


def boxed(r, lines, width, height, bg, angle, level, text, kind, draw, questions=prompts.READ, margins=None, card=None):
    """Finishes a crop: margins, drawing, distortion at the native size, then the processor's two resizes. card: colour of a panel under
    the text."""
    left, top, right, bottom = margins or (r.choice([r.randint(1, 6), r.randint(4, 24)]) for _ in range(4))
    size = max(8, round(width + left + right)), max(8, round(height + top + bottom))
    lines = [(s, x + left, y + top, f, fs, c) for s, x, y, f, fs, c in lines]
    clutter = None
    if card:
        inset = [r.uniform(0.1, 0.8) * m for m in (left, top, right, bottom)]
        corner, edge = r.choice([0, 4, 8, 14]), r.choice([None, None, tuple((a + b) // 2 for a, b in zip(card, lines[0][5]))])

        def clutter(pen):
            box = (inset[0], inset[1], size[0] - inset[2], size[1] - inset[3])
            pen.rounded_rectangle(box, corner, fill=card, outline=edge)

    im, labels, at = render(lines, size, bg, angle, draw, clutter)
    if draw:
        im = tile(degrade(r, im, level))
    return reading(r, labels, im, text, at, kind, questions)


def crop(r, nlines, draw=True, limit=34):
    """A crop of a page or screen as it comes: tight, of any shape, mostly clean; now and then with a heading or on a panel."""
    fs = r.choice([12, 13, 14, 15, 16, 16, 18, 20, 22, 24, 26, 28, 32, 36, 40])
    font = fonts.pick(r, fs)
    fg, bg = fg_bg(r, 0.25)
    if r.random() < 0.35:
        fg, bg = (r.choice([0, 17, 34, 51]),) * 3, (r.choice([255, 255, 248, 240]),) * 3
    card = None
    if r.random() < 0.2:
        card, bg = bg, tuple(max(0, min(255, v + r.choice([-1, 1]) * r.randint(5, 60))) for v in bg)
    limit, fill, ntok = limit if nlines < 3 else 24, r.choice([0.3, 0.6, 0.9]), r.choice([1, 2, 3, 5, 8])
    sizes = [fs] * nlines
    faces = [font] * nlines
    if nlines > 1 and r.random() < 0.3:
        sizes[0] = round(fs * r.uniform(1.1, 1.6))
        faces[0] = fonts.pick(r, sizes[0])
    gap, align = r.uniform(1.15, 1.6), r.choice("lllc")
    rows = [strings.line(r, f[1], r.randint(3, limit) * fs * 0.5, fill, ntok=ntok) for f in faces]
    widths = [strings.text_width(f[1], s) for f, s in zip(faces, rows)]
    block, lines, y = max(widths), [], fs * (gap - 1.2) / 2
    for s, w, f, size in zip(rows, widths, faces, sizes):
        lines.append((s, (block - w) * (0.5 if align == "c" else 0), y, f, size, fg))
        y += size * gap
    margins = None
    if card or r.random() < 0.3:  # a button, a panel or a wide cell: the text sits in more room
        mx, my = r.randint(2, 60), r.randint(2, 40)
        margins = (mx, my, mx + r.randint(0, 60), my + r.choice([0, r.randint(0, 30)]))
    angle = 0.0 if r.random() < 0.85 else r.uniform(-2.5, 2.5)
    level = r.choice([0.0, 0.3, 1.0])
    return boxed(r, lines, block, y, bg, angle, level, "\n".join(rows), f"crop{min(nlines, 4)}", draw, margins=margins, card=card)


def receipt(r, draw=True):
    """Items with prices and a total in two columns; the answer puts one blank between the columns."""
    fs = r.choice([14, 16, 18, 20, 24])
    font = fonts.pick(r, fs)
    fg, bg = (r.randint(0, 70),) * 3, tuple(r.randint(225, 255) for _ in range(3))
    items = [(r.choice(strings.ITEMS), f"{r.randint(0, 40)}.{strings.digits(r, 2)}") for _ in range(r.randint(1, 4))]
    total = f"{sum(round(float(p) * 100) for _, p in items) / 100:.2f}"
    rows = list(items)
    if r.random() < 0.7:
        rows.append((r.choice(["Total", "TOTAL", "Total:", "Sum"]), r.choice(["", "$"]) + total))
        total = rows[-1][1]
    else:
        total = None
    if r.random() < 0.4:
        rows.insert(0, (r.choice([strings.date(r), strings.word(r).upper() + " SHOP", strings.word(r).capitalize() + " Cafe", "RECEIPT"]), ""))
    gap = r.uniform(1.15, 1.6)
    width = max(strings.text_width(font[1], a + "  " + b) for a, b in rows) + r.choice([0, 0, r.randint(0, 60)])
    lines, order = [], []
    for i, (a, b) in enumerate(rows):
        y = i * fs * gap
        lines.append((a, 0.0, y, font, fs, fg))
        if b:
            lines.append((b, width - strings.text_width(font[1], b), y, font, fs, fg))
        order.append((a + " " + b).strip())
    angle = 0.0 if r.random() < 0.5 else r.uniform(-3, 3)
    s = boxed(r, lines, width, fs * gap * len(rows), bg, angle, r.choice([0.3, 1.0]), "\n".join(order), "receipt", draw)
    k = r.random()
    if total and k < 0.15:
        tail = len(total)
        s.update(question=prompts.ask(r, prompts.TOTAL), at=s["at"][-tail:], answer=total)
    elif k < 0.25 and len({a for a, _ in items}) == len(items):
        a, b = r.choice(items)
        i = s["answer"].index(f"{a} {b}") + len(a) + 1
        s.update(question=prompts.ask(r, prompts.PRICE, a.lower()), at=s["at"][i : i + len(b)], answer=b)
    return s


SEGMENTS = {"0": "abcdef", "1": "bc", "2": "abged", "3": "abgcd", "4": "fgbc", "5": "afgcd", "6": "afgedc", "7": "abc", "8": "abcdefg", "9": "abcdfg", "-": "g"}
PLACES = {"a": (0, 0, 1, 0), "b": (1, 0, 1, 1), "c": (1, 1, 1, 2), "d": (0, 2, 1, 2), "e": (0, 1, 0, 2), "f": (0, 0, 0, 1), "g": (0, 1, 1, 1)}


def display(r, draw=True):
    """A seven-segment display."""
    text = r.choice([lambda: strings.digits(r, r.randint(1, 6)), lambda: f"{r.randrange(1000)}.{strings.digits(r, r.randint(1, 2))}",
                     lambda: strings.clock(r), lambda: f"-{r.randrange(100)}.{r.randrange(10)}"])()
    h = r.randint(20, 70)
    w, t, slant = h * r.uniform(0.42, 0.6), max(2, round(h * r.uniform(0.08, 0.16))), r.choice([0.0, 0.0, 0.08, 0.12])
    lit = r.choice([(255, 50, 40), (60, 255, 90), (90, 190, 255), (255, 190, 40), (20, 25, 20), (240, 240, 240)])
    bg = tuple(r.randint(160, 215) for _ in range(3)) if sum(lit) < 100 else tuple(r.randint(0, 40) for _ in range(3))
    ghost = tuple((9 * b + f) // 10 for b, f in zip(bg, lit)) if r.random() < 0.4 else None
    gap = t + w * r.uniform(0.12, 0.35)
    mx, my = r.randint(4, 40), r.randint(4, 30)
    advance = [gap * 0.9 if c in ".:" else w + gap for c in text]
    size = round(sum(advance) + 2 * mx + slant * h), round(h + 2 * my)
    im = Image.new("RGB", size, bg) if draw else None
    pen = ImageDraw.Draw(im) if draw else None
    labels, at, x = Labels(), [], float(mx)
    for c, step in zip(text, advance):
        if draw:
            if c in ".:":
                for y in (my + h,) if c == "." else (my + 0.3 * h, my + 0.7 * h):
                    xs = x + slant * (my + h - y)
                    pen.rectangle((xs, y - t, xs + t, y), fill=lit)
            else:
                for name, (x0, y0, x1, y1) in PLACES.items():
                    fill = lit if name in SEGMENTS[c] else ghost
                    if fill:
                        ends = [(x + px * w + slant * h * (1 - py / 2), my + py * h / 2) for px, py in ((x0, y0), (x1, y1))]
                        pen.line(ends, fill=fill, width=t)
        cx, cy = (x + (step - gap * 0.5) / 2 + slant * h / 2) / size[0], (my + h / 2) / size[1]
        labels.character(ord(c) - 31, cx, cy, step / 2 / size[0], h * 0.55 / size[1])
        at.append([(min(0.999, cx), min(0.999, cy))])
        x += step
    if draw:
        im = tile(degrade(r, im, 0.6))
    return reading(r, labels, im, text, at, "display", prompts.READ + prompts.DISPLAY * 3)


def strip(r):
    """A page of lines for the dense stage on a canvas that is not square, so that its letters come out squeezed or stretched."""
    w, h = r.choice([(r.randint(160, 420), r.randint(24, 150)), (r.randint(60, 160), r.randint(120, 300))])
    fg, bg = fg_bg(r)
    lines, y = [], r.uniform(0, 6)
    while True:
        fs = round(math.exp(r.uniform(math.log(12), math.log(44))))
        fs = min(fs, max(12, int((h - y) / 1.1)))
        if lines and y + fs > h:
            break
        font = fonts.pick(r, fs)
        s = strings.line(r, font[1], min(w - 4, 36 * fs * 0.5), 1.0)
        lines.append((s, r.uniform(1, 6), y, font, fs, fg if r.random() < 0.7 else rand_col(r, sum(bg) > 380)))
        y += fs * r.uniform(1.1, 1.5)
    im, labels, at = render(lines, (w, h), bg)
    return sample(labels, np.asarray(tile(degrade(r, im, 0.5))), prompts.READ[0], "\n".join(x[0] for x in lines), "strip", at)
