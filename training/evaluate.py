"""Measures the exported model and prints the table: python evaluate.py [--model ../models/onsight-nano] [--n 200] [--threads 1].
Writes evaluation.md, evaluation.json and curve.png beside this file, and the table of the model's card. tesseract reads the same pictures, at the better of two sizes."""
import argparse
import concurrent.futures
import hashlib
import io
import json
import os
import random
import subprocess
import time

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from export import SHIPPED, ask, plain
from onsight_nano import foreign
from onsight_nano.data import prompts
from onsight_nano.data.plain import plain as nothing
from onsight_nano.heldout import samples
from onsight_nano.metrics import cer, gauge_ok
from onsight_nano.preprocess import tile
from onsight_nano.quick import answers

HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = f"{HERE}/runs/tesseract.json"


def tesseract(im, scale):
    """Text that tesseract 5 finds in the picture enlarged `scale` times."""
    data = io.BytesIO()
    im.resize((im.width * scale, im.height * scale), Image.Resampling.BICUBIC).save(data, "PNG")
    env = {**os.environ, "OMP_THREAD_LIMIT": "1"}
    out = subprocess.run(["tesseract", "-", "-", "--psm", "6", "-l", "eng"], input=data.getvalue(), capture_output=True, check=False, env=env).stdout
    return "\n".join(x for x in (line.strip() for line in out.decode("utf8", "replace").split("\n")) if x)


def tesseract_cer(pictures, truth, workers):
    """Error rate of tesseract at the better of scale 1 and 3. Kept in a file, since the pictures are always the same."""
    key = hashlib.md5(b"".join(im.tobytes() for im in pictures)).hexdigest()
    known = {}
    if os.path.exists(CACHE):
        with open(CACHE, encoding="utf8") as f:
            known = json.load(f)
    if key not in known:
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            known[key] = [cer(list(zip(pool.map(lambda im, s=scale: tesseract(im, s), pictures), truth))) for scale in (1, 3)]
        os.makedirs(os.path.dirname(CACHE), exist_ok=True)
        with open(CACHE, "w", encoding="utf8") as f:
            json.dump(known, f)
    return min(known[key])


def reading_sets(n):
    """{name: [(picture of any size, text)]}"""
    sets = {f"{k} line{'s' * (k > 1)}, noisy": [(Image.fromarray(s["image"]), s["answer"]) for s in samples(f"read{k}", n, 11)] for k in (1, 2, 3)}
    sets["browser crops"] = foreign.crops()
    sets["screenshots and scans"] = foreign.screens()
    sets["matplotlib labels"] = foreign.labels()
    return sets


def as_samples(pairs, question):
    return [dict(image=np.asarray(tile(im)), question=question, answer=t) for im, t in pairs]


BARS = {  # name: (goal, bar) as the table words them, and the bar as a function of tesseract's figure
    "1 line, noisy": ("<= tesseract", "<= 1.5 x tesseract", lambda t: 1.5 * t),
    "2 lines, noisy": ("<= tesseract", "<= 1.5 x tesseract", lambda t: 1.5 * t),
    "3 lines, noisy": ("<= tesseract", "<= 1.5 x tesseract", lambda t: 1.5 * t),
    "browser crops": ("<= 2%", "<= 8%", lambda t: 0.08),
    "screenshots and scans": ("<= 2 x tesseract", "reported", None),
    "matplotlib labels": ("<= 2 x tesseract", "reported", None),
}


def figure(name, n, value, goal="", bar="reported", met=None, **more):
    """One row of the table; printed as it comes."""
    row = dict(name=name, n=n, value=value, goal=goal, bar=bar, met=met, **more)
    print(json.dumps(row), flush=True)
    return row


def measure(model, n, workers, tess=True):
    """All figures: a list of rows {name, value, tesseract, goal, bar, met} and examples."""
    rows, examples = [], {}
    for name, pairs in reading_sets(n).items():
        s, truth = as_samples(pairs, "Read the text."), [t for _, t in pairs]
        a = answers(model, s)
        value, t = cer(list(zip(a, truth))), tesseract_cer([im for im, _ in pairs], truth, workers) if tess else None
        goal, bar, limit = BARS[name]
        met = None if limit is None or t is None else value <= limit(t)
        exact = float(np.mean([x == y for x, y in zip(a, truth)]))
        rows.append(figure(f"CER, {name}", len(s), value, goal, bar, met, tesseract=t, exact=exact))
        examples[name] = [dict(answer=x, truth=y) for x, y in list(zip(a, truth))[:8]]
    s = samples("scene", 2 * n, 11)
    a = answers(model, s)
    by = {}
    for x, y in zip(a, s):
        by.setdefault(y["kind"][6:], []).append(x == y["answer"])
    value = float(np.mean([x for v in by.values() for x in v]))
    kinds = {k: round(float(np.mean(v)), 3) for k, v in sorted(by.items())}
    rows.append(figure("scene questions", len(s), value, ">= 97%", ">= 88%", value >= 0.88, by=kinds))
    s = samples("gauge", n, 11)
    a = answers(model, s)
    value = float(np.mean([gauge_ok(x, y) for x, y in zip(a, s)]))
    rows.append(figure("gauges within 5% of full scale", len(s), value, ">= 90%", ">= 65%", value >= 0.65))
    examples["gauges"] = [dict(answer=x, truth=y["answer"], full=y["full"]) for x, y in list(zip(a, s))[:8]]
    rows += extra(model, n, examples)
    return rows, examples


