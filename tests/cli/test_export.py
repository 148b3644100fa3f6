"""Exports: folders that other programs read; all or nothing on disk, and what comes back is what went in."""
import json
import os
import shutil
import struct

import pytest

from checkpoints import change_json, read_safetensors
from conftest import NANO, ROOT, interrupted, without_privileges
from gguf_files import write_pair

GOLDEN = ROOT / "tests" / "golden"
TILES = GOLDEN / "tiles" / "model"
PICTURE = GOLDEN / "tiles" / "picture0.png"


@pytest.fixture
def export(onsight):
    def run(source, folder, kind, *options):
        done = onsight("export", source, folder, "--to", kind, *options)
        assert done.returncode == 0 and done.stdout == done.stderr == "", done.stderr
        return folder

    return run


@pytest.fixture
def native(onsight, tmp_path):
    """Of a folder, without rounding anything."""

    def run(source, *options):
        target = tmp_path / "native" / f"{source.parent.name}.onsight"
        target.parent.mkdir(exist_ok=True)
        assert onsight("convert", source, target, "--quant", "none", *options).returncode == 0
        return target

    return run


def tensors(folder):
    """name -> (type, shape, bytes), of all files of a folder."""
    out = {}
    for path in folder.glob("*.safetensors"):
        header, data = read_safetensors(path)
        for name, row in header.items():
            if name != "__metadata__":
                out[name] = row["dtype"], row["shape"], data[slice(*row["data_offsets"])]
    return out


def settings(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix in (".json", ".jinja") and "index" not in p.name}


def traces(onsight, tmp_path, *models):
    """The logits of each."""
    out = []
    for i, model in enumerate(models):
        done = onsight("trace", "--out", tmp_path / f"trace{i}", "--model", model, "--image", PICTURE, "What 12 is this?")
        assert done.returncode == 0, done.stderr
        out.append((tmp_path / f"trace{i}" / "logits.npy").read_bytes())
    return out


# --- safetensors -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [NANO, TILES, GOLDEN / "idefics3" / "model", GOLDEN / "text" / "model"], ids=lambda p: p.parent.name)
@pytest.mark.parametrize("kind", ["folder", "native", "native f32"])
def test_the_folder_comes_back(export, native, tmp_path, source, kind):
    """Through a native file too: every tensor to the last bit, every setting to the last byte."""
    model = source if kind == "folder" else native(source, *(["--quant", "f32"] if kind == "native f32" else []))
    folder = export(model, tmp_path / "out", "safetensors")
    assert tensors(folder) == tensors(source)
    assert settings(folder) == settings(source)
    assert sorted(p.name for p in folder.iterdir()) == sorted([*settings(source), "model.safetensors", "README.md"])
    if (source / "model.safetensors").exists():  # the reference's writer wrote it
        assert (folder / "model.safetensors").read_bytes() == (source / "model.safetensors").read_bytes()


def test_calibrated(onsight, export, native, tmp_path):
    """Biases that are no longer the source's stay as they are."""
    model = native(NANO, "--calibrate")
    folder = export(model, tmp_path / "out", "safetensors")
    changed = {name for name, row in tensors(folder).items() if row != tensors(NANO)[name]}
    assert all("vision_model" in name for name in changed)
    ask = ("--image", ROOT / "examples" / "receipt.jpg", "What is the total?")
    assert onsight("ask", "--model", folder, *ask).stdout == onsight("ask", "--model", model, *ask).stdout


def test_of_gguf_files(onsight, export, tmp_path):
    """With the numbers that the files hold."""
    pair = write_pair(tmp_path / "gguf", TILES)
    folder = export(pair, tmp_path / "out", "safetensors")
    assert tensors(folder) == tensors(TILES)
    assert len(set(traces(onsight, tmp_path, pair, folder))) == 1
    again = export(f"{pair},{pair.with_name('mmproj-model.gguf')}", tmp_path / "again", "safetensors")
    assert tensors(again) == tensors(folder) and settings(again) == settings(folder)
    assert "# model\n" in (again / "README.md").read_text()


# --- GGUF --------------------------------------------------------------------------------------------------------------------------


def wide(tensors):
    """name -> (shape, numbers as f32)"""
    widen = {"F32": lambda raw: raw, "BF16": lambda raw: b"".join(b"\0\0" + raw[i : i + 2] for i in range(0, len(raw), 2)),
             "F16": lambda raw: struct.pack(f"<{len(raw) // 2}f", *struct.unpack(f"<{len(raw) // 2}e", raw))}  # fmt: skip
    return {name: (shape, widen[kind](raw)) for name, (kind, shape, raw) in tensors.items()}


