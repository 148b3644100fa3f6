"""What cameras, scanners and codecs do to a picture."""
import io

import numpy as np
from PIL import Image, ImageFilter

NOISE = np.random.default_rng(0).standard_normal((16, 512, 512)).astype(np.float32)


def degrade(r, im, level=1.0):
    """Mild blur, JPEG, noise, uneven light, each with a chance scaled by level. PIL picture -> PIL picture."""
    if r.random() < 0.25 * level:
        im = im.filter(ImageFilter.GaussianBlur(r.uniform(0.3, 0.9)))
    if r.random() < 0.3 * level:
        buffer = io.BytesIO()
        im.save(buffer, "JPEG", quality=r.randint(35, 90))
        im = Image.open(buffer).convert("RGB")
    w, h = im.size
    if r.random() < 0.3 * level and w <= 512 and h <= 512:
        y, x = r.randrange(513 - h), r.randrange(513 - w)
        noise = NOISE[r.randrange(len(NOISE)), y : y + h, x : x + w, None] * r.uniform(2, 14)
        im = Image.fromarray(np.clip(np.asarray(im) + noise, 0, 255).astype(np.uint8))
    if r.random() < 0.15 * level:
        across = r.random() >= 0.5
        ramp = np.linspace(r.uniform(0.75, 1), r.uniform(0.75, 1), w if across else h, dtype=np.float32)
        ramp = ramp[None, :, None] if across else ramp[:, None, None]
        im = Image.fromarray((np.asarray(im) * ramp).astype(np.uint8))
    return im
