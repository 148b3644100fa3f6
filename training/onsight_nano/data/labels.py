"""Dense labels of a picture: what is drawn in each of ROWS x COLS cells. Coordinates are shares of the picture's sides."""
import numpy as np

from ..config import COLS, IGNORE, ROWS

REACH = 0.075  # a character taller than twice this is labelled around its centre only; the rest of it is left open


class Labels:
    """seg [24, 72] class (IGNORE: left open), beg [24, 72] first column of a character or centre of a shape, col [24, 72] colour (IGNORE: none)."""

    def __init__(self):
        self.seg = np.zeros((ROWS, COLS), np.uint8)
        self.beg = np.zeros((ROWS, COLS), np.uint8)
        self.col = np.full((ROWS, COLS), IGNORE, np.uint8)

    def character(self, cls, cx, cy, half_w, half_h):
        j0 = min(COLS - 1, max(0, int((cx - half_w) * COLS + 0.5)))
        j1 = max(j0 + 1, int((cx + half_w) * COLS + 0.5))
        self._rows(cls, cy, half_h, j0, j1)

    def _rows(self, cls, cy, half_h, j0, j1):
        def span(half):
            i0 = min(ROWS - 1, max(0, int((cy - half) * ROWS + 0.5)))
            return i0, max(i0 + 1, int((cy + half) * ROWS + 0.5))

        a, b = span(half_h)
        i0, i1 = span(min(half_h, REACH))
        outer = self.seg[a:b, j0:j1]
        outer[outer == 0] = IGNORE
        self.seg[i0:i1, j0:j1] = cls
        self.beg[i0:i1, j0:j1] = 0
        self.beg[i0:i1, j0] = 1

    def centre(self, x, y):
        """One cell a shape, so that shapes can be counted."""
        self.beg[min(ROWS - 1, max(0, int(y * ROWS))), min(COLS - 1, max(0, int(x * COLS)))] = 1

    def point(self, cls, x, y):
        self.seg[min(ROWS - 1, max(0, int(y * ROWS))), min(COLS - 1, max(0, int(x * COLS)))] = cls


def sample(labels, image, question, answer, kind, at=None, frac=-1.0, asked=None, **more):
    """One training sample. image: uint8 [192, 192, 3] or None; at, asked: where to look for each byte
    of the answer and of the question, a list of (x, y) shares or None."""
    return dict(image=image, question=question, answer=answer, kind=kind, seg=labels.seg, beg=labels.beg, col=labels.col, at=at, frac=frac, asked=asked, **more)
