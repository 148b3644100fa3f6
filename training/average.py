"""The mean of the weights of several runs: python average.py --out DIR RUN...

RUN and DIR are folders of train.py, with weights.safetensors and state.json. Runs that were annealed on their own from one checkpoint, or one after
the other, lie in one basin, and their mean reads better than each ("model soups", Wortsman et al. 2022). The state is that of the last RUN.
"""
import argparse
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def average(runs):
    """The mean of tensors of the same names and shapes, taken in f32, in the types of the first. ValueError where they are not the same."""
    first, *others = runs
    total = {name: tensor.float() for name, tensor in first.items()}
    for other in others:
        if {name: tensor.shape for name, tensor in other.items()} != {name: tensor.shape for name, tensor in first.items()}:
            raise ValueError("expected runs of one model: the same tensors of the same shapes")
        for name, tensor in other.items():
            total[name] += tensor.float()
    return {name: (tensor / len(runs)).to(first[name].dtype) for name, tensor in total.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    try:
        weights = average([load_file(run / "weights.safetensors") for run in args.runs])
    except (OSError, ValueError) as error:
        sys.exit(f"average: {error}")
    args.out.mkdir(parents=True, exist_ok=True)
    part = args.out / "weights.safetensors.part"
    save_file(weights, part)
    part.replace(args.out / "weights.safetensors")
    shutil.copy(args.runs[-1] / "state.json", args.out)


if __name__ == "__main__":
    main()
