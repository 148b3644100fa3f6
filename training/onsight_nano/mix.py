"""Which samples each stage of training sees. Batch n of a stage is made from the seed, the stage and n alone, so that a resumed run goes
on where the last one stopped and repeats nothing."""
import itertools
import random

import torch

from .batch import collate
from .data.gauge import gauge
from .data.plain import plain
from .data.scene import scene
from .data.text import crop, display, receipt, square, strip


def printed(r, draw=True):
    """Text to read: half of it crops of any shape, a good share of square tiles."""
    k = r.random()
    if k < 0.35:
        return square(r, r.choice([1, 1, 2, 3, 3, 5]), plain=r.random() < 0.15, draw=draw)
    if k < 0.85:
        return crop(r, r.choice([1, 1, 1, 2, 2, 3, 4]), draw=draw)
    return receipt(r, draw) if k < 0.95 else display(r, draw)


def see(r, phase):
    """Dense labels only: pages full of characters, first easy ones (phase 0, 1), then everything (2)."""
    if phase == 0:
        return collate([[square(r, 9, page=True, lo=18, hi=18.01, easy=True)] for _ in range(12)], 0)
    if phase == 1:
        pages = [[square(r, 9, page=True, lo=16, hi=26, plain=True)] for _ in range(10)]
        return collate(pages + [[strip(r)], scene(r)], 0)
    pages = [[square(r, 9, page=True)] for _ in range(4)] + [[strip(r)], [strip(r)], [printed(r)], *([crop(r, r.randint(1, 3))] for _ in range(3))]
    return collate([*pages, scene(r), r.choice([gauge, gauge, scene, plain])(r)], 0)


def talk(r, phase):
    """No pictures: the decoder reads symbols made from labels. Most of its answers are about scenes and gauges."""
    rows = [[printed(r, False)] for _ in range(4)] + [scene(r, 12, draw=False) for _ in range(4)] + [gauge(r, draw=False) for _ in range(4)]
    if r.random() < 0.3:
        rows.append([{**plain(r)[0], "image": None}])
    return collate(rows)


def join(r, phase):
    """Pictures with questions, and a few pages that keep the tower's eyes open."""
    asked = [[printed(r)] for _ in range(6)] + [scene(r, 9), gauge(r), r.choice([lambda r: scene(r, 9), lambda r: scene(r, 9), gauge, lambda r: plain(r, 2)])(r)]
    page = strip(r) if r.random() < 0.3 else square(r, 9, page=True)
    return collate([*asked, [page]], len(asked))


STAGES = {"see": see, "talk": talk, "join": join}


class Stream(torch.utils.data.IterableDataset):
    """Batches start, start + 1, ... of a stage. phase: shared tensor with the curriculum's phase."""

    def __init__(self, stage, seed, start, phase):
        self.stage, self.seed, self.start, self.phase = stage, seed, start, phase

    def __iter__(self):
        torch.set_num_threads(1)
        info = torch.utils.data.get_worker_info()
        first, step = (info.id, info.num_workers) if info else (0, 1)  # the loader takes the workers' batches in turn
        for n in itertools.count(self.start + first, step):
            yield STAGES[self.stage](random.Random(f"{self.seed}/{self.stage}/{n}"), int(self.phase))
