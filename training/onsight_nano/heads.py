"""Training-only modules. They are saved in the training checkpoint and never in the shipped model."""
import torch
from torch import nn
from torch.nn import functional as F

from .batch import GUIDED, NONE
from .config import BINS, CELLS, CLASSES, COLOURS, COLS, FIRST_SHAPE, HUB, IGNORE, IMAGE_TOKENS, MOST, NEEDLE, ROWS, SHUFFLE, SIDE, TEXT, VISION

SPLIT = (CLASSES, 1, len(COLOURS))


class DenseHeads(nn.Module):
    """What is drawn in the cells of each patch (class, first column of a character, colour) and, for a gauge, its reading."""

    def __init__(self):
        super().__init__()
        self.cells = nn.Linear(VISION["width"], CELLS * sum(SPLIT))
        self.reading = nn.Linear(VISION["width"], BINS)

    def forward(self, h):
        """h [B, 576, d] -> logits of class [B, 24, 72, CLASSES], begin [.., 1], colour [.., colours]."""
        return self.cells(h).view(len(h), ROWS, COLS, sum(SPLIT)).split(SPLIT, -1)


def dense_loss(heads, h, batch):
    """Losses of the dense labels; every one is normalised by the same per-cell weight, so that the rare kinds do not drown reading.
    Returns (losses by name, share of character cells named rightly)."""
    seg, beg, col = heads(h)
    target = batch["seg"].long()
    known = target != IGNORE
    weight = torch.where(target > 0, 1.0, 0.15) * known
    total = weight.sum()
    ce = F.cross_entropy(seg.flatten(0, 2).float(), target.masked_fill(~known, 0).flatten(), reduction="none").view(target.shape)
    out = {"seg": (ce * weight).sum() / total}
    text = (target > 0) & (target < FIRST_SHAPE)
    drawn = (target > 0) & (target < NEEDLE)
    out["beg"] = F.binary_cross_entropy_with_logits(beg[..., 0].float(), batch["beg"].float(), (drawn * 0.9 + 0.1) * known)
    has = batch["col"] != IGNORE
    if has.any():
        out["col"] = F.cross_entropy(col[has].float(), batch["col"][has].long(), reduction="sum") / total
    needle = ((target >= NEEDLE) & known).view(len(h), ROWS * COLS // CELLS, CELLS).any(-1)
    if needle.any():
        at = batch["frac"][:, None].expand(-1, needle.shape[1])[needle]
        soft = torch.softmax(-(((torch.arange(BINS, device=h.device) + 0.5) / BINS - at[:, None]) ** 2) / 0.0006, -1)
        out["frac"] = F.cross_entropy(heads.reading(h[needle]).float(), soft, reduction="sum") / total
    right = (seg.detach().argmax(-1) == target)[text & (target > 1)].float()
    return out, right.mean().item() if len(right) else None


class Symbols(nn.Module):
    """Image tokens made from the labels of their cells instead of pixels: one linear map of one-hot codes. Teaches the decoder before
    the tower can see, at no cost of drawing or vision. What a tower says about the place of a token is a table of its own."""

    def __init__(self):
        super().__init__()
        self.parts = (CLASSES, 1, len(COLOURS), BINS)
        self.table = nn.Parameter(torch.randn(CELLS * SHUFFLE * SHUFFLE, sum(self.parts), TEXT["width"]) * 0.25)
        self.place = nn.Parameter(torch.randn(IMAGE_TOKENS, TEXT["width"]) * 0.25)

    def codes(self, batch):
        """One-hot codes [B * 144, cells of a token, classes + begin + colours + bins]."""
        def split(a):
            a = a.view(len(a), SIDE, SHUFFLE, SIDE, SHUFFLE * CELLS).permute(0, 1, 3, 2, 4)
            return a.reshape(len(a) * IMAGE_TOKENS, -1).long()

        seg, beg, col = (split(batch[k]) for k in ("seg", "beg", "col"))
        seg = seg.masked_fill(seg == IGNORE, 0)
        code = torch.zeros(*seg.shape, sum(self.parts), device=seg.device)
        code.scatter_(2, seg[..., None], (seg > 0).float()[..., None])
        code[..., CLASSES] = beg.float()
        code.scatter_(2, (CLASSES + 1 + col.clamp_max(len(COLOURS) - 1))[..., None], (col != IGNORE).float()[..., None])
        frac = batch["frac"].repeat_interleave(IMAGE_TOKENS)[:, None].expand_as(seg)
        bins = CLASSES + 1 + len(COLOURS) + (frac * BINS).long().clamp(0, BINS - 1)
        code.scatter_(2, bins[..., None], ((seg == NEEDLE) | (seg == HUB)).float()[..., None])
        return code

    def forward(self, batch):
        """Labels -> [B, 144, width of the text model]."""
        code = self.codes(batch).flatten(1).to(self.table.dtype)
        return (code @ self.table.flatten(0, 1)).view(-1, IMAGE_TOKENS, TEXT["width"]) + self.place


class Findings(nn.Module):
    """What the decoder knows where it was shown a thing: its column and row among the image tokens, and of how many things it is shown.
    A head that looks at the right token may bring back its name and leave its place behind; this asks for the place."""

    def __init__(self):
        super().__init__()
        self.parts = (SIDE, SIDE, MOST + 1)
        self.layers = nn.ModuleList(nn.Linear(TEXT["width"], sum(self.parts)) for _ in GUIDED)

    def forward(self, states, told):
        """states: of each guided layer [n, T, d]; told [k, 4] as group() makes it. Returns the mean loss of a position."""
        row, at, token, number = told.unbind(1)
        one = token != NONE
        answers = (token % SIDE, token.div(SIDE, rounding_mode="floor"))
        targets = [a.masked_fill(~one, NONE) for a in answers] + [number.clamp(max=MOST)]
        loss = 0.0
        for layer, x in zip(self.layers, states):
            x = F.rms_norm(x[row, at], x.shape[-1:])
            for logits, target in zip(layer(x).float().split(self.parts, -1), targets):
                if (target != NONE).any():
                    loss = loss + F.cross_entropy(logits, target, ignore_index=NONE)
        return loss / len(self.layers)
