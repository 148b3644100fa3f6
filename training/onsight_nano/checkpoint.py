"""The training checkpoint: bf16 weights of the model and of the training-only modules, and where the run stands. Nothing else is needed to
go on: momentum rebuilds itself during the warm-up."""
import json
import os

import torch
from safetensors.torch import load_file, save_file

FRESH = {"seed": 1, "stage": "see", "phase": 0, "batches": {"see": 0, "talk": 0, "join": 0}, "pictures": 0, "minutes": 0.0}
MODULES = ("heads.", "symbols.", "findings.")  # prefixes of what does not ship


def save(folder, weights, state):
    """weights: {name: tensor}. Whole files only: written beside, then moved."""
    os.makedirs(folder, exist_ok=True)
    save_file({k: v.to(torch.bfloat16).contiguous() for k, v in weights.items()}, f"{folder}/weights.tmp", {"format": "pt"})
    with open(f"{folder}/state.tmp", "w", encoding="utf8") as f:
        json.dump(state, f, indent=1)
    os.replace(f"{folder}/weights.tmp", f"{folder}/weights.safetensors")
    os.replace(f"{folder}/state.tmp", f"{folder}/state.json")


def load(folder):
    """(weights, state); (None, a fresh state) where there is none."""
    if not os.path.exists(f"{folder}/state.json"):
        return None, json.loads(json.dumps(FRESH))
    with open(f"{folder}/state.json", encoding="utf8") as f:
        state = json.load(f)
    return load_file(f"{folder}/weights.safetensors"), state


def shipped(weights):
    """The part of a checkpoint that is the model itself."""
    return {k: v for k, v in weights.items() if not k.startswith(MODULES)}
