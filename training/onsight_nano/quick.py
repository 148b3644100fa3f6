"""Small held-out figures for the training log."""
import numpy as np
import torch

from .batch import prompt_ids
from .config import FIRST_SHAPE, IGNORE
from .heldout import samples
from .metrics import cer, gauge_ok


def images(batch):
    return torch.from_numpy(np.stack([s["image"] for s in batch]))


def answers(model, batch, size=32):
    """Greedy answers to samples, longest 110 bytes."""
    out = []
    for i in range(0, len(batch), size):
        part = batch[i : i + size]
        ids = model.generate(images(part), [prompt_ids(s["question"]) for s in part], 110)
        out += [bytes(t for t in o if t < 256).decode("utf8", "replace").strip() for o in ids]
    return out


def cells(model, heads, n=16):
    """Share of character cells named rightly on pages in held-out fonts."""
    batch = samples("page", n)
    named = heads(model.vision(images(batch)))[0].argmax(-1)
    truth = torch.from_numpy(np.stack([s["seg"] for s in batch])).long()
    text = (truth > 1) & (truth < FIRST_SHAPE) & (truth != IGNORE)
    return {"held_cells": (named == truth)[text].float().mean().item()}


def quick(model, n=24):
    out = {}
    for kind in ("read1", "read3"):
        s = samples(kind, n)
        a = answers(model, s)
        out[kind] = cer([(x, y["answer"]) for x, y in zip(a, s)])
        out["eg_" + kind] = [(x, y["answer"]) for x, y in zip(a, s)][:3]
    s = samples("scene", 2 * n)
    out["scene"] = float(np.mean([x == y["answer"] for x, y in zip(answers(model, s), s)]))
    s = samples("gauge", n)
    a = answers(model, s)
    out["gauge"] = float(np.mean([gauge_ok(x, y) for x, y in zip(a, s)]))
    out["eg_gauge"] = [(x, y["answer"], y["full"]) for x, y in zip(a, s)][:4]
    return out
