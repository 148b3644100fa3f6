"""GGUF pairs: the same numbers as the folder that they were made from, and one sentence for each way to be broken."""
import json
import shutil
import struct

import pytest

from checkpoints import change_json
from conftest import NANO, ROOT
from gguf_files import TYPES, convert, write_gguf, write_pair

GOLDEN = ROOT / "tests" / "golden"
TILES = GOLDEN / "tiles" / "model"
PICTURE = GOLDEN / "tiles" / "picture0.png"


@pytest.fixture(scope="session")
def pair(tmp_path_factory):
    return write_pair(tmp_path_factory.mktemp("pair"), TILES)


@pytest.mark.parametrize("case, options", [("tiles", {}), ("tiles", {"exchanged_ffn": True}), ("text", {}), ("idefics3", {})])
def test_equals_its_folder(onsight, tmp_path, case, options):
    source, arguments = tmp_path / "folder", ["--image", PICTURE, "What 12 is this?"]
    shutil.copytree(GOLDEN / case / "model", source)
    if case == "idefics3":  # GGUF does not keep the filter: it is the published models'
        change_json(source / "processor_config.json", lambda p: p["image_processor"].update(resample=1))
    model = write_pair(tmp_path / "gguf", source, **options)
    for name, path in (("a", source), ("b", model)):
        done = onsight("trace", "--out", tmp_path / name, "--model", path, *arguments)
        assert done.returncode == 0, done.stderr
    done = onsight("trace", "--out", tmp_path / "b", "--compare", tmp_path / "a", "--tolerance", "1e-6")
    assert done.returncode == 0, done.stdout + done.stderr
    ask = lambda path: json.loads(onsight("ask", "--json", "--max-tokens", "40", "--model", path, *arguments).stdout)  # noqa: E731
    folder, gguf = ask(source), ask(model)
    assert folder["text"] == gguf["text"] and folder["finish_reason"] == gguf["finish_reason"]


def test_ways_to_name_it(onsight, pair):
    """The file, its folder, both files in either order: the same model."""
    other = pair.with_name("mmproj-model.gguf")
    said = [json.loads(onsight("inspect", "--json", path).stdout) for path in (pair, pair.parent, f"{pair},{other}", f"{other},{pair}")]
    assert all(one == said[0] for one in said)
    assert said[0]["name"] == "model.gguf"
    folder = json.loads(onsight("inspect", "--json", TILES).stdout)
    same = ("parameters", "vision_parameters", "text_parameters", "weight_types", "tile_size", "max_tiles", "tokens_per_tile", "context_length")
    assert {key: said[0][key] for key in same} == {key: folder[key] for key in same}


def test_found_by_name(onsight, pair):
    assert onsight("inspect", "model.gguf", env={"ONSIGHT_MODELS": pair.parent}).returncode == 0


def test_tokenize_needs_no_projector(onsight, tmp_path):
    model = write_pair(tmp_path, TILES)
    model.with_name("mmproj-model.gguf").unlink()
    strings = ["Hello <image> 123 <|im_start|>", "  \n\n\tÄöü 你好 🙂", "User: <row_1_col_2><end_of_utterance>", ""]
    lines = "".join(json.dumps(s) + "\n" for s in strings).encode()
    for special in ([], ["--special"]):
        want = onsight("tokenize", "--model", TILES, *special, input=lines)
        got = onsight("tokenize", "--model", model, *special, input=lines)
        assert got.returncode == 0 and got.stdout == want.stdout
        back = onsight("tokenize", "--model", model, "--decode", "--special", input=got.stdout.encode())
        assert [json.loads(line) for line in back.stdout.splitlines()] == strings


def test_chat(onsight, pair):
    done = onsight("chat", "--model", pair, "--max-tokens", "4", input="Hello\nAgain\n".encode())
    assert done.returncode == 0 and done.stdout.strip()


