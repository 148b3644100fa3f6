"""Draws the three example pictures with Chromium; the receipt is then made to look scanned. Run: python examples/make/make.py"""
import io
import os
import subprocess

import numpy as np
from PIL import Image, ImageFilter

HERE = os.path.dirname(os.path.abspath(__file__))


def shoot(name, width, height):
    """examples/make/NAME.html -> picture of width x height."""
    png = f"{HERE}/{name}.shot.png"
    subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={width},{height}", f"--screenshot={png}",
         f"file://{HERE}/{name}.html"], check=True, capture_output=True, timeout=120)
    with Image.open(png) as im:
        out = im.convert("RGB").crop((0, 0, width, height))
    os.remove(png)
    return out


def scanned(im, seed=4):
    """A little askew on a scanner: paper grain, uneven light, soft focus, JPEG."""
    rng = np.random.default_rng(seed)
    im = im.rotate(1.2, Image.Resampling.BICUBIC, fillcolor=(251, 249, 244)).filter(ImageFilter.GaussianBlur(0.6))
    grain = rng.standard_normal((im.height, im.width, 1)) * 4
    light = np.linspace(1.0, 0.9, im.width)[None, :, None]
    im = Image.fromarray(np.clip(np.asarray(im) * light + grain, 0, 255).astype(np.uint8))
    data = io.BytesIO()
    im.save(data, "JPEG", quality=80)
    return data.getvalue()


def main():
    out = os.path.dirname(HERE)
    shoot("screenshot", 360, 224).save(f"{out}/screenshot.png", optimize=True)
    shoot("scene", 360, 360).save(f"{out}/scene.png", optimize=True)
    with open(f"{out}/receipt.jpg", "wb") as f:
        f.write(scanned(shoot("receipt", 320, 230)))


if __name__ == "__main__":
    main()
