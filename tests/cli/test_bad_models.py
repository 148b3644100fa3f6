"""Checkpoint folders that are broken, each in one way: one sentence, exit code 3, the same from ask and inspect."""
import json
import struct

import pytest

from checkpoints import add_tensor, change_json, drop_tensor, read_safetensors, write_safetensors
from conftest import NANO, without_privileges


@pytest.fixture
def both(onsight, refused, picture):
    """Asserts that ask and inspect refuse the folder in the same words."""

    def check(folder, *words, **more):
        sentence = refused(onsight("inspect", folder, **more), 3, *words)
        assert refused(onsight("ask", "--model", folder, "--image", picture, "--max-tokens", "1", **more), 3, *words) == sentence
        return sentence

    return check


CONFIG = json.loads((NANO / "config.json").read_text())
LAYERS = CONFIG["vision_config"]["num_hidden_layers"]


def weights(folder):
    return folder / "model.safetensors"


def test_the_unbroken_copy_runs(onsight, nano, picture):
    assert onsight("inspect", nano).returncode == 0
    done = onsight("ask", "--model", nano, "--image", picture, "--max-tokens", "4", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["completion_tokens"] <= 4


# --- files that are missing or not files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "processor_config.json"])
def test_missing_file(both, nano, name):
    (nano / name).unlink()
    both(nano, name.split(".")[0] if name == "model.safetensors" else name, str(nano))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "processor_config.json", "chat_template.jinja"])
def test_folder_in_place_of_a_file(both, nano, name):
    (nano / name).unlink()
    (nano / name).mkdir()
    both(nano, str(nano / name))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_dangling_link(both, nano, name):
    (nano / name).unlink()
    (nano / name).symlink_to(nano / "gone")
    both(nano, str(nano))


def test_unreadable_file(both, nano):
    (nano / "config.json").chmod(0)
    both(nano, "config.json", "Permission denied", preexec_fn=without_privileges)


def test_unreadable_folder(both, nano):
    nano.chmod(0)
    both(nano, str(nano), "Permission denied", preexec_fn=without_privileges)
    nano.chmod(0o700)


def test_empty_folder_and_none(both, tmp_path):
    (tmp_path / "empty").mkdir()
    both(tmp_path / "empty", str(tmp_path / "empty"))
    both(tmp_path / "no", str(tmp_path / "no"))


@pytest.mark.parametrize("files", [[], ["photo.jpg", "notes.txt"], ["model.safetensors"], ["mmproj-model.gguf"]])
def test_a_folder_of_other_things(both, onsight, refused, tmp_path, files):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in files:
        (folder / name).write_bytes(b"something")
    sentence = both(folder)
    assert sentence == (
        f"onsight: {folder}: no model in this folder, expected config.json and model.safetensors as Hugging Face publishes them,"
        " or a .gguf file with its mmproj"
    )
    assert refused(onsight("convert", folder, tmp_path / "m.onsight"), 3) == sentence
    assert refused(onsight("export", folder, tmp_path / "out", "--to", "gguf"), 3) == sentence
    assert [path.name for path in tmp_path.iterdir() if path.name != "picture.png"] == ["folder"]


@pytest.mark.parametrize("content", [b"", b"GGU", b"garbage\n" * 99])
@pytest.mark.parametrize("beside", [(), ("mmproj-a.gguf", "mmproj-b.gguf"), ("mmproj.gguf",)])
def test_garbage_that_is_named_gguf(both, onsight, refused, tmp_path, content, beside):
    bad = tmp_path / "bad.gguf"
    for path in (bad, *(tmp_path / name for name in beside)):
        path.write_bytes(content)
    sentence = both(bad)
    assert sentence == f"onsight: {bad}: expected a GGUF file, which begins with GGUF"
    assert refused(onsight("convert", bad, tmp_path / "m.onsight"), 3) == both(tmp_path) == sentence
    assert not list(tmp_path.glob("m.onsight*"))


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "\xff", '{"a": 1} x', "[" * 100_000])
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "processor_config.json", "tokenizer_config.json", "generation_config.json"])
def test_json_that_is_none(both, nano, name, content):
    (nano / name).write_bytes(content.encode("latin-1"))
    both(nano, name)


