"""Trains onsight-nano: python train.py --minutes N [--stage see|talk|join]. Goes on from the checkpoint folder; writes the running
average of the weights, which is what ships, to runs/ema.

Three stages: `see` (vision tower on dense per-cell labels), `talk` (decoder on symbols made from labels), `join` (all on pictures)."""
import argparse
import copy
import json
import os
import random
import signal
import time

import numpy as np
import torch

from onsight_nano import checkpoint
from onsight_nano.batch import answer_loss
from onsight_nano.heads import DenseHeads, Findings, Symbols, dense_loss
from onsight_nano.mix import STAGES, Stream
from onsight_nano.model import NanoVLM, initialise
from onsight_nano.optim import Optimiser
from onsight_nano.quick import cells, quick

WEIGHT = {"seg": 1.0, "beg": 0.5, "col": 1.0, "frac": 1.0, "text": 1.0, "guide": 0.5, "found": 0.2}
LINK = 25  # batches that the connector, or the symbols, are solved on
PLACE_GAIN = 3.0  # the tower says where a token is in a seventh of what it says at all: too quietly for a question about places to be learnt
HERE = os.path.dirname(os.path.abspath(__file__))


class Nano(torch.nn.Module):
    """The model with the modules that exist in training only."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.vlm, self.heads, self.symbols = initialise(NanoVLM()), DenseHeads(), Symbols()
        self.findings = Findings()

    def names(self):
        """(name, parameter) with the model's own names as they ship."""
        return [(k.removeprefix("vlm."), p) for k, p in self.named_parameters()]


def to(batch, device):
    """A batch (nested dicts and lists of tensors) on the device."""
    if isinstance(batch, dict):
        return {k: to(v, device) for k, v in batch.items()}
    return [to(v, device) for v in batch] if isinstance(batch, list) else batch.to(device)


def see(nano, batch):
    losses, right = dense_loss(nano.heads, nano.vlm.vision(batch["image"]), batch)
    return losses, {"cells": right}


def talk(nano, batch):
    x = nano.symbols(batch)
    keep = torch.rand(x.shape[:2], device=x.device) > 0.03
    x = x * keep[..., None] + 0.35 * torch.rand(len(x), 1, 1, device=x.device) * torch.randn_like(x)  # what the tower will get wrong
    return answer_loss(nano.vlm, x.to(nano.symbols.table.dtype), batch["text"], nano.findings)


def join(nano, batch):
    h = nano.vlm.vision(batch["image"])
    losses, right = dense_loss(nano.heads, h, batch)
    more, parts = answer_loss(nano.vlm, nano.vlm.connect(h), batch["text"], nano.findings)
    return {**losses, **more}, {"cells": right, **parts}


def replay(nano, batch, kept, r):
    """For `join` with the tower at rest: yields the answer losses of this batch and then of an earlier one, whose features were kept."""
    n = 1 + max(int(g["picture"].max()) for g in batch["text"])
    with torch.no_grad():
        kept.append((nano.vlm.vision(batch["image"][:n]), batch["text"]))
    del kept[:-200]
    for h, text in (kept[-1], r.choice(kept)):
        yield answer_loss(nano.vlm, nano.vlm.connect(h), text, nano.findings)


STEP = {"see": see, "talk": talk, "join": join}


@torch.no_grad()
def link(nano, stream, target, batches=LINK):
    """Solves the connector by least squares: the tower's features of an image token -> what target(batch) [B, tokens, d] says of it: its
    symbol, or what another tower and connector made of it. Returns the relative error."""
    proj = nano.vlm.model.connector["modality_projection"]["proj"].weight
    a = torch.zeros(proj.shape[1], proj.shape[1], device=proj.device)
    b = torch.zeros(proj.shape[1], proj.shape[0], device=proj.device)
    for _ in range(batches):
        batch = next(stream)
        x = nano.vlm.shuffle(nano.vlm.vision(batch["image"])).flatten(0, 1).float()
        y = target(batch).flatten(0, 1).float()
        a, b = a + x.T @ x, b + x.T @ y
    w = torch.linalg.solve(a + a.diagonal().mean() * 1e-3 * torch.eye(len(a), device=a.device), b)
    proj.copy_(w.T)
    return ((x @ w - y).pow(2).mean() / y.pow(2).mean()).item()


