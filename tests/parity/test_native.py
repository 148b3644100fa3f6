"""A native file is a safetensors file: the reference's own reader opens it and finds what was put in."""
import json
import subprocess

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file

from test_model import ONSIGHT, ROOT

SOURCE = ROOT / "tests" / "golden" / "idefics3" / "model"


def test_the_reference_reads_it(tmp_path):
    target = tmp_path / "m.onsight"
    subprocess.run([ONSIGHT, "convert", SOURCE, target, "--quant", "f32"], check=True)
    tensors = load_file(target)
    with safe_open(target, "np") as file:
        about = file.metadata()
    assert about["format"] == "onsight" and about["quantisation.text"] == "f32"
    for name in ("config.json", "tokenizer.json"):
        assert tensors["files/" + name].tobytes() == (SOURCE / name).read_bytes()
    norm = "model.text_model.norm.weight"
    for shard in SOURCE.glob("*.safetensors"):
        with safe_open(shard, "pt") as source:
            for name in source.keys():
                want = source.get_tensor(name).float().numpy()
                if name in about:  # panels of 32 outputs, inputs outermost
                    want = want.reshape(len(want), -1)
                    panels = tensors[name].view(np.float32).reshape(-1, want.shape[1], 32)
                    assert np.array_equal(panels.transpose(0, 2, 1).reshape(-1, want.shape[1])[: len(want)], want), name
                else:
                    assert np.array_equal(tensors[name].astype(np.float32), want), name
    assert norm in tensors


def test_its_list_in_the_formats_that_answer(tmp_path):
    target = tmp_path / "m.onsight"
    subprocess.run([ONSIGHT, "convert", SOURCE, target, "--quant", "q8"], check=True)
    raw = target.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    about = header.pop("__metadata__")
    with safe_open(target, "np") as file:
        assert file.metadata() == about and set(file.keys()) == set(header)