def extra(model, n, examples):
    """What no bar asks for: other wordings, and pictures that are none of the model's kinds."""
    r = random.Random(5)
    s = [{**x, "question": prompts.ask(r, prompts.READ)} for x in samples("read1", n, 11)]
    a = answers(model, s)
    rows = [figure("CER, 1 line, noisy, asked in many wordings", n, cer([(x, y["answer"]) for x, y in zip(a, s)]))]
    s = [nothing(r)[0] for _ in range(n)]
    a = answers(model, s)
    rows.append(figure("pictures of nothing, answered as they should", n, float(np.mean([x == y["answer"] for x, y in zip(a, s)]))))
    examples["nothing"] = [dict(question=y["question"], answer=x, truth=y["answer"]) for x, y in list(zip(a, s))[:6]]
    return rows


def spot_check(folder, model, k=4):
    """How many of k answers transformers gives word for word."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    hf, proc = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32), AutoProcessor.from_pretrained(folder, use_fast=False)
    pairs = [(Image.fromarray(s["image"]), s["question"]) for s in samples("read2", k // 2, 11) + samples("scene", k - k // 2, 11)]
    mine = answers(model, [dict(image=np.asarray(tile(im)), question=q) for im, q in pairs])
    return sum(ask(hf, proc, im, q) == m for (im, q), m in zip(pairs, mine)), k


def curve(path, log):
    """Draws the learning curve from the training log."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    if not os.path.exists(log):
        return
    with open(log, encoding="utf8") as f:
        points = [json.loads(x) for x in f]
    fig, ax = pyplot.subplots(figsize=(8, 4.5))
    shares = {"cells": "character cells named (training)", "held_cells": "the same, held-out fonts", "scene": "scene questions", "gauge": "gauges within 5%"}
    for key, label in shares.items():
        xy = [(p["min"], p[key]) for p in points if p.get(key) is not None]
        if xy:
            ax.plot(*zip(*xy), label=label, marker="." if key != "cells" else None)
    for key, label in (("read1", "1 - CER, one line"), ("read3", "1 - CER, three lines")):
        xy = [(p["min"], 1 - min(1, p[key])) for p in points if key in p]
        if xy:
            ax.plot(*zip(*xy), label=label, marker="o")
    ax.set(xlabel="minutes of training on one CPU thread", ylabel="share", ylim=(0, 1))
    ax.legend(fontsize=8)
    ax.grid(alpha=0.3)
    fig.tight_layout()
    fig.savefig(path, dpi=80)


def shown(row, key):
    return "" if row.get(key) is None else f"{100 * row[key]:.1f}%"


def table(rows):
    lines = ["| measured | pictures | onsight-nano | tesseract 5 | goal | at least | met |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        met = {None: "", True: "yes", False: "no"}[row["met"]]
        lines.append(f"| {row['name']} | {row['n']} | {shown(row, 'value')} | {shown(row, 'tesseract')} | {row['goal']} | {row['bar']} | {met} |")
    return "\n".join(lines)


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--model", default=SHIPPED)
    ap.add_argument("--n", type=int, default=200, help="pictures a set of the generator's")
    ap.add_argument("--threads", type=int, default=1)
    ap.add_argument("--out", default=HERE, help="folder of evaluation.md, evaluation.json and curve.png")
    a = ap.parse_args()
    torch.set_num_threads(a.threads)
    start = time.time()
    model = plain(load_file(f"{a.model}/model.safetensors"))
    rows, examples = measure(model, a.n, a.threads)
    report(a.model, a.out, model, rows, examples, time.time() - start)


def write_card(card, text, note):
    """Puts the table into the model's card, between its marks."""
    with open(card, encoding="utf8") as f:
        before, begin, rest = f.read().partition("<!-- measured -->\n")
    _, end, after = rest.partition("<!-- /measured -->\n")
    with open(card, "w", encoding="utf8") as f:
        f.write(f"{before}{begin}{text}\n\n{note}\n{end}{after}")


def report(folder, out, model, rows, examples, seconds):
    """Writes evaluation.md, evaluation.json and curve.png, and the table of the model's card."""
    same, asked = spot_check(folder, model)
    with open(f"{HERE}/checkpoint/state.json", encoding="utf8") as f:
        state = json.load(f)
    curve(f"{out}/curve.png", f"{HERE}/curve.jsonl")
    text = table(rows)
    note = (f"Measured on {time.strftime('%Y-%m-%d')} after {state['pictures']} pictures and {state['minutes']:.0f} minutes of training on one CPU thread; "
            f"transformers gave the same answer in {same} of {asked} spot checks. The evaluation took {seconds:.0f} s.")
    by = next(row["by"] for row in rows if "by" in row)
    with open(f"{out}/evaluation.md", "w", encoding="utf8") as f:
        kinds = ", ".join(f"{k} {100 * v:.0f}%" for k, v in by.items())
        f.write(f"# onsight-nano, measured\n\n{note}\n\n{text}\n\nScene questions by kind: {kinds}.\n\n![learning curve](curve.png)\n")
    write_card(f"{folder}/README.md", text, note)
    with open(f"{out}/evaluation.json", "w", encoding="utf8") as f:
        json.dump(dict(rows=rows, examples=examples, state=state, note=note), f, indent=1)
        f.write("\n")
    print(text, note, sep="\n")


if __name__ == "__main__":
    main()