@pytest.mark.parametrize("case", ["tiles", "text", "idefics3"])
@pytest.mark.parametrize("quant", ["none", "q8", "q4"])
def test_converted_it_answers_the_same(onsight, tmp_path, case, quant):
    model, target = write_pair(tmp_path / "gguf", GOLDEN / case / "model"), tmp_path / "m.onsight"
    done = onsight("convert", model, target, "--quant", quant)
    assert done.returncode == 0 and done.stdout == done.stderr == "", done.stderr
    assert onsight("inspect", "--verify", target).returncode == 0
    arguments = ["--image", PICTURE, "What 12 is this?"]
    for name, path in (("a", model), ("b", target)):
        done = onsight("trace", "--out", tmp_path / name, "--model", path, "--quant", quant, *arguments)
        assert done.returncode == 0, done.stderr
    for tensor in ("input_ids", "pixel_values", "image_features", "logits"):
        assert (tmp_path / "a" / f"{tensor}.npy").read_bytes() == (tmp_path / "b" / f"{tensor}.npy").read_bytes(), tensor
    ask = lambda path: json.loads(onsight("ask", "--json", "--max-tokens", "40", "--model", path, "--quant", quant, *arguments).stdout)  # noqa: E731
    gguf, native = ask(model), ask(target)
    assert gguf["text"] == native["text"] and gguf["finish_reason"] == native["finish_reason"]


def in_blocks(tensor):
    """A tensor of bf16 or f32 in Q8_0: blocks of 32 codes behind a scale in f16."""
    kind, shape, raw = tensor
    numbers = struct.unpack(f"<{len(raw) // 4}f", raw) if kind == TYPES["F32"] else [struct.unpack("<f", b"\0\0" + raw[i : i + 2])[0] for i in range(0, len(raw), 2)]
    out = b""
    for i in range(0, len(numbers), 32):
        (scale,) = struct.unpack("<e", struct.pack("<e", max(map(abs, numbers[i : i + 32])) / 127 or 1.0))
        out += struct.pack("<e32b", scale, *(max(-127, min(127, round(x / scale))) for x in numbers[i : i + 32]))
    return 8, shape, out


@pytest.mark.parametrize("quant", ["none", "q8"])
def test_converted_from_blocks(onsight, tmp_path, quant):
    """Safetensors has no name for ggml's blocks: a table of them becomes f32."""
    text, projector = convert(NANO)  # 32 divides its widths
    for name in ("token_embd.weight", "blk.0.attn_q.weight", "blk.0.attn_k.weight"):
        text["tensors"][name] = in_blocks(text["tensors"][name])
    write_gguf(tmp_path / "m.gguf", **text)
    write_gguf(tmp_path / "mmproj.gguf", **projector)
    done = onsight("convert", tmp_path / "m.gguf", tmp_path / "m.onsight", "--quant", quant)
    assert done.returncode == 0, done.stderr
    for model in ("m.gguf", "m.onsight"):
        done = onsight("trace", "--out", tmp_path / f"{model}.d", "--model", tmp_path / model, "--quant", quant, "What 12?")
        assert done.returncode == 0, done.stderr
    want, got = ((tmp_path / f"{model}.d" / "logits.npy").read_bytes() for model in ("m.gguf", "m.onsight"))
    assert want == got


def test_converted_it_has_the_same_tokenizer(onsight, pair, tmp_path):
    assert onsight("convert", pair, tmp_path / "m.onsight").returncode == 0
    assert onsight("convert", pair.parent, tmp_path / "n.onsight", "--quant", "q8", "--calibrate").returncode == 0
    strings = ["Hello <image> 123 <|im_start|>", "  \n\n\tÄöü 你好 🙂", "User: <row_1_col_2><end_of_utterance>", ""]
    lines = "".join(json.dumps(s) + "\n" for s in strings).encode()
    for special in ([], ["--special"]):
        want, *got = (onsight("tokenize", "--model", m, *special, input=lines).stdout for m in (pair, tmp_path / "m.onsight", tmp_path / "n.onsight"))
        assert got == [want, want] and want
    facts = [json.loads(onsight("inspect", "--json", m).stdout) for m in (pair, tmp_path / "m.onsight")]
    same = ("architecture", "parameters", "tile_size", "max_tiles", "tokens_per_tile", "context_length", "vocabulary_size", "vision_shape", "text_shape")
    assert {key: facts[0][key] for key in same} == {key: facts[1][key] for key in same}


def test_converted_without_a_template_the_familys_own(onsight, tmp_path):
    text, projector = convert(TILES)
    del text["metadata"]["tokenizer.chat_template"]
    write_gguf(tmp_path / "m.gguf", **text)
    write_gguf(tmp_path / "mmproj.gguf", **projector)
    assert onsight("convert", tmp_path / "m.gguf", tmp_path / "m.onsight").returncode == 0
    want, got = (onsight("ask", "--model", tmp_path / m, "--max-tokens", "8", "Hi") for m in ("m.gguf", "m.onsight"))
    assert got.returncode == 0 and got.stdout == want.stdout


