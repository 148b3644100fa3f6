"""What `onsight export --to mlx` writes, loaded by mlx-vlm on MLX for the CPU.

    ONSIGHT_BUILD=build pytest tests/parity_mlx

Not beside the other comparisons, in whose process it must not run: mlx-vlm puts processors of its own in the place of transformers'.
"""
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

sys.path.append(str(Path(__file__).resolve().parents[1] / "parity"))
from make_checkpoint import Spec, write  # noqa: E402
from pictures import draw  # noqa: E402
from reference import Turn, relative_error  # noqa: E402  (before mlx_vlm: it makes torchvision's operators known)
from test_export import NANO, export, trace  # noqa: E402
from test_model import ONSIGHT, ROOT, onsight  # noqa: E402

import mlx.core as mx  # noqa: E402
from mlx_vlm import generate  # noqa: E402
from mlx_vlm.utils import load, load_model  # noqa: E402

sys.path.insert(0, str(ROOT / "tests" / "cli"))
from gguf_files import write_pair  # noqa: E402

WIDE = dict(vision_width=64, vision_heads=2, vision_inner=96, image_size=32, patch=8, width=64, heads=2, kv_heads=1, inner=128, longest_edge=128)
SPECS = {
    "published": Spec(seed=1, **WIDE, theta=100000.0),
    "tied, as transformers 5 saves it": Spec(seed=2, **WIDE, tied=True, layout="saved", theta=130000.0, eps=1e-6),
    "Idefics3, bf16": Spec(seed=3, **WIDE, architecture="Idefics3", dtype="bfloat16", layout="saved"),
    "rows that no group divides": Spec(seed=4, **{**WIDE, "width": 72, "heads": 3, "kv_heads": 3}, dtype="float16"),
}


@pytest.fixture
def turns(tmp_path):
    return [Turn("user", "What 12 is this? Äöü", [draw(tmp_path / "picture.png", 90, 50, 7)])]


def logits(folder, inputs, whole=True):
    """What mlx-vlm computes in f32. `whole`: through its own preparation of positions, which is exact for a power of two of patches a side."""
    model = load_model(folder)
    model.set_dtype(mx.float32)
    ids, pixels = mx.array(inputs["input_ids"])[None], mx.array(inputs["pixel_values"])
    if whole:
        return np.array(model(ids, pixels[None]).logits[0])
    features = model.connector(model.vision_model(pixels.transpose(0, 2, 3, 1))[0])
    embeddings = model._prepare_inputs_for_multimodal(features.reshape(-1, features.shape[-1]), model.language_model.embed_tokens(ids), ids)
    return np.array(model.language_model(ids, inputs_embeds=embeddings).logits[0])


def dequantised(source, folder, out):
    """The source's folder with the numbers that the codes of the other one stand for."""
    shutil.copytree(source, out)
    config = json.loads((folder / "config.json").read_text())["quantization"]
    coded, plain = mx.load(str(folder / "model.safetensors")), {}
    for path in out.glob("*.safetensors"):
        plain |= load_file(path)
        path.unlink()
    for name in coded:
        if name.endswith(".scales"):
            base = name.removesuffix(".scales")
            wide = mx.dequantize(*(coded[f"{base}.{part}"].astype(mx.float32) if part != "weight" else coded[f"{base}.weight"] for part in ("weight", "scales", "biases")),
                                 group_size=config["group_size"], bits=config["bits"])  # fmt: skip
            plain[f"{base}.weight"] = torch.from_numpy(np.array(wide))
    (out / "model.safetensors.index.json").unlink(missing_ok=True)
    save_file({name: tensor.float().contiguous() for name, tensor in plain.items()}, out / "model.safetensors", metadata={"format": "pt"})
    return out


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_as_it_comes(tmp_path, turns, spec):
    source = write(spec, tmp_path / "source")
    want = trace(source, turns, tmp_path / "trace")
    got = logits(export(source, tmp_path / "out", "mlx", "--bits", "none"), want)
    assert relative_error(got, want["logits"]) <= 1e-3


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("bits, group", [(4, 64), (4, 32), (8, 64), (8, 128)])
def test_in_codes(tmp_path, turns, spec, bits, group):
    """mlx-vlm computes with the codes what onsight computes with the numbers that they stand for."""
    source = write(spec, tmp_path / "source")
    folder = export(source, tmp_path / "out", "mlx", *([] if (bits, group) == (4, 64) else ["--bits", str(bits), "--group-size", str(group)]))
    assert json.loads((folder / "config.json").read_text())["quantization"] == {"group_size": group, "bits": bits, "mode": "affine"}
    want = trace(dequantised(source, folder, tmp_path / "dequantised"), turns, tmp_path / "trace")
    assert relative_error(logits(folder, want), want["logits"]) <= 1e-3


