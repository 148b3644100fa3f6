"""Pictures that are neither text, scene nor gauge: the model says so, and names the main colour, taken from the pixels."""
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ..config import COLOURS, COLS, ROWS, TILE
from ..preprocess import tile
from . import prompts
from .degrade import NOISE, degrade
from .labels import Labels, sample
from .text import rand_col

NAMES = list(COLOURS)
TABLE = np.array(list(COLOURS.values()), np.float32)
ANSWER = "No text, shapes or gauge that I can read; mostly {}."


def main_colour(image):
    """Name of the colour that most pixels are nearest to, and its share."""
    a = image[::6, ::6].reshape(-1, 3).astype(np.float32)
    near = ((a[:, None] - TABLE[None]) ** 2).sum(-1).argmin(1)
    n = np.bincount(near, minlength=len(NAMES))
    return NAMES[int(n.argmax())], n.max() / n.sum()


def texture(r):
    """A picture without content: gradient, noise, soft blobs, stripes or scribbled lines."""
    w, h = r.choice([(TILE, TILE), (TILE, TILE), (r.randint(80, 400), r.randint(80, 300)), (r.randint(20, 80), r.randint(20, 80))])
    base = np.array(COLOURS[r.choice(NAMES)], np.float32) if r.random() < 0.6 else np.array([r.randint(0, 255) for _ in range(3)], np.float32)
    other = np.clip(base + np.array([r.uniform(-90, 90) for _ in range(3)]), 0, 255)
    yy, xx = np.mgrid[0:h, 0:w].astype(np.float32)
    t = r.uniform(0, 2 * math.pi)
    along = xx / w * math.cos(t) + yy / h * math.sin(t)
    kind = r.choice(["flat", "gradient", "noise", "waves", "blobs", "lines"])
    if kind == "waves":
        mix = 0.5 + 0.5 * np.sin(along * r.uniform(6, 60))
    elif kind == "noise":
        small = NOISE[r.randrange(len(NOISE)), : max(2, h // r.choice([2, 4, 16])), : max(2, w // r.choice([2, 4, 16]))]
        mix = np.asarray(Image.fromarray(small).resize((w, h), Image.Resampling.BICUBIC)) * 0.3 + 0.5
    else:
        mix = along if kind != "flat" else np.zeros_like(along)
    mix = np.clip(mix, 0, 1)[..., None]
    im = Image.fromarray(np.clip(base * (1 - mix) + other * mix, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(im)
    if kind == "blobs":
        for _ in range(r.randint(3, 12)):
            x, y, s = r.uniform(0, w), r.uniform(0, h), r.uniform(0.05, 0.4) * max(w, h)
            c = tuple(int(v) for v in np.clip(base + np.array([r.uniform(-110, 110) for _ in range(3)]), 0, 255))
            pen.ellipse((x - s, y - s * r.uniform(0.4, 1), x + s, y + s), fill=c)
        im = im.filter(ImageFilter.GaussianBlur(r.uniform(3, 14)))
    elif kind == "lines":
        for _ in range(r.randint(2, 9)):
            pen.line([(r.uniform(0, w), r.uniform(0, h)) for _ in range(r.randint(2, 7))], fill=rand_col(r, r.random() < 0.5), width=r.randint(1, 4))
    return im


def plain(r, n=1):
    """One picture with n questions: a list of n samples that share the picture."""
    while True:
        image = np.asarray(tile(degrade(r, texture(r))))
        name, share = main_colour(image)
        if share > 0.5:
            break
    labels = Labels()
    labels.col[np.add.outer(np.arange(ROWS), np.arange(COLS)) % 7 == 0] = NAMES.index(name)
    out = []
    for _ in range(n):
        k = r.random()
        if k < 0.2:
            qa = prompts.ask(r, prompts.MAIN_COLOUR), name
        elif k < 0.5:
            qa = prompts.ask(r, prompts.READ), "No text that I can read."
        elif k < 0.55:
            qa = prompts.ask(r, prompts.COUNT, "objects"), "0"
        else:
            qa = prompts.ask(r, prompts.DESCRIPTION + prompts.GAUGE[:2]), ANSWER.format(name)
        out.append(sample(labels, image, *qa, "plain"))
    return out