def test_converting_what_is_broken(onsight, refused, tmp_path):
    text, projector = convert(TILES)
    text["metadata"]["tokenizer.ggml.bos_token_id"] = text["metadata"]["tokenizer.ggml.token_type"].index(1)
    text["metadata"]["tokenizer.chat_template"] = "{{ bos_token }}" + text["metadata"]["tokenizer.chat_template"]
    write_gguf(tmp_path / "m.gguf", **text)
    write_gguf(tmp_path / "mmproj.gguf", **projector)
    refused(onsight("convert", tmp_path / "m.gguf", tmp_path / "m.onsight"), 3, "tokenizer.ggml.bos_token_id", "control token")
    (tmp_path / "mmproj.gguf").unlink()
    refused(onsight("convert", tmp_path / "m.gguf", tmp_path / "m.onsight"), 3, "no projector")
    assert not list(tmp_path.glob("m.onsight*"))


def test_without_a_template_the_familys_own(onsight, tmp_path):
    text, projector = convert(TILES)
    del text["metadata"]["tokenizer.chat_template"]
    write_gguf(tmp_path / "m.gguf", **text)
    write_gguf(tmp_path / "mmproj.gguf", **projector)
    want = onsight("ask", "--model", TILES, "--image", PICTURE, "--max-tokens", "8", "Hi")
    got = onsight("ask", "--model", tmp_path, "--image", PICTURE, "--max-tokens", "8", "Hi")
    assert got.returncode == 0 and got.stdout == want.stdout


# --- which files -------------------------------------------------------------------------------------------------------------------


def test_the_projector_of_the_same_name(onsight, refused, pair, tmp_path):
    raw, projector = pair.read_bytes(), pair.with_name("mmproj-model.gguf").read_bytes()
    (tmp_path / "tiny-Q8_0.gguf").write_bytes(raw)
    refused(onsight("inspect", tmp_path), 3, "no projector", "mmproj")
    (tmp_path / "mmproj-a.gguf").write_bytes(projector)
    assert onsight("inspect", tmp_path).returncode == 0
    (tmp_path / "mmproj-b.gguf").write_bytes(projector)
    refused(onsight("inspect", tmp_path), 3, "2 projectors", "mmproj-a.gguf, mmproj-b.gguf")
    assert onsight("inspect", f"{tmp_path}/tiny-Q8_0.gguf,{tmp_path}/mmproj-b.gguf").returncode == 0
    (tmp_path / "mmproj-tiny-Q8_0.gguf").write_bytes(projector)
    assert onsight("inspect", tmp_path / "tiny-Q8_0.gguf").returncode == 0
    (tmp_path / "other.gguf").write_bytes(raw)
    refused(onsight("inspect", tmp_path), 3, "2 GGUF models", "other.gguf, tiny-Q8_0.gguf")


def test_files_that_are_not_a_pair(onsight, refused, pair, tmp_path):
    other = pair.with_name("mmproj-model.gguf")
    refused(onsight("inspect", other), 3, "projector", "expected the file of the text model")
    refused(onsight("inspect", f"{pair},{pair}"), 3, "expected it once")
    refused(onsight("inspect", f"{pair},{tmp_path}/none.gguf"), 3, "none.gguf")
    refused(onsight("inspect", f"{tmp_path}/none.gguf"), 3, "none.gguf")
    (tmp_path / "notes.txt").write_text("x")
    refused(onsight("inspect", tmp_path / "notes.txt"), 3, ".gguf")
    (tmp_path / "m.gguf").write_text("x" * 100)
    refused(onsight("inspect", f"{tmp_path}/m.gguf,{other}"), 3, "m.gguf", "begins with GGUF")


# --- what is in them ---------------------------------------------------------------------------------------------------------------


def set_(key, value):
    return lambda part: part["metadata"].__setitem__(key, value)


def drop(key):
    return lambda part: part["metadata"].pop(key)


def drop_tensor(name):
    return lambda part: part["tensors"].pop(name)


def add_tensor(name):
    return lambda part: part["tensors"].__setitem__(name, (0, [8], bytes(32)))


def first(key, value):
    return lambda part: part["metadata"][key].__setitem__(0, value)