@pytest.mark.parametrize("bits, group", [(4, 64), (4, 32), (8, 64)])
def test_codes_are_as_good_as_theirs(tmp_path, bits, group):
    """The same names in codes, and the numbers no farther from the source's than those that MLX itself would choose."""
    folder = export(NANO, tmp_path / "out", "mlx", "--bits", str(bits), "--group-size", str(group))
    ours, source = mx.load(str(folder / "model.safetensors")), mx.load(str(NANO / "model.safetensors"))
    coded = {name.removesuffix(".scales") for name in ours if name.endswith(".scales")}
    assert coded == {name.removesuffix(".weight") for name, w in source.items() if w.ndim == 2 and w.shape[1] % group == 0
                     and name.startswith(("model.text_model", "lm_head"))}  # fmt: skip
    for base in coded:
        want = source[f"{base}.weight"].astype(mx.float32)

        def error(codes, scales, biases):
            wide = mx.dequantize(codes, scales.astype(mx.float32), biases.astype(mx.float32), group_size=group, bits=bits)
            return mx.linalg.norm(wide - want).item()

        mine = [ours[f"{base}.{part}"] for part in ("weight", "scales", "biases")]
        theirs = mx.quantize(source[f"{base}.weight"], group_size=group, bits=bits)
        assert [(a.shape, a.dtype) for a in mine] == [(a.shape, a.dtype) for a in theirs], base
        assert error(*mine) <= 1.01 * error(*theirs), base


@pytest.mark.parametrize("bits", ["none", "8", "4"])
def test_the_model_that_ships(tmp_path, bits):
    """Its tiles have 24 patches a side, for which mlx-vlm 0.7.10 rounds some positions to their neighbours: the tower without its preparation."""
    turns = [Turn("user", "Read the text.", [ROOT / "examples" / "receipt.jpg"])]
    folder = export(NANO, tmp_path / "out", "mlx", "--bits", bits)
    model = NANO if bits == "none" else dequantised(NANO, folder, tmp_path / "dequantised")
    want = trace(model, turns, tmp_path / "trace")
    assert relative_error(logits(folder, want, whole=False), want["logits"]) <= 1e-3


def test_through_other_files(tmp_path, turns):
    """Of a native file and of GGUF files the same numbers as of the folder that they were made from."""
    source = write(Spec(seed=1, **WIDE), tmp_path / "source")
    want = (export(source, tmp_path / "out", "mlx") / "model.safetensors").read_bytes()
    subprocess.run([ONSIGHT, "convert", source, tmp_path / "m.onsight", "--quant", "none"], check=True)
    assert (export(tmp_path / "m.onsight", tmp_path / "native", "mlx") / "model.safetensors").read_bytes() == want
    pair = export(write_pair(tmp_path / "gguf", source), tmp_path / "pair", "mlx")
    assert (pair / "model.safetensors").read_bytes() == want
    got = trace(source, turns, tmp_path / "trace")
    assert np.array_equal(logits(pair, got), logits(tmp_path / "out", got))


@pytest.mark.parametrize("spec", [*SPECS.values(), NANO], ids=[*SPECS, "onsight-nano"])
def test_its_processor(tmp_path, turns, spec):
    """The ids and pixels that mlx-vlm makes of a conversation."""
    source = spec if spec == NANO else write(spec, tmp_path / "source")
    _, processor = load(export(source, tmp_path / "out", "mlx"))
    want = trace(source, turns, tmp_path / "trace")
    text = f"<|im_start|>User:<image>{turns[0].text}<end_of_utterance>\nAssistant:"
    got = processor(text=text, images=[Image.open(turns[0].images[0])])
    assert np.array(got["input_ids"])[0].tolist() == want["input_ids"].tolist()
    assert np.abs(np.array(got["pixel_values"])[0] - want["pixel_values"]).max() <= 1e-6


def test_it_talks(tmp_path):
    """All of mlx-vlm: the shipped model's answer to a text."""
    model, processor = load(export(NANO, tmp_path / "out", "mlx", "--bits", "none"))
    want = json.loads(onsight("ask", NANO, [Turn("user", "What is this?")], "--json", "--max-tokens", "40"))
    prompt = "<|im_start|>User: What is this?<end_of_utterance>\nAssistant:"
    got = generate(model, processor, prompt, max_tokens=40, temperature=0.0, verbose=False)
    assert got.text.strip() == want["text"] != "" and got.prompt_tokens == want["prompt_tokens"]
