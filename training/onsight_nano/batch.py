"""From samples to tensors, and the answer loss."""
import numpy as np
import torch
from torch.nn import functional as F

from .config import BOS, EOU, FAKE, GLOBAL, IMAGE, IMAGE_TOKENS, PAD, SIDE

HEAD = [BOS, *b"User:", FAKE, GLOBAL]
FIRST = len(HEAD)  # position of the first image token
AFTER = FIRST + IMAGE_TOKENS  # position of the first token after the image
GUIDED = (1, 2)  # decoder layers whose first head is shown where the next character stands
NONE = -100


def prompt_ids(question):
    """Exactly what the processor makes of the chat template with one picture."""
    return HEAD + [IMAGE] * IMAGE_TOKENS + [FAKE] + list(question.encode()) + [EOU] + list(b"\nAssistant:")


def row(s):
    """One sample -> (input ids, labels, image token of the next byte, weight), all of one length."""
    prompt, answer = prompt_ids(s["question"]), [32, *s["answer"].encode(), EOU]
    at = s["at"] if s["at"] and len(s["at"]) == len(answer) - 2 else [None] * (len(answer) - 2)
    where = [NONE if c is None else int(c[1] * SIDE) * SIDE + int(c[0] * SIDE) for c in at]
    skip = [NONE] * (len(prompt) - 1)
    weight = 2.0 if s["kind"].startswith(("scene", "gauge")) and len(answer) < 12 else 1.0
    return prompt + answer[:-1], skip + answer, skip + [NONE, *where, NONE], weight


def collate(pictures, answered=None):
    """pictures: lists of samples that share a picture. The first `answered` pictures (all by default) get text rows, in two groups of
    similar length; all get the dense labels."""
    first = [p[0] for p in pictures]
    out = {k: torch.from_numpy(np.stack([s[k] for s in first])) for k in ("seg", "beg", "col")}
    if all(s["image"] is not None for s in first):
        out["image"] = torch.from_numpy(np.stack([s["image"] for s in first]))
    out["frac"] = torch.tensor([float(s["frac"]) for s in first])
    rows = [(*row(s), n) for n, p in enumerate(pictures[:answered]) for s in p]
    rows.sort(key=lambda x: len(x[0]))
    cut = len(rows) * 3 // 5
    out["text"] = [group(g) for g in (rows[:cut], rows[cut:]) if g]
    return out


def group(rows):
    """Rows -> what follows the image, padded: ids, labels, at [n, T] and weight, picture [n]; T is a multiple of 8."""
    t = -(-(len(rows[-1][0]) - AFTER) // 8) * 8

    def pad(i, value):
        return torch.tensor([(x[i][AFTER:] + [value] * t)[:t] for x in rows])

    return dict(ids=pad(0, PAD), labels=pad(1, NONE), at=pad(2, NONE), weight=torch.tensor([x[3] for x in rows]), picture=torch.tensor([x[4] for x in rows]))


def answer_loss(model, tokens, groups):
    """tokens [pictures, 144, d]. Returns ({"text": weighted loss a byte, "guide": attention loss}, {"read": plain loss a byte of long
    answers, "short": that of short ones})."""
    embed = model.model.text_model.embed_tokens
    head = embed(torch.tensor(HEAD, device=tokens.device)).expand(len(tokens), -1, -1)
    states, probes = model.prompts(torch.cat((head, tokens), 1), [(embed(g["ids"]), g["picture"]) for g in groups], GUIDED)
    num = den = guide = pointed = 0.0
    parts = {}
    for n, (g, x) in enumerate(zip(groups, states)):
        has = g["labels"] != NONE
        ce = F.cross_entropy(model.lm_head(x[has]).float(), g["labels"][has], reduction="none")
        w = g["weight"][:, None].expand_as(has)[has]
        num, den = num + (ce * w).sum(), den + w.sum()
        look = g["at"] != NONE
        for seen in probes:
            q, k = seen[n]
            scores = (q @ k[:, FIRST:].transpose(1, 2))[look].float() * q.shape[-1] ** -0.5
            guide = guide + F.cross_entropy(scores, g["at"][look], reduction="sum")
        pointed += len(probes) * int(look.sum())
        for name, rows in (("read", w == 1), ("short", w != 1)):
            if rows.any():
                a = parts.setdefault(name, [0.0, 0])
                a[0] += ce[rows].detach().sum().item()
                a[1] += int(rows.sum())
    return {"text": num / den, "guide": guide / max(1, pointed)}, {k: a / n for k, (a, n) in parts.items()}
