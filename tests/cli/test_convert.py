"""Native files: the same answers as the folder that they were made from, all or nothing on disk, one sentence for each way to be broken."""
import hashlib
import json
import shutil
import struct
from pathlib import Path

import pytest

from checkpoints import change_json, read_safetensors, write_safetensors
from conftest import NANO, ROOT, interrupted

GOLDEN = ROOT / "tests" / "golden"
TILES = GOLDEN / "tiles" / "model"
PICTURE = GOLDEN / "tiles" / "picture0.png"
SETTINGS = ("config.json", "tokenizer.json", "tokenizer_config.json", "processor_config.json", "generation_config.json")


@pytest.fixture(scope="session")
def native(onsight, tmp_path_factory):
    target = tmp_path_factory.mktemp("native") / "tiles.onsight"
    done = onsight("convert", TILES, target, "--quant", "q8")
    assert done.returncode == 0 and done.stdout == done.stderr == "", done.stderr
    return target


def logits(onsight, folder, model, *arguments):
    done = onsight("trace", "--out", folder, "--model", model, "--image", PICTURE, *arguments, "What 12 is this?")
    assert done.returncode == 0, done.stderr
    return (folder / "logits.npy").read_bytes()


KINDS = [["none"], ["q8"], ["q4"], ["f32"], ["q4", "--vision-quant", "none"]]


@pytest.mark.parametrize("case, quant", [("tiles", kind) for kind in KINDS] + [(c, kind) for c in ("idefics3", "text") for kind in KINDS[:2]])
def test_equals_its_folder(onsight, tmp_path, case, quant):
    source, target = GOLDEN / case / "model", tmp_path / "m.onsight"
    done = onsight("convert", source, target, "--quant", *quant)
    assert done.returncode == 0, done.stderr
    assert onsight("inspect", "--verify", target).returncode == 0
    # f32 is what a folder of f32 has, and the same numbers as one of bf16
    of_folder = ["--quant", "none" if quant[0] == "f32" else quant[0], *quant[1:]]
    assert logits(onsight, tmp_path / "a", source, *of_folder) == logits(onsight, tmp_path / "b", target)
    for more in [[], ["--quant", "auto"], of_folder]:
        assert onsight("ask", "--model", target, "--max-tokens", "4", *more, "Hi").returncode == 0
    ask = ("--image", PICTURE, "--max-tokens", "30", "What 12 is this?")
    assert onsight("ask", "--model", source, *of_folder, *ask).stdout == onsight("ask", "--model", target, *ask).stdout


def test_calibration(onsight, tmp_path):
    """Changes biases of the tower, only those, and by little."""
    for name, more in (("plain", []), ("calibrated", ["--calibrate"])):
        assert onsight("convert", NANO, tmp_path / f"{name}.onsight", "--quant", "q4", *more).returncode == 0
    header, plain = read_safetensors(tmp_path / "plain.onsight")
    other, calibrated = read_safetensors(tmp_path / "calibrated.onsight")
    assert (header.pop("__metadata__")["calibrated"], other.pop("__metadata__")["calibrated"]) == ("no", "vision")
    assert header == other
    changed = [n for n, row in header.items() if plain[slice(*row["data_offsets"])] != calibrated[slice(*row["data_offsets"])]]
    assert len(changed) > 20
    assert all(n == "checksums" or ("vision_model" in n and n.endswith(".bias")) for n in changed)
    image = ROOT / "examples" / "receipt.jpg"
    assert onsight("ask", "--model", tmp_path / "calibrated.onsight", "--image", image, "What is the total?").returncode == 0


def test_the_model_that_ships(onsight, tmp_path):
    target = tmp_path / "nano.onsight"
    assert onsight("convert", "onsight-nano", target).returncode == 0
    image = ROOT / "examples" / "receipt.jpg"
    folder, file = (onsight("ask", "--model", m, "--image", image, "What is the total?").stdout for m in (NANO, target))
    assert folder == file != ""
    facts = [json.loads(onsight("inspect", "--json", m).stdout) for m in (NANO, target)]
    assert facts[1]["name"] == "nano.onsight"
    for key in ("architecture", "parameters", "vision_parameters", "tile_size", "context_length", "vision_shape", "text_shape"):
        assert facts[0][key] == facts[1][key]


