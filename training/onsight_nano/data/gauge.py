"""Round dials with ticks, numbers and one needle. Labels: the numbers, the needle, its hub and tip, and the reading."""
import math

import numpy as np
from PIL import Image, ImageDraw

from ..config import COLOURS, HUB, NEEDLE, TIP
from ..preprocess import tile
from . import fonts, prompts
from .degrade import degrade
from .labels import Labels, sample
from .text import fg_bg, rand_col


def gauge(r, n=1, held_out=False, draw=True):
    """One dial with n questions: a list of n samples that share the picture."""
    fg, bg = fg_bg(r, 0.3)
    face = bg if r.random() < 0.5 else rand_col(r, sum(bg) < 380)
    ink = rand_col(r, sum(face) > 380) if face != bg else fg
    side = 384
    w, h = (side, side) if r.random() < 0.75 or held_out else (round(side * r.uniform(1, 1.5)), side)
    im = Image.new("RGB", (w, h), bg) if draw else None
    pen = ImageDraw.Draw(im) if draw else None
    radius = r.uniform(127, 183)
    cx, cy = (v / 2 + r.uniform(-1, 1) * (v / 2 - radius - 4) for v in (w, h))
    rim = r.randint(1, 6)
    full = r.choice([10, 100, 100, 100, 60, 200, 50, 5, 16, 250])
    major = r.choice([5, 10]) if full not in (5, 16) else {5: 5, 16: 8}[full]
    start = r.choice([135, 135, 140, 150, 180])
    span = 2 * (270 - start)

    def at(share, reach):
        t = math.radians(start + span * share)
        return cx + radius * reach * math.cos(t), cy + radius * reach * math.sin(t)

    labels = Labels()
    size = round(radius * r.uniform(0.13, 0.19))
    font, adv = fonts.pick(r, size, held_out)
    sub = r.choice([1, 2, 5])
    if draw:
        pen.ellipse((cx - radius, cy - radius, cx + radius, cy + radius), fill=face, outline=ink, width=rim)
    for i in range(major * sub + 1):
        big, share = i % sub == 0, i / (major * sub)
        if draw:
            pen.line((*at(share, 0.84 if big else 0.89), *at(share, 0.95)), fill=ink, width=4 if big else 2)
        if big:
            text = f"{full * (i // sub) / major:g}"
            x, y = at(share, 0.68)
            if draw:
                pen.text((x, y), text, font=font, fill=ink, anchor="mm")
            widths = adv[np.frombuffer(text.encode(), np.uint8) - 32]
            full_at = (x / w, y / h)  # of the last number, which is the scale's end
            x -= widths.sum() / 2
            for ch, cw in zip(text, widths):
                labels.character(ord(ch) - 31, (x + cw / 2) / w, y / h, cw / 2 / w, size * 0.5 / h)
                x += cw
    step = 1 if full >= 100 else 0.5 if full >= 50 else 0.1
    value = round(full * r.random() / step) * step
    share = value / full
    colour = COLOURS[r.choice(["red", "red", "orange", "blue"])] if r.random() < 0.6 else ink
    thick, reach, tail = r.uniform(0.02, 0.06), r.uniform(0.6, 0.9), r.uniform(0, 0.2)
    t = math.radians(start + span * share)
    px, py, qx, qy = -math.sin(t) * thick * radius, math.cos(t) * thick * radius, *(v * -tail * radius for v in (math.cos(t), math.sin(t)))
    if draw:
        pen.polygon([at(share, reach), (cx + px + qx, cy + py + qy), (cx - px + qx, cy - py + qy)], fill=colour)
        hub = 2 * thick * radius
        pen.ellipse((cx - hub, cy - hub, cx + hub, cy + hub), fill=colour if r.random() < 0.5 else ink)
        if r.random() < 0.2:
            unit = r.choice(["bar", "PSI", "km/h", "V", "A", "C", "rpm", "%"])
            pen.text((cx, cy + radius * 0.42), unit, font=font, fill=ink, anchor="mm")
    for q in np.linspace(0.1, 1, 40):
        x, y = at(share, reach * q)
        labels.point(NEEDLE, x / w, y / h)
    x, y = at(share, reach)
    labels.point(TIP, x / w, y / h)
    for dx in (-0.02, 0, 0.02):
        labels.point(HUB, cx / w + dx, cy / h)
    image = np.asarray(tile(degrade(r, im, 0.5))) if draw else None
    out = []
    for _ in range(n):
        text = f"{value:g}"
        look = [[(cx / w, cy / h), full_at]] * len(text)
        if not held_out and r.random() < 0.15:
            qa, where = (prompts.ask(r, prompts.DESCRIPTION), f"A gauge showing {text}."), [None] * 16 + look + [None]
        else:
            qa, where = (prompts.ask(r, prompts.GAUGE), text), look
        out.append(sample(labels, image, *qa, "gauge", where, share, full=full))
    return out
