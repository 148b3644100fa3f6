#!/usr/bin/env python3
"""What quantisation costs in faithfulness: onsight in codes against onsight in floats, on the same picture and prompt.

    bench/fidelity.py --model FOLDER [--image PICTURE] [--name NAME] [-- "--quant q8" "--quant q4" ...]

Relative error of the image features, and the mean Kullback-Leibler divergence of the next-token distributions over the positions of the prompt
(teacher-forced, with pictures). Writes bench/results/fidelity-NAME.json.
"""
import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
DEFAULT = ("--quant q8", "--quant q8 --vision-quant none", "--quant none --vision-quant q8", "--quant q4", "--quant q4 --vision-quant none")


def trace(onsight, model, image, options, out):
    """{tensor: array} of one forward pass."""
    subprocess.run([onsight, "trace", "--out", out, "--model", model, "--image", image, *options, "Describe the image."],
                   check=True, stdout=subprocess.DEVNULL)  # fmt: skip
    return {name: np.load(Path(out) / f"{name}.npy") for name in ("image_features", "logits")}


def log_softmax(x):
    x = x.astype(np.float64)
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def compare(exact, other):
    """features: relative error; kl: mean divergence; top1: share of positions with the same most probable token."""
    a, b = log_softmax(exact["logits"]), log_softmax(other["logits"])
    f = exact["image_features"]
    return {
        "features": float(np.linalg.norm(f - other["image_features"]) / np.linalg.norm(f)),
        "kl": float((np.exp(a) * (a - b)).sum(-1).mean()),
        "top1": float((a.argmax(-1) == b.argmax(-1)).mean()),
        "positions": len(a),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a checkpoint folder")
    parser.add_argument("--image", default=str(ROOT / "examples" / "receipt.jpg"))
    parser.add_argument("--name", help="of the results (default: the folder's)")
    parser.add_argument("--onsight", default=str(ROOT / "build" / "onsight"))
    parser.add_argument("options", nargs="*", default=DEFAULT, help="each one configuration, as ask takes it")
    args = parser.parse_args()
    name = args.name or Path(args.model).resolve().name
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        exact = trace(args.onsight, args.model, args.image, ["--quant", "none"], folder)
        for options in args.options or DEFAULT:
            row = {"options": options, **compare(exact, trace(args.onsight, args.model, args.image, shlex.split(options), folder))}
            print(f"{options:34} features {100 * row['features']:.2f} %  KL {row['kl']:.5f}  top-1 {100 * row['top1']:.1f} %", file=sys.stderr)
            rows.append(row)
    out = ROOT / "bench" / "results" / f"fidelity-{name}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"model": name, "image": Path(args.image).name, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
