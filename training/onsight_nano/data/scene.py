"""Simple scenes: 1..6 shapes without overlap, with questions about count, colour, shape, relation and place."""
import math

import numpy as np
from PIL import Image, ImageDraw

from ..config import COLOURS, COLS, FIRST_SHAPE, MOST, ROWS, SHAPES
from ..preprocess import tile
from . import prompts
from .degrade import degrade
from .labels import Labels, sample

NUMBERS = ("no", "one", "two", "three", "four", "five", "six")
NAMES = list(COLOURS)
PAINTS = [c for c in NAMES if c != "grey"]  # grey is a background only
BACKGROUNDS = {"white": (252, 252, 252), "black": (10, 10, 10), "grey": (128, 128, 128)}
BASE = 256


def outline(shape, x, y, s, rot):
    """Corners of a shape of half-size s, or None for a circle."""
    if shape == "circle":
        return None
    if shape == "square":
        p = [(s * 0.88 * math.sqrt(2), math.pi / 4 + i * math.pi / 2) for i in range(4)]
    elif shape == "triangle":
        p = [(s * 1.1, -math.pi / 2 + i * 2 * math.pi / 3) for i in range(3)]
    elif shape == "star":
        p = [(s * 1.15 if i % 2 == 0 else s * 0.48, -math.pi / 2 + i * math.pi / 5) for i in range(10)]
    else:
        arm = math.atan(0.34)
        p = [(s * math.hypot(1, 0.34), q * math.pi / 2 + o) if j < 2 else (s * 0.34 * math.sqrt(2), q * math.pi / 2 + math.pi / 4)
             for q in range(4) for j, o in enumerate((-arm, arm, 0))]
    return [(x + d * math.cos(t + rot), y + d * math.sin(t + rot)) for d, t in p]


def plural(shape, n=2):
    return shape if n == 1 else shape + ("es" if shape == "cross" else "s")


def describe(objects, background):
    """('Two red circles and a blue square on a white background.', the objects that each byte is about or None)"""
    groups = {}
    for o in sorted(objects, key=lambda o: (NAMES.index(o[1]), SHAPES.index(o[0]))):
        groups.setdefault(o[:2], []).append(o)
    text, about = "", []
    for i, ((s, c), some) in enumerate(groups.items()):
        text += "" if not i else " and " if i == len(groups) - 1 else ", "
        about += [None] * (len(text) - len(about))
        n = len(some)
        text += f"{'an' if c[0] in 'aeiou' else 'a'} {c} {s}" if n == 1 else f"{NUMBERS[n]} {c} {plural(s)}"
        about += [some] * (len(text) - len(about))
    text = f"{text[0].upper()}{text[1:]} on a {background} background."
    return text, about + [None] * (len(text) - len(about))


def question(r, objects, few, background, kind, size):
    """(question, answer, where to look for the answer's bytes, for the question's) of that kind, or None where the scene has no clear
    answer. Where a question names objects, its next byte is the first that can know them."""
    def at(some):
        return [(o[2] / size[0], o[3] / size[1]) for o in some] or None

    def about(q, a, some, named):
        asked = [None] * len(q)
        for name, which in named:
            end = q.lower().find(name) + len(name)
            if end >= len(name):  # a slip of the typist can hide it
                asked[end - 1 : end + 1] = [at(which)] * len(asked[end - 1 : end + 1])
        return q, a, [at(some)] * len(a), asked

    def count(what, name, which):
        some = [o for o in objects if which(o)]
        return about(prompts.ask(r, prompts.COUNT, what), str(len(some)), some, [(name, some)])

    def unique(f):
        return [o for o in objects if sum(f(p) == f(o) for p in objects) == 1]

    if kind == "describe":
        text, some = describe(objects, background)
        return prompts.ask(r, prompts.DESCRIPTION), text, [o and at(o) for o in some]
    if kind == "background":
        return prompts.ask(r, prompts.BACKGROUND), background
    if kind == "count":
        what = r.choice(["objects", "shapes", "things", "objects"])
        return count(what, what, lambda o: True)
    if kind == "countc":
        c = r.choice(few[0])
        return count(f"{c} {r.choice(['objects', 'shapes', 'things'])}", c, lambda o: o[1] == c)
    if kind == "counts":
        s = r.choice(few[1])
        return count(plural(s), plural(s), lambda o: o[0] == s)
    if kind == "countcs":
        c, s = r.choice(few[0]), r.choice(few[1])
        return count(f"{c} {plural(s)}", f"{c} {plural(s)}", lambda o: o[:2] == (s, c))
    if kind == "read":
        return prompts.ask(r, prompts.READ), "No text that I can read."
    if kind == "colour" and (u := unique(lambda o: o[0])):
        o = r.choice(u)
        return about(prompts.ask(r, prompts.COLOUR, o[0]), o[1], [o], [(o[0], [o])])
    if kind == "shape" and (u := unique(lambda o: o[1])):
        o = r.choice(u)
        return about(prompts.ask(r, prompts.SHAPE, o[1]), o[0], [o], [(o[1], [o])])
    both = unique(lambda o: o[:2])
    if kind == "relation" and len(both) > 1:
        o, p = r.sample(both, 2)
        rel, d = r.choice([("left of", p[2] - o[2]), ("right of", o[2] - p[2]), ("above", p[3] - o[3]), ("below", o[3] - p[3])])
        said = {"left of": ["to the left of", "left of"], "right of": ["to the right of", "right of"]}.get(rel, [rel])
        if abs(d) > 16:
            a, b = (f"{x[1]} {x[0]}" for x in (o, p))
            return about(prompts.ask(r, prompts.RELATION, a, r.choice(said), b), "yes" if d > 0 else "no", [o, p], [(a, [o]), (b, [p])])
    if kind == "where" and both:
        o = r.choice(both)
        x, y = (o[2] - size[0] / 2) / size[0], (o[3] - size[1] / 2) / size[1]
        if max(abs(x), abs(y)) > 0.08 and abs(abs(x) - abs(y)) > 0.047:
            side = ("left" if x < 0 else "right") if abs(x) > abs(y) else ("top" if y < 0 else "bottom")
            name = f"{o[1]} {o[0]}"
            return about(prompts.ask(r, prompts.WHERE, name), side, [o], [(name, [o])])
    return None


