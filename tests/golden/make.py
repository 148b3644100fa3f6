"""Writes the goldens that golden_test.cc reads: tiny checkpoints, and what transformers computes from them.

    .venv/bin/python tests/golden/make.py          (rewrites tests/golden/*/; transformers and torch as in scripts/requirements.txt)

Each folder holds model/ (a checkpoint), pictures, and case.json with the prompt, the greedy answer and the names of the tensors
beside it. pixels.npy holds the 8-bit tiles [tiles, 3, T, T]; logits.npy only the last positions; layers are whole.
"""
import json
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "parity"))
from make_checkpoint import Spec, write  # noqa: E402
from pictures import draw  # noqa: E402
from reference import Reference, Turn  # noqa: E402

import numpy as np  # noqa: E402

LOGIT_POSITIONS = 6
SMALL = {"merges": 40, "row_col_tokens": 3, "spare_vocabulary": 3}

# name -> (spec, prompt, picture sizes)
CASES = {
    # A picture in tiles; bf16, untied, published layout; 5 query heads to 1 key head.
    "tiles": (
        Spec(seed=41, dtype="bfloat16", vision_width=24, vision_heads=3, vision_inner=34, image_size=24, patch=6, scale=2,
             width=40, heads=5, kv_heads=1, head_dim=8, layers=3, inner=52, theta=100000.0, longest_edge=72, **SMALL),
        "What is in this picture?", [(60, 34)],
    ),
    # Idefics3 as transformers 5 saves it; f16, tied, in shards; no tokens for rows and columns; patches with a remainder.
    "idefics3": (
        Spec(seed=42, architecture="Idefics3", layout="saved", dtype="float16", shards=2, tied=True, vision_width=28, vision_heads=2,
             vision_inner=45, vision_layers=1, image_size=29, patch=9, scale=3, width=40, heads=4, kv_heads=2, head_dim=16, layers=2,
             inner=52, theta=130000.0, longest_edge=58, resample=3, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
             **(SMALL | {"row_col_tokens": 0})),
        "Which one: {image}, or none?", [(24, 50)],
    ),
    # One tile for each picture; f32; positions other than patches; biases and scaled rotary angles.
    "single": (
        Spec(seed=45, layout="saved", vision_width=24, vision_heads=2, vision_inner=32, image_size=40, tile=32, patch=8, scale=2,
             width=28, heads=2, kv_heads=2, head_dim=18, layers=2, inner=40, attention_bias=True, mlp_bias=True, splitting=False,
             longest_edge=48, rope={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                    "original_max_position_embeddings": 32}, **SMALL),
        "Describe this image.", [(50, 90)],
    ),
    # No picture at all.
    "text": (
        Spec(seed=44, dtype="bfloat16", tied=True, vision_width=16, vision_heads=1, vision_inner=20, vision_layers=1, image_size=16,
             patch=8, width=48, heads=6, kv_heads=3, head_dim=8, layers=3, inner=50, longest_edge=32, **SMALL),
        "Hello, what is 2 + 14?\n\nÄöü 你好 🙂", [],
    ),
}  # fmt: skip


def make(name, spec, prompt, sizes):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    write(spec, folder / "model")
    pictures = [draw(folder / f"picture{i}.png", *size, seed=spec.seed + i) for i, size in enumerate(sizes)]
    answer = Reference(folder / "model").run([Turn("user", prompt, pictures)])
    assert answer.margin > 1e-3, f"{name}: the answer hangs on rounding, choose another seed"
    tensors = dict(answer.tensors)
    tensors["logits"] = tensors["logits"][-LOGIT_POSITIONS:]
    if "pixel_values" in tensors:
        mean, std = (np.asarray(v).reshape(3, 1, 1) for v in (spec.mean, spec.std))
        tensors["pixels"] = np.rint((tensors.pop("pixel_values") * std + mean) * 255).astype(np.uint8)
    for key, value in tensors.items():
        np.save(folder / f"{key}.npy", np.ascontiguousarray(value))
    case = {
        "prompt": prompt, "pictures": [p.name for p in pictures], "text": answer.text, "tokens": answer.tokens,
        "mean": list(spec.mean), "std": list(spec.std), "tensors": sorted(tensors),
    }  # fmt: skip
    (folder / "case.json").write_text(json.dumps(case, indent=1, ensure_ascii=False) + "\n")
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    print(f"{name}: {size / 1000:.0f} kB, {len(answer.tensors['input_ids'])} tokens, margin {answer.margin:.1e}: {answer.text[:50]!r}")
    assert size <= 300_000


if __name__ == "__main__":
    for wanted in sys.argv[1:] or CASES:
        make(wanted, *CASES[wanted])
