#!/usr/bin/env python3
"""What quantisation costs in faithfulness: onsight in codes against onsight in floats.

    bench/fidelity.py picture --model FOLDER [--image PICTURE] [--name NAME] [-- "--quant q8" "--quant q4" ...]
    bench/fidelity.py nano [--model FOLDER] [--pictures 80] [--asked 200]

picture: relative error of the image features, and the mean Kullback-Leibler divergence of the next-token distributions over the positions of
the prompt, on one picture. nano: the same of the model that ships, over --pictures held-out ones of each kind (reading, scene, gauge) and the
examples, each with the floats' own greedy answer after the prompt; the positions that choose a token of the answer are counted apart, since of
those inside a picture no model was ever asked what comes next. Then what it does to the answers: error rates over --asked pictures of each set,
which need the fonts of training/setup.sh. Writes bench/results/fidelity-NAME.json.
"""
import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
DEFAULT = ("--quant q8", "--quant q8 --kv q8", "--quant q8 --vision-quant none", "--quant none --vision-quant q8", "--quant q4", "--quant q4 --vision-quant none")
EXACT = "--quant none"
FORMATS = ("none", "q8", "q4")  # of the answers


def bar(done, total, what, start):
    """Progress on standard error, where somebody looks at it."""
    if not sys.stderr.isatty():
        return
    width, seconds = 30, time.monotonic() - start
    left = f", {seconds / done * (total - done):.0f} s left" if done else ""
    print(f"\r{what} [{'#' * (width * done // total):{width}}] {done}/{total}{left}\x1b[K", end="\n" if done == total else "", file=sys.stderr)


def each(body, items, what):
    """[body(item)], as many at once as there are cores."""
    start, out = time.monotonic(), []
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for result in pool.map(body, items):
            out.append(result)
            bar(len(out), len(items), what, start)
    return out