# --- configuration --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda c: c.update(architectures=["LlamaForCausalLM"]), ["LlamaForCausalLM", "expected"]),
        (lambda c: c.update(architectures=[]), ["architectures"]),
        (lambda c: c.update(architectures=7), ["architectures"]),
        (lambda c: c.pop("text_config"), ["expected"]),
        (lambda c: c["text_config"].update(hidden_size="many"), ["hidden_size"]),
        (lambda c: c["text_config"].update(hidden_size=-1), ["hidden_size"]),
        (lambda c: c["text_config"].update(hidden_size=2**62), ["hidden_size"]),
        (lambda c: c["text_config"].update(num_hidden_layers=10**9), ["num_hidden_layers"]),
        (lambda c: c["text_config"].update(num_attention_heads=0), ["num_attention_heads"]),
        (lambda c: c["text_config"].update(num_key_value_heads=c["text_config"]["num_attention_heads"] - 1), ["num_key_value_heads"]),
        (lambda c: c["text_config"].update(hidden_act="relu6"), ["hidden_act", "relu6"]),
        (lambda c: c["text_config"].update(rms_norm_eps="small"), ["rms_norm_eps"]),
        (lambda c: c["text_config"].update(rope_parameters={"rope_type": "yarn", "factor": 2.0}), ["yarn"]),
        (lambda c: c["vision_config"].update(patch_size=7), []),
        (lambda c: c["vision_config"].update(patch_size=0), ["patch_size"]),
        (lambda c: c["vision_config"].update(num_hidden_layers=LAYERS - 1), ["unexpected tensor", f"layers.{LAYERS - 1}"]),
        (lambda c: c["vision_config"].update(num_hidden_layers=LAYERS + 1), ["missing", f"layers.{LAYERS}"]),
        (lambda c: c.update(scale_factor=1000), []),
        (lambda c: c.update(scale_factor=0), ["scale_factor"]),
        (lambda c: c.update(image_token_id=10**6), ["image_token_id"]),
        (lambda c: c.update(image_token_id=-5), ["image_token_id"]),
    ],
)
def test_configuration(both, nano, change, words):
    change_json(nano / "config.json", change)
    both(nano, *words)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda p: p["image_processor"].update(image_mean=[0.5]), ["image_mean"]),
        (lambda p: p["image_processor"].update(image_std=[0, 0, 0]), ["image_std"]),
        (lambda p: p["image_processor"].update(max_image_size={"longest_edge": 0}), ["max_image_size"]),
        (lambda p: p["image_processor"].update(size={"longest_edge": 10**9}), ["size"]),
        (lambda p: p["image_processor"].update(resample=99), ["resample"]),
    ],
)
def test_processor(both, nano, change, words):
    change_json(nano / "processor_config.json", change)
    both(nano, *words)


# --- tokenizer and template ----------------------------------------------------------------------------------------------------


