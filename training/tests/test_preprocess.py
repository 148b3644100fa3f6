"""The generator's fast path gives exactly the pixels of transformers' PIL image processor."""
import numpy as np
import pytest
from PIL import Image

from export import processor
from onsight_nano.preprocess import tile

SIZES = [(192, 192), (600, 40), (40, 600), (24, 24), (317, 211), (193, 192), (1, 1), (1200, 7), (90, 400), (256, 171)]


@pytest.mark.parametrize("size", SIZES)
def test_same_pixels(size):
    w, h = size
    image = Image.fromarray(np.random.default_rng(w * 7 + h).integers(0, 256, (h, w, 3), np.uint8))
    want = processor().image_processor(images=[[image]], return_tensors="np")["pixel_values"]
    assert want.shape == (1, 1, 3, 192, 192)
    got = np.asarray(tile(image)).transpose(2, 0, 1)
    assert np.array_equal(got, np.round(want[0, 0] * 127.5 + 127.5).astype(np.uint8))


def test_grey_and_alpha_become_rgb():
    assert tile(Image.new("L", (10, 20), 7)).getpixel((5, 5)) == (7, 7, 7)
    assert tile(Image.new("RGBA", (10, 20), (1, 2, 3, 255))).getpixel((5, 5)) == (1, 2, 3)
