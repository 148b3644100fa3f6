#!/usr/bin/env python3
"""What quantisation costs in onsight and in llama.cpp: each against its own floats, on the same checkpoint, picture and token ids.

    bench/peers/run_fidelity.py --preset 256m --tokenizer tokenizer.json

Relative error of a picture's features; mean Kullback-Leibler divergence and same first choice of the next token at every position of a text
(the licence of this project, as the question of a chat). Checkpoint and environment are those of run.py.
Writes bench/results/fidelity-peers-PRESET.json.
"""
import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import run as peers

sys.path.insert(0, str(peers.HERE.parent))
import fidelity

TEXT = (peers.ROOT / "LICENSE").read_text()[:2400]
LLAMA = (("llama.cpp, q8_0", "q8_0", ()), ("llama.cpp, q4_0", "q4_0", ()), ("llama.cpp, q4_0, embeddings as stored", "q4_0", ("keep",)))


def row(name, exact, other, features=None):
    result = {"name": name, "features": features, **fidelity.means(*fidelity.divergences(exact, other))}
    peers.say(f"{name:40} {fidelity.shown(result)}" + (f"  features {100 * features:.2f} %" if features else ""))
    return result


def measure_onsight(args, checkpoint, picture, ids):
    """Rows of q8 and q4. The token ids of the text are left in the file `ids`."""

    def logits(quantisation):
        with tempfile.TemporaryDirectory() as out:
            fidelity.run(args.onsight, "trace", checkpoint, "--out", out, "--quant", quantisation, TEXT)
            np.save(ids, np.load(Path(out) / "input_ids.npy"))
            return np.load(Path(out) / "logits.npy")

    def features(quantisation):
        return fidelity.trace(args.onsight, checkpoint, f"--quant {quantisation}", "--image", picture, "x")["image_features"]

    exact, error = logits("none"), fidelity.features_error(features("none"), features("q8"))
    return [row(f"onsight, {quantisation}", exact, logits(quantisation), error) for quantisation in ("q8", "q4")]  # q4 has its tower in q8


def measure_llama(args, checkpoint, picture, ids, folder):
    python, log, out = peers.environment("llama", args), args.work / "fidelity-llama.log", Path(folder) / "out.npy"

    def made(verb, *arguments):
        peers.run([python, peers.HERE / "llama_trace.py", verb, *arguments, out], log, args.limit)
        return np.load(out)

    stored = checkpoint / "text-f16.gguf"
    towers = [made("features", stored, checkpoint / f"mmproj-{kind}.gguf", picture) for kind in ("f16", "q8_0")]
    error, exact, rows = fidelity.features_error(*towers), made("logits", stored, ids), []
    for name, kind, keep in LLAMA:
        text = Path(folder) / f"{kind}{''.join(keep)}.gguf"
        peers.run([python, peers.HERE / "llama_trace.py", "quantise", stored, text, kind, *keep], log, args.limit)
        rows.append(row(name, exact, made("logits", text, ids), error if kind == "q8_0" else None))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=["tiny", "256m", "500m", "2.2b"], default="256m")
    parser.add_argument("--limit", type=int, default=3600, help="seconds for one step")
    parser.add_argument("--jobs", type=int, default=1, help="of the build of llama.cpp")
    parser.add_argument("--onsight", type=Path, default=peers.ROOT / "build" / "onsight")
    parser.add_argument("--checkpoint", type=Path, help="a folder as bench/peers/checkpoint.py writes it, with its GGUF files")
    parser.add_argument("--tokenizer", type=Path, help="tokenizer.json for a random checkpoint")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "peers")
    parser.add_argument("--venvs", type=Path, default=Path(tempfile.gettempdir()) / "peers-venvs")
    args = parser.parse_args()
    for folder in (args.work, args.venvs):
        os.makedirs(folder, exist_ok=True)
    try:
        checkpoint, picture = peers.inputs(args)
        with tempfile.TemporaryDirectory() as folder:
            ids = Path(folder) / "ids.npy"
            rows = measure_onsight(args, checkpoint, picture, ids)
            rows += measure_llama(args, checkpoint, picture, ids, folder)
    except peers.NotMeasured as error:
        sys.exit(f"not measured: {error}")
    fidelity.write(f"peers-{args.preset}", {"preset": args.preset, "rows": rows})


if __name__ == "__main__":
    main()