@torch.no_grad()
def unlink(nano, stream, batches=4 * LINK, prior=4.0):
    """The other way: the symbols that come nearest to what the decoder is used to, by least squares from the codes and the place of an
    image token to its embedding through tower and connector; codes that are rarely seen stay near the old table. Returns the relative error."""
    codes, place = nano.symbols.table.flatten(0, 1), nano.symbols.place
    table = torch.cat((codes, place))
    a = prior * torch.eye(len(table), device=table.device)
    b = prior * table.float()
    for _ in range(batches):
        batch = next(stream)
        x = nano.symbols.codes(batch).flatten(1).float()
        x = torch.cat((x, torch.eye(len(place), device=x.device).repeat(len(x) // len(place), 1)), 1)
        y = nano.vlm.connect(nano.vlm.vision(batch["image"])).flatten(0, 1).float()
        a, b = a + x.T @ x, b + x.T @ y
    w = torch.linalg.solve(a, b)
    nano.symbols.table.copy_(w[: len(codes)].view_as(nano.symbols.table))
    nano.symbols.place.copy_(w[len(codes) :])
    return ((x @ w - y).pow(2).mean() / y.pow(2).mean()).item()


class Clock:
    """Minutes at work: a stop from outside, for a measurement or for the night, does not count."""

    def __init__(self, longest_step=20.0):
        self.minutes, self.last, self.longest = 0.0, time.time(), longest_step

    def tick(self):
        now = time.time()
        self.minutes, self.last = self.minutes + min(now - self.last, self.longest) / 60, now


def deaf(_):
    """Of the processes that draw: who is told to end is the one that trains, which then saves."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--minutes", type=float, required=True)
    ap.add_argument("--stage", choices=STAGES)
    ap.add_argument("--rate", type=float, default=1.0, help="share of the full learning rate")
    ap.add_argument("--decay", type=float, default=0.0, help="share of the time at the end in which the rate falls")
    ap.add_argument("--floor", type=float, default=0.02, help="share of the rate that is left at the end of the decay")
    ap.add_argument("--frozen", type=float, default=0.0, help="minutes at the start of `join` in which the tower rests and features are used twice")
    ap.add_argument("--checkpoint", default=f"{HERE}/checkpoint", help="read from here at the start")
    ap.add_argument("--tower", help="another checkpoint that the tower and its dense heads are taken from: `see` and `talk` can run side by side; `join` solves the connector anew")
    ap.add_argument("--out", default=f"{HERE}/runs/last", help="the latest weights")
    ap.add_argument("--ema", help="the running average of the weights (default: runs/NAME-ema, NAME being --out's)")
    ap.add_argument("--horizon", type=int, default=100, help="steps that the running average looks back")
    ap.add_argument("--threads", type=int, default=1)
    ap.add_argument("--workers", type=int, default=1, help="processes that draw")
    ap.add_argument("--log", default=f"{HERE}/runs/log.jsonl", help="one JSON object a line is appended here")
    a = ap.parse_args()
    a.ema = a.ema or f"{HERE}/runs/{os.path.basename(os.path.normpath(a.out))}-ema"
    torch.set_num_threads(a.threads)
    weights, state = checkpoint.load(a.checkpoint)
    stage = a.stage or state["stage"]
    linking = stage == "join" and state["stage"] != "join"
    unlinking = stage == "talk" and state["stage"] == "join"
    state["stage"] = stage
    nano = Nano(state["seed"])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    nano.to(device, torch.bfloat16)
    opt = Optimiser(nano.names(), horizon=a.horizon)
    before = None
    if weights:
        opt.load(weights)
        if a.tower:
            before = copy.deepcopy(nano)
            opt.load({k: w for k, w in checkpoint.load(a.tower)[0].items() if "vision_model" in k or k.startswith("heads.")})
    elif state["stage"] != "see":
        raise SystemExit(f"{a.checkpoint}: no checkpoint there, training starts with --stage see")
    log_file = open(a.log, "a", encoding="utf8")  # noqa: SIM115
    clock, began = Clock(), state["minutes"]

    def log(**what):
        what = {"min": round(began + clock.minutes, 2), "stage": stage, **what}
        print(" ".join(f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}" for k, v in what.items()), flush=True)
        log_file.write(json.dumps(what) + "\n")
        log_file.flush()

    phase = torch.full((1,), state["phase"]).share_memory_()
    if unlinking:
        seen = Stream("join", state["seed"], state["batches"]["join"], phase)
        log(unlink_error=unlink(nano, (to(b, device) for b in torch.utils.data.DataLoader(seen, batch_size=None, num_workers=a.workers))))
        state["batches"]["join"] += 4 * LINK
        with torch.no_grad():
            nano.symbols.place.mul_(PLACE_GAIN)
        opt.load({k: p for k, p in nano.names() if "symbols" in k})
        state["solved"] = True
    if stage == "talk" and state.get("solved"):
        nano.symbols.requires_grad_(False)  # they are what the tower says; only the decoder learns
    stream = Stream(stage, state["seed"], state["batches"][stage], phase)
    batches = (to(b, device) for b in torch.utils.data.DataLoader(stream, batch_size=None, num_workers=a.workers, prefetch_factor=4, worker_init_fn=deaf))
    if linking:
        log(link_error=link(nano, batches, nano.symbols))
        state["batches"][stage] += LINK
        opt.load({k: p for k, p in nano.names() if "connector" in k})
    elif before and stage == "join":
        log(link_error=link(nano, batches, lambda batch: before.vlm.connect(before.vlm.vision(batch["image"])), 2 * LINK))
        state["batches"][stage] += 2 * LINK
        opt.load({k: p for k, p in nano.names() if "connector" in k})
    del before
    log(parameters=sum(p.numel() for p in nano.vlm.parameters()), rate=a.rate, minutes=a.minutes)
    torch.manual_seed(state["seed"] + state["batches"][stage])
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))

    def keep():
        state.update(phase=int(phase), minutes=round(began + clock.minutes, 2))
        checkpoint.save(a.out, opt.master, state)
        checkpoint.save(a.ema, opt.ema, state)

    sums, kept, dice = {}, [], random.Random(state["batches"][stage])
    last_log = last_eval = time.time()
    while not stop and (done := clock.minutes / a.minutes) < 1:
        clock.tick()
        batch = next(batches)
        fall = 1.0 if not a.decay else max(a.floor, min(1.0, (1 - done) / a.decay))
        frozen = stage == "join" and done * a.minutes < a.frozen
        for losses, parts in replay(nano, batch, kept, dice) if frozen else [STEP[stage](nano, batch)]:
            sum(WEIGHT[k] * v for k, v in losses.items()).backward()
            norm = opt.step(a.rate * fall * min(1.0, (opt.steps + 1) / 40))
            for k, v in {**{k: v.detach() for k, v in losses.items()}, **parts, "norm": norm}.items():
                if v is not None:
                    sums.setdefault(k, []).append(float(v))
        state["batches"][stage] += 1
        state["pictures"] += len(batch["seg"]) if stage != "talk" else 0
        if opt.steps in (4, 20) or time.time() - last_log > 60:
            means = {k: float(np.mean(v)) for k, v in sums.items()}
            log(batch=state["batches"][stage], pictures=state["pictures"], fall=fall, **means)
            if stage == "see" and phase < 2 and means.get("cells", 0) > (0.6, 0.55)[int(phase)]:
                phase += 1
                log(phase=int(phase))
            sums, last_log = {}, time.time()
        if time.time() - last_eval > 600:
            keep()
            log(**evaluate(nano, opt, stage))
            last_eval = time.time()
    keep()
    log(end=1, **evaluate(nano, opt, stage))


def evaluate(nano, opt, stage):
    """Held-out figures of the running average (a small set; training/evaluate.py has the real table)."""
    random.seed(0)
    average = Nano(0)
    for k, p in average.names():
        p.data.copy_(opt.ema[k])
    average.bfloat16()
    with torch.no_grad():
        return {**(cells(average.vlm, average.heads) if stage != "talk" else {}), **(quick(average.vlm) if stage == "join" else {})}


if __name__ == "__main__":
    main()