def test_tokenizer_larger_than_the_vocabulary(both, nano):
    change_json(nano / "tokenizer.json", lambda t: t["added_tokens"].append(
        {"id": CONFIG["text_config"]["vocab_size"], "content": "<more>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}))  # fmt: skip
    both(nano, "vocab")


def test_tokenizer_without_the_image_token(both, nano):
    def rename(t):
        for token in t["added_tokens"]:
            if token["content"] == "<image>":
                token["content"] = "<picture>"

    change_json(nano / "tokenizer.json", rename)
    both(nano, "<image>")


@pytest.mark.parametrize("change, words", [
    (lambda t: t["model"].update(type="Unigram"), ["Unigram"]),
    (lambda t: t.update(pre_tokenizer={"type": "Metaspace"}), ["Metaspace"]),
    (lambda t: t["model"].update(merges=[["no", "such"]]), ["merges"]),
    (lambda t: t["model"].update(vocab=[]), ["vocab"]),
])  # fmt: skip
def test_tokenizer_that_is_not_supported(both, nano, change, words):
    change_json(nano / "tokenizer.json", change)
    both(nano, "tokenizer.json", *words)


@pytest.mark.parametrize("template", ["{% for %}", "{{ messages | frobnicate }}", "{% include 'x' %}", "{{ messages", "{% macro m() %}{% endmacro %}{% import 'x' as y %}"])
def test_template_that_is_not_understood(both, nano, template):
    (nano / "chat_template.jinja").write_text(template)
    both(nano, "chat_template.jinja")


def test_template_that_never_ends_is_refused_in_time(onsight, nano, picture):
    (nano / "chat_template.jinja").write_text("{% for a in range(999999999) %}{% for b in range(999999999) %}x{% endfor %}{% endfor %}")
    done = onsight("ask", "--model", nano, "--image", picture, timeout=60)
    assert done.returncode in (3, 4) and done.stderr.count("\n") == 1


# --- weights -------------------------------------------------------------------------------------------------------------------


def test_truncated_weights(both, nano):
    raw = weights(NANO).read_bytes()
    for size in (0, 4, 8, 100, 8 + 1000, len(raw) // 2, len(raw) - 1):
        weights(nano).unlink()
        weights(nano).write_bytes(raw[:size])
        both(nano, str(weights(nano)))


@pytest.mark.parametrize("length", [0, 1, 2**31, 2**62, 2**63, 2**64 - 1, 2**64 - 8])
def test_header_that_lies_about_its_length(both, nano, length):
    header, data = read_safetensors(weights(NANO))
    write_safetensors(weights(nano), header, data, length)
    both(nano, str(weights(nano)))


@pytest.mark.parametrize("header", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"a": 1}', b'{"a": {}}', b"{}",
                                    b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}'])  # fmt: skip
def test_header_that_is_none(both, nano, header):
    write_safetensors(weights(nano), header, b"\0" * 8)
    both(nano, str(nano))


NAME = "model.text_model.norm.weight"  # [D], bf16
D = CONFIG["text_config"]["hidden_size"]


@pytest.mark.parametrize(
    "change",
    [
        lambda row, end: row.update(data_offsets=[end, end + 2 * D]),  # past the end
        lambda row, end: row.update(data_offsets=[2**63, 2**63 + 2 * D]),
        lambda row, end: row.update(data_offsets=[2**64 - 2 * D, 2**64]),
        lambda row, end: row.update(data_offsets=[-2 * D, 0]),
        lambda row, end: row.update(data_offsets=[row["data_offsets"][1], row["data_offsets"][0]]),  # backwards
        lambda row, end: row.update(data_offsets=[0, 2 * D]),  # overlaps another
        lambda row, end: row.update(data_offsets=[0]),
        lambda row, end: row.update(data_offsets="here"),
        lambda row, end: row.update(data_offsets=[0.5, 2 * D + 0.5]),
        lambda row, end: row.pop("data_offsets"),
        lambda row, end: row.update(shape=[D + 1]),  # more than its bytes
        lambda row, end: row.update(shape=[-D]),
        lambda row, end: row.update(shape=[2**32, 2**32]),  # overflows to 0
        lambda row, end: row.update(shape=[2**63, 2]),
        lambda row, end: row.update(shape=[1] * 100 + [D]),
        lambda row, end: row.update(shape=str(D)),
        lambda row, end: row.update(dtype="F4"),
        lambda row, end: row.update(dtype=16),
        lambda row, end: row.pop("dtype"),
    ],
)
def test_header_that_lies_about_a_tensor(both, nano, change):
    header, data = read_safetensors(weights(NANO))
    change(header[NAME], len(data))
    write_safetensors(weights(nano), header, data)
    both(nano, str(weights(nano)))


def test_missing_tensor(both, nano):
    write_safetensors(weights(nano), *drop_tensor(*read_safetensors(weights(NANO)), NAME))
    both(nano, NAME, "missing")


def test_extra_tensor(both, nano):
    write_safetensors(weights(nano), *add_tensor(*read_safetensors(weights(NANO)), "model.extra.weight", "F32", [2, 3]))
    both(nano, "model.extra.weight")


def test_wrong_shape(both, nano):
    header, data = read_safetensors(weights(NANO))
    header[NAME]["shape"] = [2, D // 2]
    write_safetensors(weights(nano), header, data)
    both(nano, NAME, f"[2, {D // 2}]", f"[{D}]")


def test_wrong_type(both, nano):
    header, data = read_safetensors(weights(NANO))
    header[NAME].update(dtype="I16")
    write_safetensors(weights(nano), header, data)
    both(nano, NAME)


def test_name_that_would_steer_a_terminal(both, nano):
    write_safetensors(weights(nano), *add_tensor(*read_safetensors(weights(NANO)), "a\n\x1b[2Jb", "F32", [1]))
    both(nano)


# --- shards --------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def shards(nano):
    """The weights in two files and an index."""
    header, data = read_safetensors(weights(NANO))
    weights(nano).unlink()
    header.pop("__metadata__", None)
    names = sorted(header, key=lambda n: header[n]["data_offsets"])
    index = {"metadata": {}, "weight_map": {}}
    split = names.index(NAME) + 1
    for i, part in enumerate((names[:split], names[split:])):
        begin, end = header[part[0]]["data_offsets"][0], header[part[-1]]["data_offsets"][1]
        rows = {n: {**header[n], "data_offsets": [o - begin for o in header[n]["data_offsets"]]} for n in part}
        file = f"model-{i + 1:05}-of-00002.safetensors"
        write_safetensors(nano / file, rows, data[begin:end])
        index["weight_map"].update({n: file for n in part})
    (nano / "model.safetensors.index.json").write_text(json.dumps(index))
    return nano


def test_shards_run(onsight, shards):
    assert onsight("inspect", shards).returncode == 0


def test_missing_shard(both, shards):
    (shards / "model-00002-of-00002.safetensors").unlink()
    both(shards, "model-00002-of-00002.safetensors")


@pytest.mark.parametrize(
    "change",
    [
        lambda i: i.pop("weight_map"),
        lambda i: i.update(weight_map=[]),
        lambda i: i["weight_map"].update({NAME: 5}),
        lambda i: i["weight_map"].update({NAME: "model-00002-of-00002.safetensors"}),  # it is in the other
        lambda i: i["weight_map"].update({NAME: "../model.safetensors"}),
        lambda i: i["weight_map"].update({NAME: "/etc/passwd"}),
        lambda i: i["weight_map"].update({"no.such.tensor": "model-00001-of-00002.safetensors"}),
    ],
)
def test_index_that_lies(both, shards, change):
    change_json(shards / "model.safetensors.index.json", change)
    both(shards, str(shards))


def test_memory_stays_bounded_by_what_a_file_holds(onsight, nano, refused):
    """A header of a hundred bytes may not make the program allocate what it claims."""
    import resource

    header = {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}
    write_safetensors(weights(nano), header, b"")

    def little_memory():
        resource.setrlimit(resource.RLIMIT_AS, (2**29, 2**29))

    refused(onsight("inspect", nano, preexec_fn=little_memory), 3, str(weights(nano)))
    weights(nano).write_bytes(struct.pack("<Q", 2**40) + b"{}")
    refused(onsight("inspect", nano, preexec_fn=little_memory), 3, str(weights(nano)))
