"""--cache: what an earlier run saw of a picture serves the next, and whatever happens to the folder, the answer is the same."""
import json
import shutil

import pytest

from conftest import NANO, ROOT

RECEIPT = ROOT / "examples" / "receipt.jpg"


@pytest.fixture
def ask(onsight, tmp_path):
    def run(*options, cache=tmp_path / "cache", model=NANO, question="Read the text."):
        done = onsight("ask", "--json", "--model", model, "--image", RECEIPT, "--cache", cache, *options, question)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return json.loads(done.stdout)

    return run


def files(folder, suffix=""):
    return sorted(path for path in folder.iterdir() if path.name.endswith(suffix))


def cached(reply):
    return reply["prompt_tokens_details"]["cached_tokens"]


def test_a_second_run_sees_nothing_anew_and_answers_the_same(onsight, ask, tmp_path):
    plain = onsight("ask", "--model", NANO, "--image", RECEIPT, "Read the text.").stdout
    first, second = ask(), ask()
    assert first["text"] + "\n" == second["text"] + "\n" == plain
    assert first["cached_tiles"] == 0 and second["cached_tiles"] == len(files(tmp_path / "cache", ".features")) > 0
    other = ask("--quant", "q8")  # other weights see something else
    assert other["cached_tiles"] == cached(other) == 0


@pytest.mark.parametrize("quant", ["none", "q8", "q4"])
def test_another_question_begins_with_its_own_words(onsight, ask, tmp_path, quant):
    image, question = ("--image", RECEIPT), "What is the total?"
    plain = json.loads(onsight("ask", "--json", "--model", NANO, "--quant", quant, *image, question).stdout)
    first, second = ask("--quant", quant), ask("--quant", quant, question=question)
    assert second["text"] == plain["text"] and second["completion_tokens"] == plain["completion_tokens"]
    assert cached(plain) == cached(first) == 0
    assert second["prompt_tokens"] - 40 < cached(second) < second["prompt_tokens"] == plain["prompt_tokens"]
    assert second["cached_tiles"] > 0 and second["timings_ms"]["vision"] < 1  # the tower had nothing to do
    assert len(files(tmp_path / "cache", ".kv")) == 1
    changed = ask("--quant", quant, "--system", "Be brief.", question=question)
    assert cached(changed) == 0 and changed["cached_tiles"] == second["cached_tiles"]
    assert len(files(tmp_path / "cache", ".kv")) == 2


def test_a_conversation_goes_on_from_it(onsight, ask, tmp_path):
    turns = [b"/image %s\n" % str(RECEIPT).encode(), b"Read the text.\n", b"What is the total?\n"]
    chat = lambda *more: onsight("chat", "--model", NANO, *more, input=b"".join(turns))  # noqa: E731
    ask()
    assert chat("--cache", tmp_path / "cache").stdout == chat().stdout != ""
    assert len(files(tmp_path / "cache", ".kv")) == 1


def test_features_serve_where_the_state_is_gone(ask, tmp_path):
    first = ask()
    (state,) = files(tmp_path / "cache", ".kv")
    bytes_, _ = state.read_bytes(), state.unlink()
    again = ask()
    assert again["text"] == first["text"] and cached(again) == 0 and again["cached_tiles"] > 0
    assert state.read_bytes() == bytes_


def test_nothing_is_kept_unless_asked(onsight, tmp_path):
    done = onsight("ask", "--model", NANO, "--image", RECEIPT, "x", env={"HOME": tmp_path, "XDG_CACHE_HOME": tmp_path}, cwd=tmp_path)
    assert done.returncode == 0 and files(tmp_path) == []


def test_only_the_owner_can_read_it(ask, tmp_path):
    ask(cache=tmp_path / "made" / "for" / "it")
    folder = tmp_path / "made" / "for" / "it"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files(folder))


@pytest.mark.parametrize("harm", [lambda b: b"", lambda b: b[:-1], lambda b: b[:100] + b"?" + b[101:], lambda b: b + b"x", lambda b: b"x" * len(b)])  # fmt: skip
def test_harmed_files_are_written_anew(ask, tmp_path, harm):
    first = ask()
    whole = {path: path.read_bytes() for path in files(tmp_path / "cache")}
    for path, data in whole.items():
        path.write_bytes(harm(data))
    again = ask()
    assert again["text"] == first["text"] and again["cached_tiles"] == cached(again) == 0
    assert {path: path.read_bytes() for path in files(tmp_path / "cache")} == whole


def test_files_under_other_names_are_not_believed(ask, tmp_path):
    first = ask()
    *_, last = paths = files(tmp_path / "cache", ".features")
    for path in files(tmp_path / "cache"):
        if path != last:
            shutil.copy(last, path)
    again = ask()
    assert again["text"] == first["text"] and again["cached_tiles"] == 1


def test_another_model_has_its_own(ask, nano):
    assert ask(model=nano)["cached_tiles"] == 0
    assert ask(model=nano)["cached_tiles"] > 0
    config = nano / "generation_config.json"
    config.write_text(config.read_text() + "\n")
    assert ask(model=nano)["cached_tiles"] == 0


def test_the_folder_stays_within_its_size(onsight, ask, tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "letter.txt").write_bytes(b"x" * (3 << 20))
    for i in range(40):
        (folder / f"{i:064x}.features").write_bytes(b"x" * (1 << 16))
    assert ask("--cache-size", "1")["cached_tiles"] == 0
    assert sum(path.stat().st_size for path in files(folder) if path.suffix in (".features", ".kv")) <= 1 << 20
    assert (folder / "letter.txt").exists()
    last = ask("--cache-size", "1")
    assert last["cached_tiles"] > 0  # what was used last is what stays
    assert cached(last) == 0  # keys and values get half, and are larger


def test_stats_say_what_came_from_it(onsight, tmp_path):
    arguments = ["ask", "--stats", "--model", NANO, "--image", RECEIPT, "--cache", tmp_path / "cache", "x"]
    assert "from the cache" not in onsight(*arguments).stderr
    assert "from the cache" in onsight(*arguments).stderr


def test_a_folder_that_cannot_be_is_refused(onsight, tmp_path, refused):
    (tmp_path / "file").write_bytes(b"")
    arguments = ["ask", "--model", NANO, "--image", RECEIPT, "x"]
    refused(onsight(*arguments, "--cache", tmp_path / "file"), 3, "expected a folder")
    refused(onsight(*arguments, "--cache", tmp_path / "file" / "below"), 3, "cannot be made")
    refused(onsight(*arguments, "--cache", ""), 2, "--cache")
    refused(onsight(*arguments, "--cache-size", "0"), 2, "--cache-size")
