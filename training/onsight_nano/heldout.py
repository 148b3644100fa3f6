"""Fixed sets for evaluation: fonts, words and pictures that training never draws."""
import functools
import random

from .data.gauge import gauge
from .data.scene import KINDS, scene
from .data.text import square


@functools.lru_cache(None)
def samples(kind, n, seed=7):
    """kind: read1, read2, read3 (held-out fonts and words), page (dense labels), scene, gauge (held-out fonts)."""
    r = random.Random(f"held out {kind} {seed}")
    if kind == "scene":
        return [scene(r, 1, KINDS)[0] for _ in range(n)]
    if kind == "gauge":
        return [gauge(r, 1, True)[0] for _ in range(n)]
    if kind == "page":
        return [square(r, 9, True, page=True) for _ in range(n)]
    return [square(r, int(kind[-1]), True) for _ in range(n)]