def mapped_kib(process, file):
    """What of a file's pages the process has in memory, and how much of that is a copy of its own, in KiB."""
    seen = {"Rss": 0, "Private_Dirty": 0, "Anonymous": 0}
    is_file = False
    for line in (Path("/proc") / str(process.pid) / "smaps").read_text().splitlines():
        name, _, rest = line.partition(" ")
        if not name.endswith(":"):
            is_file = line.endswith(str(file))
        elif is_file and name[:-1] in seen:
            seen[name[:-1]] += int(rest.split()[0])
    return seen


def test_weights_are_shared_between_processes(onsight, tmp_path):
    """They are used where the file is mapped: pages of the file, which the system has once however many processes look at them."""
    target = tmp_path / "nano.onsight"
    assert onsight("convert", NANO, target, "--quant", "q8").returncode == 0
    for _ in range(2):
        process = onsight.start("serve", "--model", target, "--port", "0")
        try:
            assert "at http://" in process.stderr.readline().decode()
            seen = mapped_kib(process, target)
        finally:
            process.kill()
            process.communicate()
        assert seen["Rss"] > 0.6 * target.stat().st_size / 1024 and seen["Private_Dirty"] == seen["Anonymous"] == 0


def test_the_other_verbs(onsight, native):
    lines = b'"Hello <image> 12"\n"\xc3\xa4"\n'
    assert onsight("tokenize", "--model", native, input=lines).stdout == onsight("tokenize", "--model", TILES, input=lines).stdout
    assert onsight("chat", "--model", native, "--max-tokens", "3", input=b"Hi\nAgain\n").stdout.strip()
    assert onsight("inspect", native.name, env={"ONSIGHT_MODELS": native.parent}).returncode == 0
    assert onsight("bench", "--model", native, "--image", PICTURE, "--runs", "1", "--max-tokens", "2").returncode == 0


@pytest.mark.parametrize("arguments", [["--quant", "q4"], ["--vision-quant", "q4"]])
def test_keeps_its_formats(onsight, refused, native, arguments):
    refused(onsight("ask", "--model", native, *arguments, "Hi"), 2, "converted with", "q8", "not q4")


def packed_as(name):
    """The connector stays as it comes; towers as narrow as this model's have two bits more, but for what sees pixels."""
    if "modality_projection" in name:
        return "bf16 ["
    return "q8 [" if "patch_embedding" in name else "q10 ["


def test_any_reader(native):
    """The format as docs and header say it, with the standard library; tests/parity/test_native.py asks the safetensors package."""
    header, data = read_safetensors(native)
    about = header.pop("__metadata__")
    assert (about["format"], about["version"], about["quantisation.text"], about["quantisation.vision"]) == ("onsight", "2", "q8", "q8")
    assert about["source"] == "model" and int(about["parameters"]) > 0
    raw = native.read_bytes()
    start = len(raw) - len(data)
    assert start % 64 == 0
    at, rows = 0, sorted(header.items(), key=lambda row: row[1]["data_offsets"])
    digests = [hashlib.sha256(raw[:start]).digest()]
    for name, row in rows:
        begin, end = row["data_offsets"]
        assert begin == at, name  # no holes
        at = end
        if name in about:
            assert about[name].startswith(packed_as(name)) and row["dtype"] == "U8" and begin % 64 == 0
        if name != "checksums":
            digests.append(hashlib.sha256(data[begin:end]).digest())
    assert at == len(data) and rows[-1][0] == "checksums"
    assert data[rows[-1][1]["data_offsets"][0] :] == b"".join(digests)
    for name in SETTINGS:
        begin, end = header["files/" + name]["data_offsets"]
        assert data[begin:end] == (TILES / name).read_bytes()


