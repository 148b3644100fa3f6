"""What transformers' SmolVLMImageProcessorPil does to one picture with this model's config, up to the 8-bit tile."""
from PIL import Image

from .config import TILE


def longest_edge(width, height, edge=TILE):
    """Size after the first resize: longest edge to `edge`, the other one made even."""
    aspect = width / height
    if width >= height:
        width, height = edge, int(edge / aspect)
        height += height % 2
    else:
        height, width = edge, int(edge * aspect)
        width += width % 2
    return max(width, 1), max(height, 1)


def tile(image):
    """PIL picture of any size -> RGB picture of TILE x TILE, two Lanczos resizes on 8 bits."""
    image = image.convert("RGB")
    size = longest_edge(*image.size)
    if size != image.size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    return image if size == (TILE, TILE) else image.resize((TILE, TILE), Image.Resampling.LANCZOS)
