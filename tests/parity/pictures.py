"""Pictures for the parity runs, drawn by code: smooth, so that they stay small, with edges and colours in every part."""
import numpy as np
from PIL import Image, ImageDraw


def draw(path, width, height, seed=0):
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 256, (3, 3, 3), dtype=np.uint8)
    picture = Image.fromarray(corners).resize((width, height), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture)
    for _ in range(7):
        x, y = rng.integers(0, width), rng.integers(0, height)
        a, b = rng.integers(1, width // 3 + 2), rng.integers(1, height // 3 + 2)
        shape = pen.ellipse if rng.random() < 0.5 else pen.rectangle
        shape((int(x), int(y), int(x + a), int(y + b)), fill=tuple(int(c) for c in rng.integers(0, 256, 3)))
    picture.save(path)
    return path