def test_the_same_file_again(onsight, native, tmp_path):
    """For any instruction set and number of threads."""
    for isa, threads in (("scalar", 1), ("auto", 3)):
        env = {} if isa == "auto" else {"ONSIGHT_ISA": isa}
        assert onsight("convert", TILES, tmp_path / "m.onsight", "--quant", "q8", "--threads", threads, env=env).returncode == 0
        assert (tmp_path / "m.onsight").read_bytes() == native.read_bytes()


# --- writing -----------------------------------------------------------------------------------------------------------------------


def test_wrong_usage(onsight, refused, native, tmp_path):
    refused(onsight("convert"), 2, "expected SRC")
    refused(onsight("convert", TILES), 2, "DST")
    refused(onsight("convert", TILES, tmp_path / "model.bin"), 2, "ends in .onsight")
    refused(onsight("convert", TILES, tmp_path / "m.onsight", "--quant", "q3"), 2, "q3")
    (tmp_path / "d.onsight").mkdir()
    refused(onsight("convert", TILES, tmp_path / "d.onsight"), 2, "found a folder")
    refused(onsight("convert", tmp_path / "none", tmp_path / "m.onsight"), 3, "none")
    refused(onsight("convert", native, tmp_path / "m.onsight"), 3, "converted already")
    refused(onsight("convert", TILES, tmp_path / "no" / "m.onsight"), 1, "cannot be written")
    refused(onsight("inspect", "--verify", TILES), 2, "--verify")
    assert not list(tmp_path.glob("m.onsight*"))


def test_replaces_in_one_step(onsight, refused, tmp_path):
    """A failed conversion leaves what was there; one that succeeds leaves one file."""
    target, source = tmp_path / "m.onsight", tmp_path / "model"
    target.write_text("before")
    shutil.copytree(TILES, source)
    change_json(source / "config.json", lambda c: c["text_config"].update(hidden_size=1024))
    assert onsight("convert", source, target).returncode == 3
    assert target.read_text() == "before" and len(list(tmp_path.iterdir())) == 2
    with open(target) as reader:
        assert onsight("convert", TILES, target).returncode == 0
        assert reader.read() == "before"  # who had it open still has it
    assert onsight("inspect", target).returncode == 0 and len(list(tmp_path.iterdir())) == 2


def test_full_disk(onsight, refused, tmp_path):
    import resource

    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))  # noqa: E731
    refused(onsight("convert", TILES, tmp_path / "m.onsight", preexec_fn=limit), 1, "m.onsight", "cannot be written")
    assert not list(tmp_path.iterdir())


def test_interrupted(onsight, tmp_path):
    target = tmp_path / "m.onsight"
    start = lambda: onsight.start("convert", NANO, target, "--quant", "q4", "--threads", "1")  # noqa: E731
    for _ in interrupted(start, tmp_path, "m.onsight.tmp-*"):
        assert list(tmp_path.iterdir()) == [target]
        assert onsight("inspect", "--verify", target).returncode == 0
        target.unlink()


# --- reading what is broken --------------------------------------------------------------------------------------------------------


def rewrite(source, target, change):
    """With a changed header or data, and checksums that fit again."""
    header, data = read_safetensors(source)
    data = bytearray(data)
    changed = change(header, data)
    header, data = changed or (header, data)
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 64)
    rows = sorted(((k, v) for k, v in header.items() if k != "__metadata__"), key=lambda row: row[1]["data_offsets"])
    if rows[-1][0] == "checksums":
        sums = [hashlib.sha256(struct.pack("<Q", len(text)) + text).digest()]
        sums += [hashlib.sha256(data[slice(*row["data_offsets"])]).digest() for _, row in rows[:-1]]
        begin, end = rows[-1][1]["data_offsets"]
        data[begin:end] = b"".join(sums)[: end - begin]
    write_safetensors(target, text, bytes(data))
    return target


def about(key, value):
    return lambda header, data: header["__metadata__"].__setitem__(key, value)


NORM, HEAD = "model.text_model.norm.weight", "model.text_model.layers.0.self_attn.q_proj.weight"


