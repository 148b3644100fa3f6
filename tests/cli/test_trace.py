"""trace: all files or none; and the comparison of two folders."""
import json
import os
import resource
import signal
import struct
import time

import numpy
import pytest

from conftest import NANO, ROOT

NAMES = ["input_ids", "text.embeddings", *[f"text.layers.{i}" for i in range(11)], "logits"]


def npy(path, values, shape, kind="<f4"):
    """A .npy file without NumPy."""
    code = {"<f4": "f", "<i4": "i", "<i8": "q"}[kind]
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + struct.pack(f"<{len(values)}{code}", *values))


@pytest.fixture
def trace(scripted, model):
    def run(out, *arguments, script=None, **more):
        return scripted("trace", "--model", model, "--out", out, *arguments, script=script or {}, **more)

    return run


def files(folder):
    return sorted(p.name for p in folder.iterdir())


def test_writes_a_file_for_each_tensor(trace, tmp_path):
    done = trace(tmp_path / "new" / "deep", "x")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert files(tmp_path / "new" / "deep") == sorted(f"{n}.npy" for n in NAMES)
    ids = numpy.load(tmp_path / "new" / "deep" / "input_ids.npy")
    assert ids.tolist() == [1, 2, 3] and ids.dtype == numpy.int32
    logits = numpy.load(tmp_path / "new" / "deep" / "logits.npy")
    assert logits.shape == (3, 4) and logits.dtype == numpy.float32 and logits[0, 1] == 2


def test_an_answer_is_run_through_after_the_prompt(trace, tmp_path, refused):
    assert trace(tmp_path / "a", "x", "--answer", "AB").returncode == 0
    assert numpy.load(tmp_path / "a" / "input_ids.npy").tolist() == [1, 2, 3, ord("A"), ord("B")]
    assert numpy.load(tmp_path / "a" / "logits.npy").shape == (5, 4)
    refused(trace(tmp_path / "a", "--compare", tmp_path / "a", "--answer", "AB"), 2, "expected a question, a picture")


def test_the_answer_that_ask_gives_is_what_each_position_chooses(onsight, tmp_path):
    question = "--model", NANO, "--quant", "none", "--image", ROOT / "examples" / "receipt.jpg", "Read the text."
    answer = json.loads(onsight("ask", "--json", *question).stdout)
    for name, more in (("prompt", ()), ("both", ("--answer", answer["text"]))):
        done = onsight("trace", "--out", tmp_path / name, *question, *more)
        assert done.returncode == 0, done.stderr
    prompt, both = (numpy.load(tmp_path / name / "input_ids.npy").tolist() for name in ("prompt", "both"))
    assert len(prompt) == answer["prompt_tokens"] and both[: len(prompt)] == prompt
    given = both[len(prompt) :]
    assert len(given) == answer["completion_tokens"]
    chosen = numpy.load(tmp_path / "both" / "logits.npy").argmax(-1).tolist()[len(prompt) - 1 :]
    assert chosen[:-1] == given and chosen[-1] not in given  # then the end


def test_an_answer_beyond_the_context_is_refused(onsight, tmp_path, refused):
    refused(onsight("trace", "--model", NANO, "--out", tmp_path / "t", "x", "--answer", "y" * 1024), 3, "prompt and answer", "context of 1024")


def test_an_earlier_trace_is_replaced_and_other_files_stay(trace, tmp_path):
    out = tmp_path / "t"
    out.mkdir()
    (out / "notes.npy").write_text("mine")
    assert trace(out, "x").returncode == 0
    assert trace(out, "x", script={"layers": 2}).returncode == 0
    assert files(out) == sorted(["notes.npy", "input_ids.npy", "text.embeddings.npy", "text.layers.0.npy", "text.layers.1.npy", "logits.npy"])
    assert (out / "notes.npy").read_text() == "mine"


@pytest.mark.parametrize("existing", [False, True])
def test_a_full_disk_leaves_no_file(trace, tmp_path, refused, existing):
    out = tmp_path / "a" / "t"
    if existing:
        assert trace(out, "x").returncode == 0
    before = files(out) if existing else None

    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    # The kernel's limit on a file's size fails a write just as a full disk does, and needs no root.
    refused(trace(out, "x", script={"offset": 1.0}, preexec_fn=small_files), 1, str(out / "input_ids.npy"), "cannot be written")
    if existing:
        assert files(out) == before
        assert trace(out, "--compare", out).returncode == 0
    else:
        assert files(tmp_path) == ["model"]


@pytest.mark.skipif(not os.access("/dev/full", os.W_OK), reason="no /dev/full here")
@pytest.mark.parametrize("out", ["/dev/full", "/dev/full/t", "/proc/onsight"])
def test_a_place_that_cannot_be_a_folder(trace, refused, out):
    refused(trace(out, "x"), 1, out)


