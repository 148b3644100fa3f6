"""GGUF against llama.cpp's own Python package: files that it wrote, and numbers that it dequantised, to the last bit.

    ONSIGHT_BUILD=build pytest tests/parity/test_gguf.py
"""
import json
import subprocess
import sys

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type

from make_checkpoint import Spec, write
from pictures import draw
from reference import Turn, relative_error
from test_model import ONSIGHT, ROOT, onsight

sys.path.insert(0, str(ROOT / "tests" / "cli"))
from gguf_files import convert, write_gguf  # noqa: E402


def arrays(part):
    """The tensors of convert() as float32."""
    widen = {0: lambda raw: np.frombuffer(raw, np.float32), 1: lambda raw: np.frombuffer(raw, np.float16).astype(np.float32),
             30: lambda raw: (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32)}  # fmt: skip
    return {name: widen[kind](raw).reshape(shape) for name, (kind, shape, raw) in part["tensors"].items()}


def write_with_package(path, part, tensors):
    """`tensors`: name -> (bytes or numbers as the package wants them, type or None)."""
    metadata = dict(part["metadata"])
    writer = gguf.GGUFWriter(path, metadata.pop("general.architecture"))
    for key, value in metadata.items():
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        else:
            writer.add_array(key, value)
    for name, (array, kind) in tensors.items():
        writer.add_tensor(name, array, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def pair(folder, part_of, store):
    """Two pairs: one whose tensors `store` made, and one of the same numbers, dequantised by the package, in F32."""
    stored, plain = folder / "stored", folder / "plain"
    for name, part in zip(("model.gguf", "mmproj.gguf"), part_of):
        tensors = {key: store(key, array) for key, array in arrays(part).items()}
        for target in (stored, plain):
            target.mkdir(parents=True, exist_ok=True)
        write_with_package(stored / name, part, tensors)
        wide = {key: (gguf.quants.dequantize(array, kind) if kind is not None else array.astype(np.float32)) for key, (array, kind) in tensors.items()}
        write_gguf(plain / name, part["metadata"], {key: (0, list(a.shape), np.ascontiguousarray(a).tobytes()) for key, a in wide.items()})
    return stored, plain


def weight_types(model):
    return json.loads(subprocess.run([ONSIGHT, "inspect", "--json", model], check=True, capture_output=True).stdout)["weight_types"]


def trace(model, turns, out):
    onsight("trace", model, turns, "--out", out)
    return {path.stem: np.load(path) for path in out.glob("*.npy")}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Widths that blocks of 32 divide, for most of the tensors."""
    return write(Spec(seed=3, vision_width=64, vision_heads=2, vision_inner=96, image_size=32, patch=8, width=64, heads=2, kv_heads=1, inner=128,
                      splitting=True, longest_edge=128), tmp_path_factory.mktemp("source"))  # fmt: skip


@pytest.fixture
def turns(tmp_path):
    return [Turn("user", "What 12 is this? Äöü", [draw(tmp_path / "picture.png", 90, 50, 7)])]


@pytest.mark.parametrize("kind", [Type.F32, Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1], ids=lambda kind: kind.name)
def test_blocks_equal_the_package(source, tmp_path, turns, kind):
    """A model of blocks computes exactly what one of the dequantised numbers in F32 does."""

    def store(name, array):
        fits = array.ndim == 2 and array.shape[-1] % 32 == 0
        if kind == Type.F16:
            return (array.astype(np.float16), None) if array.ndim > 1 else (array, None)
        return (gguf.quants.quantize(array, kind), kind) if fits and kind != Type.F32 else (array, None)

    stored, plain = pair(tmp_path, convert(source), store)
    assert kind.name.lower() in weight_types(stored)
    got, want = trace(stored, turns, tmp_path / "a"), trace(plain, turns, tmp_path / "b")
    assert sorted(got) == sorted(want)
    for name in got:
        tolerance = 1e-6 if kind == Type.BF16 else 0  # bf16 has a kernel of its own
        assert np.abs(got[name].astype(np.float64) - want[name]).max() <= tolerance * np.abs(want[name]).max(), name


@pytest.mark.parametrize("kind", [Type.Q4_K, Type.Q5_K, Type.Q6_K], ids=lambda kind: kind.name)
def test_blocks_of_256(tmp_path, turns, kind):
    """The package reads these and does not write them: blocks of random bits, in the matrix that is as wide."""
    source = write(Spec(seed=4, vision_width=64, vision_heads=2, vision_inner=64, image_size=32, patch=8, width=64, heads=2, kv_heads=1, inner=256,
                        splitting=False, longest_edge=32), tmp_path / "source")  # fmt: skip
    rng = np.random.default_rng(1)
    size = gguf.GGML_QUANT_SIZES[kind][1]

    def store(name, array):
        if not name.endswith("ffn_down.weight") or array.shape[-1] % 256:
            return array, None
        blocks = rng.integers(0, 256, (array.shape[0], array.shape[1] // 256 * size), np.uint8)
        for row in blocks.reshape(-1, size):  # scales that are numbers, and small
            for at in (208,) if kind == Type.Q6_K else (0, 2):
                row[at : at + 2] = np.float16(rng.uniform(1e-4, 1e-3)).reshape(1).view(np.uint8)
        return blocks, kind

    stored, plain = pair(tmp_path, convert(source), store)
    assert kind.name.lower() in weight_types(stored)
    got, want = trace(stored, turns, tmp_path / "a"), trace(plain, turns, tmp_path / "b")
    for name in got:
        assert np.array_equal(got[name], want[name]), name


FOLDERS = {
    "plain": Spec(seed=1, dtype="float16"),
    "tied, scaled, biased": Spec(seed=2, tied=True, attention_bias=True, mlp_bias=True, rope={"rope_type": "linear", "factor": 2.5}, dtype="float16"),
    "heads of their own width": Spec(seed=3, heads=3, kv_heads=1, head_dim=10, width=42, dtype="float16", layout="saved", theta=130000.0, eps=1e-6),
    "without row and column tokens": Spec(seed=4, dtype="float16", row_col_tokens=0, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), spare_vocabulary=30),
}


@pytest.mark.parametrize("spec", FOLDERS.values(), ids=FOLDERS)
def test_the_folder_in_f16(tmp_path, turns, spec):
    """Against the folder, whose numbers f16 holds exactly: all that differs is the order of sums."""
    source = write(spec, tmp_path / "source")
    for name, part in zip(("model.gguf", "mmproj.gguf"), convert(source)):
        write_with_package(tmp_path / name, part, {key: (a.astype(np.float16) if a.ndim > 1 else a, None) for key, a in arrays(part).items()})
    got, want = trace(tmp_path / "model.gguf", turns, tmp_path / "a"), trace(source, turns, tmp_path / "b")
    assert got["input_ids"].tolist() == want["input_ids"].tolist()
    assert np.array_equal(got["pixel_values"], want["pixel_values"])
    assert relative_error(got["logits"], want["logits"]) <= 1e-5