def change_settings(name, old, new):
    def change(header, data):
        begin, end = header["files/" + name]["data_offsets"]
        assert len(old) == len(new) and old in data[begin:end]
        data[begin:end] = data[begin:end].replace(old, new, 1)

    return change


def drop_last(header, data):
    row = header.pop("checksums")
    return header, data[: row["data_offsets"][0]]


@pytest.mark.parametrize("change, words", [
    (about("format", "pt"), ["onsight convert"]),
    (about("version", "3"), ["version 3", "newer onsight"]),
    (about("version", "one"), ["version"]),
    (about("version", "0"), ["version"]),
    (about(HEAD, "q9 [8, 8]"), ["q9 [8, 8]", "expected a format and a shape"]),
    (about(HEAD, "q8 [8]"), ["q8 [8]"]),
    (about(HEAD, "q8 [8, 8"), ["q8 [8, 8"]),
    (about(HEAD, "q8 [0, 8]"), ["q8 [0, 8]"]),
    (about(HEAD, "q8 [-8, 8]"), ["q8 [-8, 8]"]),
    (about(HEAD, "q8 [9223372036854775807, 9223372036854775807]"), ["expected another number of bytes"]),
    (about(HEAD, "q8 [9999999999999999999999, 8]"), ["expected a format and a shape"]),
    (about(HEAD, "q8 turned [32, 32]"), ["q8 turned", "expected a format and a shape"]),
    (about(HEAD, "f32 [64, 64]"), ["expected another number of bytes"]),
    (about(NORM, "f32 [32, 32]"), ["expected another number of bytes"]),
    (lambda header, data: header["__metadata__"].__delitem__(HEAD), [HEAD, "has shape"]),
    (lambda header, data: header.__setitem__("other", header.pop(NORM)), [NORM, "is missing"]),
    (lambda header, data: header.__setitem__("other", {**header[NORM], "data_offsets": [0, 0], "shape": [0]}), ["checksums"]),
    (lambda header, data: header.__setitem__("files/other", header.pop("files/config.json")), ["config.json"]),
    (drop_last, ["checksums", "missing"]),
    (change_settings("config.json", b'"hidden_size"', b'"hidden_sizE"'), ["config.json"]),
    (change_settings("config.json", b"{", b"["), ["config.json", "valid JSON"]),
    (change_settings("tokenizer.json", b'"model"', b'"modeL"'), ["tokenizer.json"]),
])  # fmt: skip
def test_broken(onsight, refused, native, tmp_path, change, words):
    path = rewrite(native, tmp_path / "m.onsight", change)
    sentence = refused(onsight("ask", "--model", path, "Hi"), 3, "m.onsight", *words)
    if "newer" not in sentence and "format" not in sentence:
        assert onsight("inspect", path).returncode == 3


def test_other_bytes(onsight, refused, native, tmp_path):
    """Of the header at every load, of the data when asked."""
    raw, path = native.read_bytes(), tmp_path / "m.onsight"
    length = struct.unpack("<Q", raw[:8])[0]
    for size in (0, 7, 8, 100, 8 + length - 1, 8 + length, len(raw) // 2, len(raw) - 1):
        path.write_bytes(raw[:size])
        refused(onsight("inspect", path), 3, "m.onsight")
    path.write_bytes(raw + b"\0")
    refused(onsight("inspect", path), 3, "m.onsight")
    at = raw.index(b'"source":"model"') + 10
    path.write_bytes(raw[:at] + b"M" + raw[at + 1 :])
    refused(onsight("inspect", path), 3, "header", "checksum")
    for at in (8 + length, 8 + length + 5000, len(raw) - 1):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        assert onsight("inspect", path).returncode == 0
        refused(onsight("inspect", "--verify", path), 3, "checksum")
    path.write_bytes((TILES / "model.safetensors").read_bytes())
    refused(onsight("inspect", path), 3, "onsight convert")
    path.unlink()
    refused(onsight("inspect", path), 3, "m.onsight")