def run(onsight, verb, model, *arguments):
    done = subprocess.run([onsight, verb, "--model", model, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"onsight {verb}: {done.stderr}")
    return done.stdout


def trace(onsight, model, options, *question):
    """{tensor: array} of one forward pass."""
    with tempfile.TemporaryDirectory() as out:
        run(onsight, "trace", model, "--out", out, *shlex.split(options), *question)
        return {path.stem: np.load(path) for path in Path(out).glob("*.npy") if path.stem in ("image_features", "logits")}


def log_softmax(x):
    x = x.astype(np.float64)
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def divergences(exact, other):
    """Of each position the divergence, and whether the most probable token is the same."""
    a, b = log_softmax(exact), log_softmax(other)
    return (np.exp(a) * (a - b)).sum(-1), a.argmax(-1) == b.argmax(-1)


def features_error(exact, other):
    return float(np.linalg.norm(exact - other) / np.linalg.norm(exact))


def means(kl, same):
    return {"kl": float(kl.mean()), "top1": float(same.mean()), "positions": len(kl)}


def shown(row):
    return f"KL {row['kl']:.5f}  top-1 {100 * row['top1']:.2f} %"


def write(name, results):
    out = ROOT / "bench" / "results" / f"fidelity-{name}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(results, indent=1) + "\n")


def one_picture(args):
    """picture: one picture, all positions of the prompt."""
    question = ("--image", args.image, "Describe the image.")
    exact = trace(args.onsight, args.model, EXACT, *question)
    rows = []
    for options in args.options or DEFAULT:
        other = trace(args.onsight, args.model, options, *question)
        row = {"options": options, "features": features_error(exact["image_features"], other["image_features"])}
        row |= means(*divergences(exact["logits"], other["logits"]))
        print(f"{options:34} features {100 * row['features']:.2f} %  {shown(row)}", file=sys.stderr)
        rows.append(row)
    name = args.name or Path(args.model).resolve().name
    write(name, {"model": name, "image": Path(args.image).name, "rows": rows})


def held_out(kind, n, folder):
    """n held-out samples of training/, each with the file that holds its picture."""
    sys.path.insert(0, str(ROOT / "training"))
    from onsight_nano.heldout import samples
    from PIL import Image

    out = []
    for i, sample in enumerate(samples(kind, n, 11)):
        file = Path(folder) / f"{kind}-{i}.png"
        if not file.exists():
            Image.fromarray(sample["image"]).save(file)
        out.append({"file": file, **{key: sample.get(key) for key in ("question", "answer", "full")}})
    return out


def ask(args, sample, quantisation):
    options = ("--quant", quantisation, "--threads", 1, "--max-tokens", 110, "--json")
    return json.loads(run(args.onsight, "ask", args.model, *options, "--image", sample["file"], sample["question"]))


def measure_traces(args, pictures):
    """Rows {options, features, answer: {kl, top1, positions}, all: likewise}."""

    def one(sample):
        reply = ask(args, sample, "none")
        question = ("--threads", 1, "--image", sample["file"], sample["question"], "--answer", reply["text"])
        exact = trace(args.onsight, args.model, EXACT, *question)
        out = []
        for options in args.options or DEFAULT:
            other = trace(args.onsight, args.model, options, *question)
            features = [float((x.astype(np.float64) ** 2).sum()) for x in (exact["image_features"] - other["image_features"], exact["image_features"])]
            out.append((features, reply["prompt_tokens"] - 1, *divergences(exact["logits"], other["logits"])))
        return out

    rows = []
    for options, found in zip(args.options or DEFAULT, zip(*each(one, pictures, "traces"))):
        error, size = np.sum([features for features, *_ in found], axis=0)
        row = {"options": options, "features": float(np.sqrt(error / size))}
        for name, part in (("answer", lambda values, first: values[first:]), ("all", lambda values, _: values)):
            row[name] = means(*(np.concatenate([part(sample[i], sample[1]) for sample in found]) for i in (2, 3)))
        print(f"{options:34} features {100 * row['features']:.2f} %  answer: {shown(row['answer'])}  all: {shown(row['all'])}", file=sys.stderr)
        rows.append(row)
    return rows


def measure_answers(args, sets):
    """Rows {name, n, figures: {format: value}, drops: {format: how much worse}, errors: {format: standard error of the drop}}.

    Each picture is answered in every format, so that the error is that of the differences and not of the figures.
    """
    from onsight_nano.metrics import distance, gauge_ok

    asked = [(sample, quantisation) for samples in sets.values() for sample in samples for quantisation in FORMATS]
    replies = iter(each(lambda one: ask(args, *one)["text"].strip(), asked, "answers"))
    rows, texts = [], {}
    for name, samples in sets.items():
        given = [{quantisation: next(replies) for quantisation in FORMATS} for _ in samples]
        for quantisation in FORMATS:
            texts.setdefault(quantisation, []).extend(answers[quantisation] for answers in given)
        if name.startswith("read"):
            weight, score = 1 / sum(len(s["answer"]) for s in samples), lambda a, s: distance(a, s["answer"])
        else:
            weight, score = -1 / len(samples), gauge_ok if name == "gauge" else lambda a, s: a == s["answer"]
        scores = {q: np.array([score(answers[q], s) for answers, s in zip(given, samples)], float) for q in FORMATS}
        worse = {q: weight * (scores[q] - scores["none"]) for q in FORMATS[1:]}
        row = {
            "name": name, "n": len(samples), "figures": {q: float(abs(weight) * scores[q].sum()) for q in FORMATS},
            "drops": {q: float(w.sum()) for q, w in worse.items()}, "errors": {q: float(w.std() * len(w) ** 0.5) for q, w in worse.items()},
        }  # fmt: skip
        print(name, *(f"{q} {100 * v:.2f} %" for q, v in row["figures"].items()), file=sys.stderr)
        rows.append(row)
    same = {q: float(np.mean([a == b for a, b in zip(texts[q], texts["none"])])) for q in FORMATS[1:]}
    return rows, same


def shipped(args):
    """nano: the model that ships, over many pictures."""
    with tempfile.TemporaryDirectory() as folder:
        examples = json.loads((ROOT / "examples" / "answers.json").read_text())
        pictures = [{"file": ROOT / "examples" / e["picture"], "question": e["question"]} for e in examples]
        lines = [f"read{1 + i % 3}" for i in range(args.pictures)]
        for kind in (*(f"read{k}" for k in (1, 2, 3)), "scene", "gauge"):
            pictures += held_out(kind, lines.count(kind) if kind in lines else args.pictures, folder)
        results = {"model": args.name, "pictures": len(pictures), "rows": measure_traces(args, pictures)}
        if args.asked:
            sets = {kind: held_out(kind, args.asked, folder) for kind in ("read1", "read2", "read3", "scene", "gauge")}
            results["answers"], results["same_answers"] = measure_answers(args, sets)
        write(args.name, results)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    one, nano = verbs.add_parser("picture", help=one_picture.__doc__), verbs.add_parser("nano", help=shipped.__doc__)
    one.set_defaults(measure=one_picture)
    one.add_argument("--model", required=True, help="a checkpoint folder")
    one.add_argument("--image", default=str(ROOT / "examples" / "receipt.jpg"))
    one.add_argument("--name", help="of the results (default: the folder's)")
    nano.set_defaults(measure=shipped)
    nano.add_argument("--model", default=str(ROOT / "models" / "onsight-nano"))
    nano.add_argument("--name", default="nano")
    nano.add_argument("--pictures", type=int, default=80, help="traced, of each kind")
    nano.add_argument("--asked", type=int, default=200, help="of each set; 0: none")
    for verb in (one, nano):
        verb.add_argument("--onsight", default=str(ROOT / "build" / "onsight"))
        verb.add_argument("options", nargs="*", help="each one configuration, as ask takes it")
    args = parser.parse_args()
    args.measure(args)


if __name__ == "__main__":
    main()