KINDS = ("count", "countc", "counts", "colour", "shape", "relation", "where")  # what the bar is measured on
MORE = KINDS + ("count", "countc", "counts", "relation", "relation", "relation", "relation", "countcs", "describe", "describe", "background", "read")


def scene(r, n=1, kinds=MORE, draw=True):
    """One picture with n questions: a list of n samples that share the picture."""
    w = h = BASE
    if r.random() < 0.35:
        w, h = (round(BASE * r.uniform(1, 1.6)), BASE) if r.random() < 0.6 else (BASE, round(BASE * r.uniform(1, 1.4)))
    background = r.choice(["white", "white", "black", "grey", "light", "light"])
    bg = BACKGROUNDS.get(background) or tuple(r.randint(200, 245) for _ in range(3))
    if background == "light":
        background = "light" if max(bg) - min(bg) > 8 else "white"
    paints = [c for c in PAINTS if sum(abs(a - b) for a, b in zip(COLOURS[c], bg)) > 150]
    few = r.sample(paints, r.randint(1, 4)), r.sample(SHAPES, r.randint(1, 4))
    scale = r.choice([1, 1, 2])  # drawn with or without smooth edges
    im = Image.new("RGB", (w * scale, h * scale), bg) if draw else None
    pen = ImageDraw.Draw(im) if draw else None
    labels, objects = Labels(), []
    yy, xx = (np.mgrid[0:ROWS, 0:COLS] + 0.5) * np.array([h / ROWS, w / COLS])[:, None, None]
    edge = r.random() < 0.15
    for _ in range(r.randint(1, MOST)):
        for _ in range(30):
            s = r.uniform(14, 40)
            x, y = r.uniform(s + 2, w - s - 2), r.uniform(s + 2, h - s - 2)
            if all(math.hypot(x - o[2], y - o[3]) > 1.25 * (s + o[4]) for o in objects):
                break
        else:
            continue
        shape, colour = r.choice(few[1]), r.choice(few[0])
        rgb = tuple(min(255, max(0, v + r.randint(-12, 12))) for v in COLOURS[colour])
        rot = r.uniform(-0.25, 0.25) if r.random() < 0.5 else 0.0
        if draw:
            p = outline(shape, x * scale, y * scale, s * scale, rot)
            line = dict(outline=(0, 0, 0) if sum(bg) > 200 else (255, 255, 255), width=scale) if edge else {}
            if p is None:
                pen.ellipse([v * scale for v in (x - s, y - s, x + s, y + s)], fill=rgb, **line)
            else:
                pen.polygon(p, fill=rgb, **line)
        objects.append((shape, colour, x, y, s))
        inside = (xx - x) ** 2 + (yy - y) ** 2 < (s * 0.8) ** 2
        labels.seg[inside] = FIRST_SHAPE + SHAPES.index(shape)
        labels.col[inside] = NAMES.index(colour)
        labels.centre(x / w, y / h)
    free = (labels.seg == 0) & (np.add.outer(np.arange(ROWS), np.arange(COLS)) % 7 == 0)
    labels.col[free] = NAMES.index("white" if background == "light" else background)
    image = np.asarray(tile(degrade(r, im, 0.5))) if draw else None
    out = []
    while len(out) < n:
        kind = r.choice(kinds)
        if qa := question(r, objects, few, background, kind, (w, h)):
            out.append(sample(labels, image, *qa[:2], "scene-" + kind, *qa[2:3], asked=qa[3] if len(qa) > 3 else None))
    return out