@pytest.mark.parametrize("change, words", [
    (set_("general.architecture", "qwen2vl"), ["qwen2vl", "not supported"]),
    (drop("general.architecture"), ["not supported"]),
    (drop("llama.embedding_length"), ["llama.embedding_length", "missing"]),
    (set_("llama.embedding_length", 0), ["llama.embedding_length"]),
    (set_("llama.embedding_length", "wide"), ["llama.embedding_length", "found string"]),
    (set_("llama.attention.head_count", 7), ["num_attention_heads"]),
    (set_("llama.attention.value_length", 6), ["llama.attention.value_length"]),
    (set_("llama.rope.dimension_count", 2), ["llama.rope.dimension_count"]),
    (set_("llama.rope.scaling.type", "yarn"), ["llama.rope.scaling.type", "yarn"]),
    (set_("llama.expert_count", 8), ["llama.expert_count"]),
    (set_("llama.vocab_size", 7), ["m.gguf"]),
    (set_("split.count", 2), ["split.count"]),
    (set_("tokenizer.ggml.model", "llama"), ["tokenizer.ggml.model"]),
    (set_("tokenizer.ggml.pre", "qwen35"), ["tokenizer.ggml.pre", "qwen35"]),
    (drop("tokenizer.ggml.merges"), ["tokenizer.ggml.merges"]),
    (drop("tokenizer.ggml.token_type"), ["tokenizer.ggml.token_type"]),
    (set_("tokenizer.ggml.token_type", [1, 2]), ["tokenizer.ggml.token_type", "found 2"]),
    (first("tokenizer.ggml.tokens", b"\xff"), ["tokenizer.ggml.tokens[0]", "UTF-8"]),
    (first("tokenizer.ggml.merges", "one"), ["tokenizer.ggml.merges[0]"]),
    (first("tokenizer.ggml.merges", "no such"), ["merges[0]"]),
    (set_("tokenizer.ggml.eos_token_id", 10**6), ["tokenizer.ggml.eos_token_id"]),
    (set_("tokenizer.chat_template", "{% for %}"), ["tokenizer.chat_template"]),
    (set_("tokenizer.chat_template", b"\xff"), ["tokenizer.chat_template", "UTF-8"]),
    (drop_tensor("blk.1.attn_k.weight"), ["blk.1.attn_k.weight", "missing"]),
    (add_tensor("rope_freqs.weight"), ["unexpected tensor", "rope_freqs.weight"]),
])  # fmt: skip
def test_broken_text_model(onsight, refused, tmp_path, change, words):
    text, projector = convert(TILES)
    change(text)
    write_gguf(tmp_path / "m.gguf", **text)
    write_gguf(tmp_path / "mmproj.gguf", **projector)
    sentence = refused(onsight("inspect", tmp_path), 3, *words)
    assert refused(onsight("ask", "--model", tmp_path, "Hi"), 3) == sentence


@pytest.mark.parametrize("change, words", [
    (set_("general.architecture", "llama"), ["expected clip"]),
    (set_("clip.projector_type", "gemma3"), ["gemma3", "not supported"]),
    (drop("clip.use_gelu"), ["clip.use_gelu"]),
    (drop("clip.vision.projector.scale_factor"), ["clip.vision.projector.scale_factor", "missing"]),
    (set_("clip.vision.projector.scale_factor", 3), ["scale_factor"]),
    (set_("clip.vision.projection_dim", 7), ["clip.vision.projection_dim", "found 7"]),
    (set_("clip.vision.patch_size", 10**6), ["patch_size"]),
    (set_("clip.vision.image_std", [0.0, 0.0, 0.0]), ["image_std"]),
    (set_("clip.vision.image_mean", [0.5]), ["clip.vision.image_mean", "found 1"]),
    (drop_tensor("mm.model.fc.weight"), ["mm.model.fc.weight", "missing"]),
    (add_tensor("v.pre_ln.weight"), ["unexpected tensor", "v.pre_ln.weight"]),
])  # fmt: skip
def test_broken_projector(onsight, refused, tmp_path, change, words):
    text, projector = convert(TILES)
    change(projector)
    write_gguf(tmp_path / "m.gguf", **text)
    write_gguf(tmp_path / "mmproj.gguf", **projector)
    refused(onsight("inspect", tmp_path), 3, *words)


def test_truncated(onsight, refused, pair, tmp_path):
    raw = pair.read_bytes()
    other = pair.with_name("mmproj-model.gguf")
    for size in (0, 3, 20, 200, 5000, len(raw) // 2, len(raw) - 32):
        (tmp_path / "m.gguf").write_bytes(raw[:size])
        refused(onsight("inspect", f"{tmp_path}/m.gguf,{other}"), 3, "m.gguf")