def test_an_engine_that_fails_leaves_no_folder(trace, tmp_path, refused):
    refused(trace(tmp_path / "a" / "t", "x", script={"fail": "no such layer"}), 3, "no such layer")
    assert files(tmp_path) == ["model"]


def test_ctrl_c_leaves_no_file(scripted, model, tmp_path):
    process = scripted.start("trace", "--model", model, "--out", tmp_path / "t", "x", script={"delay_ms": 200})
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130 and out == err == b""
    assert files(tmp_path) == ["model"]


def test_equal_folders_agree_in_the_order_of_the_forward_pass(trace, tmp_path):
    trace(tmp_path / "a", "x")
    trace(tmp_path / "b", "x")
    done = trace(tmp_path / "a", "--compare", tmp_path / "b")
    assert done.returncode == 0 and done.stderr == ""
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == NAMES
    assert lines[-1] == "all 14 tensors agree within 0.001"


def test_the_first_difference_is_named(trace, tmp_path):
    trace(tmp_path / "b", "x")
    done = trace(tmp_path / "a", "x", "--compare", tmp_path / "b", script={"offset": 0.1})
    assert done.returncode == 3
    assert "differ first in text.embeddings: relative error 0.0136 (at most 0.001 expected)" in done.stderr
    assert done.stderr.startswith("onsight: ") and done.stderr.count("\n") == 1
    assert "input_ids" in done.stdout and "logits" in done.stdout
    assert trace(tmp_path / "a", "--compare", tmp_path / "b", "--tolerance", "0.1").returncode == 0


@pytest.fixture
def two(tmp_path):
    folders = tmp_path / "a", tmp_path / "b"
    for folder in folders:
        folder.mkdir()
        npy(folder / "input_ids.npy", [1, 2], [2], "<i4")
        npy(folder / "logits.npy", [1.0, -2.0, 3.0, 4.0], [2, 2])
    return folders


def compare(scripted, a, b, *more):
    return scripted("trace", "--out", a, "--compare", b, *more)


def test_integers_are_compared_by_value(scripted, two):
    npy(two[1] / "input_ids.npy", [1, 2], [2], "<i8")
    assert compare(scripted, *two).returncode == 0
    npy(two[1] / "input_ids.npy", [1, 3], [2], "<i8")
    done = compare(scripted, *two)
    assert done.returncode == 3 and "input_ids" in done.stderr and "[1]: 2 instead of 3" in done.stderr


def test_shape_and_type_are_differences(scripted, two):
    npy(two[1] / "logits.npy", [1.0, -2.0, 3.0, 4.0], [4])
    done = compare(scripted, *two)
    assert done.returncode == 3 and "logits: shape [2, 2] instead of [4]" in done.stderr
    npy(two[1] / "logits.npy", [1, -2, 3, 4], [2, 2], "<i4")
    done = compare(scripted, *two)
    assert done.returncode == 3 and "logits: type f32 instead of i32" in done.stderr


def test_a_missing_tensor_is_a_difference_and_an_extra_one_is_not(scripted, two):
    npy(two[1] / "text.norm.npy", [1.0], [1])
    done = compare(scripted, *two)
    assert done.returncode == 3 and "text.norm: missing from" in done.stderr
    assert compare(scripted, two[1], two[0]).returncode == 0


@pytest.mark.parametrize("value, other, code", [("nan", "nan", 0), ("inf", "inf", 0), ("nan", 1.0, 3), (1.0, "nan", 3), ("inf", "-inf", 3), (0.0, 0.0, 0)])
def test_values_that_are_not_finite(scripted, two, value, other, code):
    for folder, x in zip(two, (value, other)):
        npy(folder / "logits.npy", [float(x)] * 4, [2, 2])
    assert compare(scripted, *two).returncode == code


def test_an_empty_tensor_agrees(scripted, two):
    for folder in two:
        npy(folder / "logits.npy", [], [0, 4])
    assert compare(scripted, *two).returncode == 0


def test_folders_that_are_none(scripted, two, tmp_path, refused):
    refused(compare(scripted, two[0], tmp_path / "no"), 3, str(tmp_path / "no"))
    (tmp_path / "empty").mkdir()
    refused(compare(scripted, two[0], tmp_path / "empty"), 3, "no .npy file")
    refused(compare(scripted, tmp_path / "empty", two[0]), 3, "no .npy file")


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"not an array at all", b"\x93NUMPY\x01\x00\xff\xff{'descr'", None])
def test_files_that_are_no_arrays(scripted, two, refused, content):
    path = two[1] / "logits.npy"
    if content is None:  # fewer values than its header says
        path.write_bytes(path.read_bytes()[:-4])
    else:
        path.write_bytes(content)
    refused(compare(scripted, *two), 3, str(path))
