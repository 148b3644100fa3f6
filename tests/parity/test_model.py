"""build/onsight against transformers: the same ids, pixels, features, logits and greedy text on seeded random checkpoints.

    ONSIGHT_BUILD=build pytest tests/parity/test_model.py
    ONSIGHT_PARITY_SEEDS=100 pytest ...        (more checkpoints)
    ONSIGHT_PARITY_MODEL=models/onsight-nano pytest ...      (a checkpoint of one's own)
"""
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from make_checkpoint import Spec, varied, write
from pictures import draw
from reference import Reference, Turn, relative_error

ROOT = Path(__file__).resolve().parents[2]
ONSIGHT = Path(os.environ.get("ONSIGHT_BUILD", ROOT / "build")).resolve() / "onsight"
SEEDS = range(int(os.environ.get("ONSIGHT_PARITY_SEEDS", "24")))
TOLERANCE = 1e-3
# Below this lead over the next token (in standard deviations of the logits) rounding alone may choose the other one.
TIE = 1e-5

SIZES = [(70, 33), (33, 90), (1, 1), (200, 17), (64, 64), (9, 150), (150, 149), (31, 32)]


def onsight(verb, folder, turns, *options):
    *before, question = turns
    assert all(turn.role == "system" for turn in before) and len(before) <= 1
    command = [ONSIGHT, verb, "--model", folder, *options]
    for turn in before:
        command += ["--system", turn.text]
    for path in question.images:
        command += ["--image", path]
    done = subprocess.run([*map(str, command), "--", question.text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def conversations(seed, folder):
    """No picture, one, and several; sizes and places go round with the seed."""

    def picture(i):
        width, height = SIZES[(seed + i) % len(SIZES)]
        return draw(folder / f"picture{i}.png", width, height, seed * 10 + i)

    few = [picture(i) for i in range(4)]
    return {
        "text": [Turn("user", "Hello, what is 2 + 14?\n\nÄöü 你好 🙂  <b>x</b>")],
        "one picture": [Turn("user", "Describe this image.", few[:1])],
        "two pictures": [Turn("user", "Compare these.", few[1:3])],
        "pictures in the text": [Turn("user", "First {image}\nthen {image} and {image}, which?", few[:3])],
        "system": [Turn("system", "Be brief."), Turn("user", "{image}What is in this picture?", few[3:])],
    }


def check_pixels(got, want, folder):
    """Equal as the 8-bit values they come from, and as numbers but for the last bit."""
    path = folder / "preprocessor_config.json"
    config = json.loads(path.read_text()) if path.exists() else json.loads((folder / "processor_config.json").read_text())["image_processor"]
    mean, std = (np.asarray(config[key]).reshape(3, 1, 1) for key in ("image_mean", "image_std"))

    def to_8_bit(values):
        return np.rint((values * std + mean) / config["rescale_factor"]).astype(np.int64)

    assert got.shape == want.shape
    assert (to_8_bit(got) != to_8_bit(want)).sum() == 0
    assert np.abs(got - want).max() <= 1e-6


def check(folder, reference, turns, tmp_path, max_tokens=64):
    want = reference.run(turns, max_tokens)
    onsight("trace", folder, turns, "--out", tmp_path / "trace")
    got = {path.stem: np.load(path) for path in (tmp_path / "trace").glob("*.npy")}
    assert sorted(got) == sorted(want.tensors)
    assert got["input_ids"].tolist() == want.tensors["input_ids"].tolist()
    if "pixel_values" in got:
        check_pixels(got["pixel_values"], want.tensors["pixel_values"], folder)
    for name in sorted(got):
        assert got[name].shape == want.tensors[name].shape, name
        assert relative_error(got[name], want.tensors[name]) <= TOLERANCE, name
    reply = json.loads(onsight("ask", folder, turns, "--json", "--max-tokens", str(max_tokens)))
    assert reply["prompt_tokens"] == len(got["input_ids"])
    assert want.margin > TIE, "a tie in the reference: choose another seed"
    assert reply["text"] == want.text.removeprefix(" ")  # the space after "Assistant:" is not printed
    assert reply["completion_tokens"] == len(want.tokens)
    assert reply["finish_reason"] == ("stop" if want.ended else "length")
    return max(relative_error(got[name], want.tensors[name]) for name in got)  # for a table of one's own


@pytest.fixture(scope="module", params=SEEDS, ids=lambda seed: f"seed{seed}")
def checkpoint(request, tmp_path_factory):
    folder = write(varied(request.param), tmp_path_factory.mktemp(f"seed{request.param}"))
    assert sum(path.stat().st_size for path in folder.iterdir()) < 2 << 20
    return request.param, folder, Reference(folder)


@pytest.mark.parametrize("kind", ["text", "one picture", "two pictures", "pictures in the text", "system"])
def test_random_checkpoint(checkpoint, kind, tmp_path):
    seed, folder, reference = checkpoint
    check(folder, reference, conversations(seed, tmp_path)[kind], tmp_path)


def test_an_end_token_ends_the_answer(tmp_path):
    """The end of utterance is the most likely token soon: the reference stops there, and so must the answer."""
    spec = Spec(seed=5)
    folder = write(spec, tmp_path / "model")
    reference = Reference(folder)
    turns = [Turn("user", "Hello")]
    likely = reference.run(turns, 8).tokens[5]
    path = folder / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token_id": [2, likely]}))
    reference = Reference(folder)
    assert reference.run(turns, 8).ended
    check(folder, reference, turns, tmp_path)


@pytest.mark.skipif("ONSIGHT_PARITY_MODEL" not in os.environ and not (ROOT / "models/onsight-nano").exists(), reason="no model")
@pytest.mark.parametrize("kind", ["text", "one picture", "two pictures"])
def test_shipped_model(kind, tmp_path):
    folder = Path(os.environ.get("ONSIGHT_PARITY_MODEL", ROOT / "models/onsight-nano"))
    if not (folder / "model.safetensors").exists() and not (folder / "model.safetensors.index.json").exists():
        pytest.skip("the weights are not there")
    check(folder, Reference(folder), conversations(1, tmp_path)[kind], tmp_path)


def test_saved_by_transformers(tmp_path):
    """A folder that transformers itself wrote, in shards."""
    first = Reference(write(varied(6), tmp_path / "first"))
    folder = tmp_path / "second"
    first.model.save_pretrained(folder, max_shard_size="200KB")
    first.processor.save_pretrained(folder)
    assert (folder / "model.safetensors.index.json").exists() and not (folder / "preprocessor_config.json").exists()
    check(folder, Reference(folder), conversations(6, tmp_path)["two pictures"], tmp_path)
