"""A picture to ask about, drawn from a seed: shapes, text-like strokes and noise on a gradient.  picture.py OUT.jpg [WIDTH HEIGHT]"""
import random
import sys

import numpy as np
from PIL import Image, ImageDraw

out = sys.argv[1]
width, height = (int(n) for n in sys.argv[2:4]) if len(sys.argv) > 3 else (1536, 1024)
rng = random.Random(1)
x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
pixels = np.stack([120 + 100 * x, 90 + 120 * y, 200 - 120 * x * y], axis=-1) + np.random.default_rng(1).normal(0, 6, (height, width, 1))
image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
draw = ImageDraw.Draw(image)
for _ in range(60):
    left, top = rng.randrange(width), rng.randrange(height)
    box = (left, top, left + rng.randrange(20, 260), top + rng.randrange(20, 200))
    colour = tuple(rng.randrange(256) for _ in range(3))
    (draw.ellipse if rng.random() < 0.5 else draw.rectangle)(box, fill=colour, outline=(0, 0, 0))
for row in range(12):
    draw.text((40, 40 + row * 80), " ".join(f"{rng.randrange(10**6):06d}" for _ in range(12)), fill=(10, 10, 10))
image.save(out, quality=92)
