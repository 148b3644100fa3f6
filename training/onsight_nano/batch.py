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
    """One sample -> (input ids, labels, where to look, weight, whether it is a scene); the first two of one length, where: [(position,
    image tokens)]."""
    prompt, answer = prompt_ids(s["question"]), [32, *s["answer"].encode(), EOU]
    asked = s["asked"] or [None] * len(s["question"])  # one a byte: questions are ASCII
    at = s["at"] if s["at"] and len(s["at"]) == len(answer) - 2 else [None] * (len(answer) - 2)
    look = [(AFTER + 1 + i, c) for i, c in enumerate(asked) if c] + [(len(prompt) + i, c) for i, c in enumerate(at) if c]
    where = [(i, [min(SIDE - 1, int(y * SIDE)) * SIDE + min(SIDE - 1, int(x * SIDE)) for x, y in c]) for i, c in look]
    skip = [NONE] * (len(prompt) - 1)
    weight = 2.0 if s["kind"].startswith(("scene", "gauge")) and len(answer) < 12 else 1.0
    return prompt + answer[:-1], skip + answer, where, weight, s["kind"].startswith("scene")


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
    """Rows -> what follows the image, padded: ids, labels [n, T] and weight, picture [n]; T is a multiple of 8. Where to look: at [m, 3] with
    (row, position, image token) and share [m], the part of its position's attention that the token is to get. What is known there: told
    [k, 4] with (row, position, image token if it is one alone or NONE, number of things if it is a scene or NONE)."""
    t = -(-(len(rows[-1][0]) - AFTER) // 8) * 8

    def pad(i, value):
        return torch.tensor([(x[i][AFTER:] + [value] * t)[:t] for x in rows])

    at = [(n, i - AFTER, token, 1 / len(c)) for n, x in enumerate(rows) for i, c in x[2] for token in c]
    told = [(n, i - AFTER, c[0] if len(c) == 1 else NONE, len(c) if x[4] else NONE) for n, x in enumerate(rows) for i, c in x[2]]
    return dict(
        ids=pad(0, PAD), labels=pad(1, NONE), weight=torch.tensor([x[3] for x in rows]), picture=torch.tensor([x[5] for x in rows]),
        at=torch.tensor([x[:3] for x in at], dtype=torch.long).view(-1, 3), share=torch.tensor([x[3] for x in at], dtype=torch.float),
        told=torch.tensor(told, dtype=torch.long).view(-1, 4),
    )  # fmt: skip


def answer_loss(model, tokens, groups, findings):
    """tokens [pictures, 144, d]. Returns ({"text": weighted loss a byte, "guide": attention loss, "found": loss of `findings`}, {"read":
    plain loss a byte of long answers, "short": that of short ones})."""
    embed = model.model.text_model.embed_tokens
    head = embed(torch.tensor(HEAD, device=tokens.device)).expand(len(tokens), -1, -1)
    states, probes = model.prompts(torch.cat((head, tokens), 1), [(embed(g["ids"]), g["picture"]) for g in groups], GUIDED)
    num = den = guide = pointed = found = 0.0
    parts = {}
    for n, (g, x) in enumerate(zip(groups, states)):
        has = g["labels"] != NONE
        ce = F.cross_entropy(model.lm_head(x[has]).float(), g["labels"][has], reduction="none")
        w = g["weight"][:, None].expand_as(has)[has]
        num, den = num + (ce * w).sum(), den + w.sum()
        row, place, token = g["at"].unbind(1)
        for seen in probes:
            q, k, _ = seen[n]
            scores = (q @ k[:, FIRST:].transpose(1, 2))[row, place].float() * q.shape[-1] ** -0.5
            guide = guide + (F.cross_entropy(scores, token, reduction="none") * g["share"]).sum()
        found = found + findings([seen[n][2] for seen in probes], g["told"])
        pointed += len(probes) * g["share"].sum().item()
        for name, rows in (("read", w == 1), ("short", w != 1)):
            if rows.any():
                a = parts.setdefault(name, [0.0, 0])
                a[0] += ce[rows].detach().sum().item()
                a[1] += int(rows.sum())
    return {"text": num / den, "guide": guide / max(1.0, pointed), "found": found / len(groups)}, {k: a / n for k, (a, n) in parts.items()}
