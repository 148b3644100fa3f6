"""What `onsight export` writes, loaded by the programs that it is for.

    ONSIGHT_BUILD=build pytest tests/parity/test_export.py
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
from reference import Reference, Turn, relative_error
from test_gguf import arrays as widened
from test_model import ONSIGHT, ROOT, onsight

sys.path.insert(0, str(ROOT / "tests" / "cli"))
from gguf_files import convert, write_pair  # noqa: E402

NANO = ROOT / "models" / "onsight-nano"


def export(source, folder, kind, *options):
    subprocess.run([ONSIGHT, "export", source, folder, "--to", kind, *options], check=True)
    return folder


def trace(model, turns, out):
    onsight("trace", model, turns, "--out", out)
    return {path.stem: np.load(path) for path in out.glob("*.npy")}


@pytest.fixture
def turns(tmp_path):
    return [Turn("user", "What 12 is this? Äöü", [draw(tmp_path / "picture.png", 90, 50, 7)])]


@pytest.mark.parametrize("spec", [Spec(seed=1, dtype="float16"), Spec(seed=2, tied=True, attention_bias=True, splitting=True)], ids=["f16", "tied, biased"])
def test_gguf_files_for_transformers(tmp_path, turns, spec):
    """The folder that is made of GGUF files loads, and gives the ids, pixels and logits that onsight computes of the files."""
    pair = write_pair(tmp_path / "gguf", write(spec, tmp_path / "source"))
    want = Reference(export(pair, tmp_path / "folder", "safetensors")).run(turns, max_tokens=1).tensors
    got = trace(pair, turns, tmp_path / "trace")
    assert got["input_ids"].tolist() == want["input_ids"].tolist()
    assert np.abs(got["pixel_values"] - want["pixel_values"]).max() <= 1e-6
    assert relative_error(got["logits"], want["logits"]) <= 1e-3


# --- GGUF --------------------------------------------------------------------------------------------------------------------------

# A checkpoint whose widths whole blocks divide, and with the filter that GGUF readers take for granted.
WIDE = dict(vision_width=64, vision_heads=2, vision_inner=96, image_size=32, patch=8, width=64, heads=2, kv_heads=1, inner=128, longest_edge=128)
GGUF = {
    "published": Spec(seed=1, **WIDE),
    "tied, scaled, biased": Spec(seed=2, tied=True, attention_bias=True, mlp_bias=True, rope={"rope_type": "linear", "factor": 2.5}, layout="saved", **WIDE),
    "heads of their own width": Spec(seed=3, **{**WIDE, "heads": 3, "head_dim": 10, "width": 42}, dtype="bfloat16"),
    "without row and column tokens": Spec(seed=4, **WIDE, dtype="float16", row_col_tokens=0, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
}


def gguf_pair(folder):
    text, projector = sorted(folder.glob("*.gguf"), key=lambda path: path.name.startswith("mmproj"))
    return text, projector


def read_gguf(path):
    """-> (metadata, {name: (type, array)}) as the gguf package reads them."""
    reader = gguf.GGUFReader(path)
    return {key: field.contents() for key, field in reader.fields.items()}, {t.name: (t.tensor_type, t.data) for t in reader.tensors}


@pytest.mark.parametrize("spec", GGUF.values(), ids=GGUF)
@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "q8_0"])
def test_gguf_as_the_package_has_it(tmp_path, spec, dtype):
    """Names, values and every number: those of another converter, rounded as the package rounds."""
    source = write(spec, tmp_path / "source")
    kind = {"f32": Type.F32, "f16": Type.F16, "bf16": Type.BF16, "q8_0": Type.Q8_0}[dtype]
    for path, part in zip(gguf_pair(export(source, tmp_path / "out", "gguf", "--dtype", dtype)), convert(source)):
        metadata, tensors = read_gguf(path)
        for key, value in part["metadata"].items():
            if key == "tokenizer.ggml.eos_token_id":  # of several, the one that the tokenizer calls so
                value = metadata["tokenizer.ggml.tokens"].index("<end_of_utterance>")
            is_real = isinstance(value, float) or (isinstance(value, list) and isinstance(value[0], float))
            assert metadata[key] == (pytest.approx(value, rel=1e-6) if is_real else value), key
        arrays = widened(part)
        assert tensors.keys() == arrays.keys()
        for name, want in arrays.items():
            got_kind, got = tensors[name]
            is_matrix = want.ndim == 2 and "position" not in name
            plain = is_matrix and (kind != Type.Q8_0 or (want.shape[1] % 32 == 0 and not path.name.startswith("mmproj")))
            expected = (kind if plain else Type.F16) if is_matrix else Type.F32
            assert got_kind == expected, name
            if expected == Type.BF16:
                want = (want.view(np.uint32) & 0xFFFF0000).view(np.float32) if spec.dtype == "bfloat16" else want
                got = gguf.quants.dequantize(got, kind)
                assert np.abs(got - want).max() <= np.abs(want).max() / 256, name
            elif expected == Type.F32:
                assert np.array_equal(got.reshape(want.shape), want), name
            else:
                assert np.array_equal(got.reshape(-1), gguf.quants.quantize(want, expected).reshape(-1)), name


@pytest.mark.parametrize("spec", GGUF.values(), ids=GGUF)
def test_gguf_answers_as_the_folder(tmp_path, turns, spec):
    """Read by onsight, against transformers with the folder."""
    source = write(spec, tmp_path / "source")
    want = Reference(source).run(turns, max_tokens=1).tensors
    got = trace(export(source, tmp_path / "out", "gguf", "--dtype", "f32"), turns, tmp_path / "trace")
    assert got["input_ids"].tolist() == want["input_ids"].tolist()
    assert relative_error(got["logits"], want["logits"]) <= 1e-3


def llama(*arguments, lines=()):
    """llama.cpp's own word, from a process of its own."""
    done = subprocess.run([sys.executable, ROOT / "tests/parity/llama.py", *arguments], input="".join(json.dumps(line) + "\n" for line in lines), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("spec", [*GGUF.values(), NANO], ids=[*GGUF, "onsight-nano"])
def test_llama_cpp_says_the_same(tmp_path, spec):
    """The ids of a prompt, and the greedy answer in f16, as far as the choice is clear: llama.cpp rounds inputs to f16 too."""
    source = spec if spec == NANO else write(spec, tmp_path / "source")
    text, _ = gguf_pair(export(source, tmp_path / "out", "gguf"))
    questions = ["What is this?", "Hello, what is 2 + 14?\n\nÄöü 你好 🙂  <b>x</b>", "describe the picture, and read the text"]
    prompts = [f"<|im_start|>User: {question}<end_of_utterance>\nAssistant:" for question in questions]
    clear = 0
    for question, said in zip(questions, llama("answers", text, "32", lines=prompts)):
        answer = json.loads(onsight("ask", text, [Turn("user", question)], "--json", "--max-tokens", "32"))["text"]
        assert said["prompt"] == trace(text, [Turn("user", question)], tmp_path / "trace")["input_ids"].tolist()
        unclear = next((i for i, lead in enumerate(said["leads"]) if lead < 0.02), len(said["leads"]))
        clear += unclear
        decoded = subprocess.run([ONSIGHT, "tokenize", "--decode", "--model", text], input=json.dumps(said["tokens"][:unclear]) + "\n",
                                 check=True, capture_output=True, text=True).stdout  # fmt: skip
        assert answer.lstrip().startswith(json.loads(decoded).lstrip().rstrip("\ufffd")), (question, answer, said)
    assert clear >= 20, clear


@pytest.mark.parametrize("spec", [*GGUF.values(), NANO], ids=[*GGUF, "onsight-nano"])
@pytest.mark.parametrize("size", [(128, 128), (90, 50), (32, 32)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_llama_cpp_sees_the_same(tmp_path, spec, size):
    """The features of every tile. Where the longest edge is one tile, llama.cpp shows it twice."""
    source = spec if spec == NANO else write(spec, tmp_path / "source")
    text, projector = gguf_pair(export(source, tmp_path / "out", "gguf"))
    picture = draw(tmp_path / "picture.png", *size, 5)
    llama("features", text, projector, picture, tmp_path / "features.npy")
    want = trace(source, [Turn("user", "Hi", [picture])], tmp_path / "trace")["image_features"]
    got = np.load(tmp_path / "features.npy")
    if spec == NANO:
        want = np.concatenate([want, want])
    assert got.shape == want.shape
    assert np.linalg.norm(got - want) <= 5e-3 * np.linalg.norm(want)
