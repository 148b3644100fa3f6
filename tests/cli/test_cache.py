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


def files(folder):
    return sorted(path for path in folder.iterdir())


def test_a_second_run_sees_nothing_anew_and_answers_the_same(onsight, ask, tmp_path):
    plain = onsight("ask", "--model", NANO, "--image", RECEIPT, "Read the text.").stdout
    first, second = ask(), ask()
    assert first["text"] + "\n" == second["text"] + "\n" == plain
    assert first["cached_tiles"] == 0 and second["cached_tiles"] == len(files(tmp_path / "cache")) > 0
    assert ask(question="What is the total?")["cached_tiles"] == second["cached_tiles"]
    assert ask("--quant", "q8")["cached_tiles"] == 0  # other weights see something else


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
    assert again["text"] == first["text"] and again["cached_tiles"] == 0
    assert {path: path.read_bytes() for path in files(tmp_path / "cache")} == whole


def test_files_under_other_names_are_not_believed(ask, tmp_path):
    first = ask()
    *_, last = paths = files(tmp_path / "cache")
    for path in paths:
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
    assert sum(path.stat().st_size for path in files(folder) if path.suffix == ".features") <= 1 << 20
    assert (folder / "letter.txt").exists()
    assert ask("--cache-size", "1")["cached_tiles"] > 0  # what was used last is what stays


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