@pytest.mark.parametrize("source", [NANO, TILES, GOLDEN / "idefics3" / "model", GOLDEN / "text" / "model"], ids=lambda p: p.parent.name)
@pytest.mark.parametrize("through", ["folder", "native"])
def test_gguf_there_and_back(onsight, export, native, tmp_path, source, through):
    """In f32 no number changes; the pair answers as the folder does, and the folder that is made of it too."""
    model = source if through == "folder" else native(source)
    name = model.stem
    pair = export(model, tmp_path / "gguf", "gguf", "--dtype", "f32")
    assert sorted(p.name for p in pair.iterdir()) == sorted(["README.md", f"{name}-f32.gguf", f"mmproj-{name}-f32.gguf"])
    back = export(pair, tmp_path / "back", "safetensors")
    assert wide(tensors(back)) == wide(tensors(source))
    for path in (pair, back):
        compare_with(onsight, tmp_path, source, path)


def compare_with(onsight, tmp_path, source, model, tolerance="1e-5", arguments=("What 12 is this?",)):
    for folder, path in (("want", source), ("got", model)):
        assert onsight("trace", "--out", tmp_path / folder, "--model", path, *arguments).returncode == 0
    done = onsight("trace", "--out", tmp_path / "got", "--compare", tmp_path / "want", "--tolerance", tolerance)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("dtype, tolerance", [("f16", "5e-2"), ("bf16", "1e-6"), ("q8_0", "3e-1")])
def test_gguf_formats(onsight, export, tmp_path, dtype, tolerance):
    """The pictures of these settings are the same in both: the filter is the one that GGUF readers know."""
    pair = export(TILES, tmp_path / "gguf", "gguf", *([] if dtype == "f16" else ["--dtype", dtype]))
    assert len(list(pair.glob(f"model-{dtype}.gguf"))) == 1
    compare_with(onsight, tmp_path, TILES, pair, tolerance, ("--image", PICTURE, "What 12 is this?"))


def test_gguf_of_the_model_that_ships(onsight, export, tmp_path):
    pair = export("onsight-nano", tmp_path / "gguf", "gguf", "--dtype", "bf16")
    image = ROOT / "examples" / "receipt.jpg"
    folder, files = (onsight("ask", "--model", m, "--image", image, "Read the text.").stdout for m in (NANO, pair))
    assert folder == files != ""
    assert "do not keep" in (pair / "README.md").read_text()


@pytest.mark.parametrize("kind, change, words", [
    ("gguf", lambda c: c["text_config"].update(rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}), ["llama3"]),
    ("gguf", lambda c: c["vision_config"].update(hidden_act="gelu"), ["hidden_act"]),
    ("mlx", lambda c: c["text_config"].update(rope_scaling={"rope_type": "linear", "factor": 8.0}), ["rope_type"]),
    ("mlx", lambda c: c["vision_config"].update(hidden_act="gelu"), ["hidden_act"]),
])  # fmt: skip
def test_what_the_other_program_would_compute_otherwise(onsight, refused, tmp_path, kind, change, words):
    source = tmp_path / "model"
    shutil.copytree(TILES, source)
    change_json(source / "config.json", change)
    refused(onsight("export", source, tmp_path / "out", "--to", kind), 3, "config.json", *words)
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_that_gguf_cannot_name(onsight, refused, tmp_path):
    source = tmp_path / "model"
    shutil.copytree(TILES, source)
    change_json(source / "tokenizer.json", lambda t: t.update(pre_tokenizer={"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}))
    refused(onsight("export", source, tmp_path / "out", "--to", "gguf"), 3, "tokenizer.json", "pre_tokenizer", "smollm")


# --- MLX ---------------------------------------------------------------------------------------------------------------------------


def test_mlx(export, native, tmp_path):
    """Names as they come, the convolution with its channels last, matrices whose groups are whole in codes with scales and biases beside them."""
    plain = tensors(export(NANO, tmp_path / "plain", "mlx", "--bits", "none"))
    patches = "model.vision_model.embeddings.patch_embedding.weight"
    assert plain[patches][1] == [192, 8, 8, 3]
    assert {n: row for n, row in plain.items() if n != patches} == {n: row for n, row in tensors(NANO).items() if n != patches}
    for bits, group in ((4, 64), (8, 32)):
        folder = export(native(NANO), tmp_path / f"{bits}", "mlx", "--bits", bits, "--group-size", group)
        coded, source = tensors(folder), tensors(NANO)
        assert json.loads((folder / "config.json").read_text())["quantization"] == {"bits": bits, "group_size": group, "mode": "affine"}
        head = "lm_head"
        rows, columns = source[f"{head}.weight"][1]
        assert coded[f"{head}.weight"][:2] == ("U32", [rows, columns * bits // 32])
        assert coded[f"{head}.scales"][:2] == coded[f"{head}.biases"][:2] == ("BF16", [rows, columns // group])
        assert not any("vision" in name or "connector" in name for name in coded if name.endswith(".scales"))
        for name, value in settings(NANO).items():
            assert name == "config.json" or (folder / name).read_bytes() == value
        assert "power of two" in (folder / "README.md").read_text()


# --- ONNX --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [NANO, TILES, GOLDEN / "idefics3" / "model", GOLDEN / "text" / "model"], ids=lambda p: p.parent.name)
@pytest.mark.parametrize("dtype, js, suffix", [("f16", "fp16", "_fp16"), ("f32", "fp32", ""), ("int8", "int8", "_int8"), ("q4", "q4", "_q4")])
def test_onnx(export, native, tmp_path, source, dtype, js, suffix):
    """The files that transformers.js asks for, with all that it does not take for granted; of a native file the same."""
    folder = export(source, tmp_path / "out", "onnx", *([] if dtype == "f16" else ["--dtype", dtype]))
    models = [f"onnx/{name}{suffix}.onnx" for name in ("vision_encoder", "embed_tokens", "decoder_model_merged")]
    files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    read = lambda name: json.loads(files[name])  # noqa: E731
    assert {*models, "README.md", "preprocessor_config.json", *settings(source)} == set(files)
    config, processor = read("config.json"), read("preprocessor_config.json")
    family = "Idefics3" if config["model_type"] == "idefics3" else "SmolVLM"
    assert config["transformers.js_config"] == {"dtype": js}
    assert config["text_config"].items() >= {"model_type": "llama", "num_hidden_layers": config["text_config"]["num_hidden_layers"]}.items()
    assert processor["image_processor_type"] == f"{family}ImageProcessor" and processor["processor_class"] == f"{family}Processor"
    assert processor["do_image_splitting"] in (True, False) and read("processor_config.json")["image_seq_len"] > 0
    assert "Assistant:" in read("tokenizer_config.json")["chat_template"] and read("generation_config.json")["eos_token_id"]
    assert files["tokenizer.json"] == settings(source)["tokenizer.json"]
    assert f'onnx/{{name}}{suffix}.onnx"' in files["README.md"].decode()
    again = export(native(source), tmp_path / "again", "onnx", "--dtype", dtype)
    assert {name: (again / name).read_bytes() for name in models} == {name: files[name] for name in models}


# --- writing -----------------------------------------------------------------------------------------------------------------------


def test_wrong_usage(onsight, refused, native, tmp_path):
    out = tmp_path / "out"
    refused(onsight("export"), 2, "expected SRC")
    refused(onsight("export", TILES, "--to", "safetensors"), 2, "DIR")
    refused(onsight("export", TILES, out), 2, "--to", "safetensors")
    refused(onsight("export", TILES, out, "--to", "word"), 2, "word")
    refused(onsight("export", TILES, out, "--to", "gguf", "--bits", "4"), 2, "--bits", "--to mlx")
    refused(onsight("export", TILES, out, "--to", "mlx", "--bits", "3"), 2, "--bits", "none")
    refused(onsight("export", TILES, out, "--to", "mlx", "--dtype", "f16"), 2, "--dtype", "--to gguf or onnx")
    refused(onsight("export", TILES, out, "--to", "onnx", "--dtype", "bf16"), 2, "--dtype", "f32", "--to onnx", "'bf16'")
    refused(onsight("export", tmp_path / "none", out, "--to", "safetensors"), 3, "none")
    refused(onsight("export", TILES, tmp_path / "no" / "out", "--to", "safetensors"), 1, "no/out: cannot be written, expected the folder", "no to be there")
    folder = tmp_path / "for-mlx"
    assert onsight("export", TILES, folder, "--to", "mlx", "--bits", "none").returncode == 0
    refused(onsight("ask", "--model", folder, "Hi"), 3, "for-mlx: a model for MLX, expected the one that it was made of")
    refused(onsight("export", TILES, PICTURE, "--to", "safetensors"), 2, "picture0.png", "found a file")
    for quant in ("q8", "q4"):
        model = native(TILES, "--quant", quant)
        refused(onsight("export", model, out, "--to", "safetensors"), 3, "tiles.onsight", "rounded", "--quant none")
    assert not list(tmp_path.glob("out*"))


def test_broken_model(onsight, refused, tmp_path):
    source = tmp_path / "model"
    shutil.copytree(TILES, source)
    change_json(source / "config.json", lambda c: c["text_config"].update(intermediate_size=1024))
    refused(onsight("export", source, tmp_path / "out", "--to", "safetensors"), 3, "has shape")
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_replaces_exports_only(onsight, refused, export, tmp_path):
    """A folder with a file in it that no export wrote is not touched."""
    folder = tmp_path / "out"
    folder.mkdir()
    export(TILES, folder, "safetensors")
    before = tensors(folder)
    export(GOLDEN / "text" / "model", f"{folder}/", "safetensors")
    assert tensors(folder) != before
    card = (folder / "README.md").read_text()
    assert "onsight export" in card and "AutoModelForImageTextToText" in card
    assert all(f"| `{path.name}` |" in card for path in folder.iterdir() if path.name != "README.md")
    (folder / "notes.txt").write_text("mine")
    refused(onsight("export", TILES, folder, "--to", "safetensors"), 2, "out", "not empty")
    assert (folder / "notes.txt").read_text() == "mine" and (folder / "README.md").read_text() == card
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_the_model_itself_is_not_replaced(onsight, refused, export, tmp_path):
    """An export is a model, too: neither it nor a folder that holds the model gives way to what is made of it."""
    folder = export(TILES, tmp_path / "out", "safetensors")
    before = tensors(folder)
    (tmp_path / "link").symlink_to(folder)
    for source, target in ((folder, folder), (f"{folder}/", tmp_path / "link"), (tmp_path / "link", folder)):
        refused(onsight("export", source, target, "--to", "gguf"), 2, "is or holds the model")
    refused(onsight("export", ".", ".", "--to", "gguf", cwd=folder), 2, "is or holds the model")
    assert tensors(folder) == before
    pair = export(TILES, tmp_path / "pair", "gguf")
    refused(onsight("export", next(pair.glob("model*.gguf")), pair, "--to", "safetensors"), 2, "is or holds the model")


def test_the_working_folder(onsight, refused, tmp_path):
    """Is filled and not exchanged: a shell that stands in it sees the files."""
    before = os.stat(tmp_path).st_ino
    for kind in ("safetensors", "gguf"):
        assert onsight("export", TILES, ".", "--to", kind, cwd=tmp_path).returncode == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["README.md", "mmproj-model-f16.gguf", "model-f16.gguf"]
    assert os.stat(tmp_path).st_ino == before
    done = onsight("inspect", ".", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "notes.txt").touch()
    refused(onsight("export", TILES, ".", "--to", "gguf", cwd=tmp_path), 2, "not empty")


@pytest.mark.parametrize("kind, file", [("safetensors", "model.safetensors"), ("gguf", "model-f16.gguf"), ("onnx", "onnx/vision_encoder_fp16.onnx")])
def test_full_disk(onsight, refused, tmp_path, kind, file):
    import resource

    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))  # noqa: E731
    refused(onsight("export", TILES, tmp_path / "out", "--to", kind, preexec_fn=limit), 1, f"{tmp_path}/out/{file}: cannot be written")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["safetensors", "onnx"])
def test_interrupted(onsight, tmp_path, kind):
    for _ in interrupted(lambda: onsight.start("export", NANO, tmp_path / "out", "--to", kind), tmp_path, "out.tmp-*/*"):
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
        assert kind == "onnx" or tensors(tmp_path / "out") == tensors(NANO)
        shutil.rmtree(tmp_path / "out")


def test_a_folder_that_may_not_be_written(onsight, refused, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    done = onsight("export", TILES, tmp_path / "closed" / "out", "--to", "safetensors", preexec_fn=without_privileges)
    refused(done, 1, "cannot be written", "Permission denied")
