"""onsight.ray, run by workers of their own on this machine."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_DEDUP_LOGS="0")
ray = pytest.importorskip("ray", reason="Ray is not installed here; scripts/wheel.sh installs it")
import ray.data

from onsight import InputError
from onsight.ray import ask

MOST_TOKENS = 12


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, scene):
    """Files of 24 pictures that differ."""
    folder = tmp_path_factory.mktemp("pictures")
    pixels = np.asarray(Image.open(scene).convert("RGB"))
    files = []
    for i in range(24):
        files.append(folder / f"{i:02}.png")
        Image.fromarray(np.roll(pixels, 5 * i, 1)).save(files[-1])
    return files


def workers():
    """Processes of this machine that are workers of a dataset."""
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cmdline").read_bytes().startswith(b"ray::MapWorker"):
                found.add(int(entry.name))
        except OSError:
            continue
    return found


def test_the_answers_are_those_of_one_process(model, pictures):
    rows = ray.data.from_items([{"path": str(file), "n": n} for n, file in enumerate(pictures)])
    answered = ask(rows, "How many shapes?", column="path", workers=2, batch_size=4, max_tokens=MOST_TOKENS).take_all()
    assert sorted(row["n"] for row in answered) == list(range(len(pictures)))
    for row in answered:
        assert row["answer"] == model.ask(row["path"], "How many shapes?", max_tokens=MOST_TOKENS) and row["error"] is None


def test_bytes_and_arrays(model, receipt, scene):
    rows = ray.data.from_items([{"image": file.read_bytes()} for file in (receipt, scene)])
    answers = {row["answer"] for row in ask(rows, max_tokens=MOST_TOKENS).take_all()}
    assert answers == {model.ask(file, max_tokens=MOST_TOKENS).text for file in (receipt, scene)}
    pixels = np.asarray(Image.open(scene).convert("RGB"))
    answered = ask(ray.data.from_items([{"image": pixels}]), "How many shapes?", answer="count").take_all()
    assert answered[0]["count"] == model.ask(pixels, "How many shapes?")


def test_a_picture_that_cannot_be_used_is_a_row_with_a_sentence(receipt, tmp_path):
    (tmp_path / "torn.jpg").write_bytes(receipt.read_bytes()[:200])
    rows = ray.data.from_items([{"image": str(file)} for file in (tmp_path / "no.png", tmp_path / "torn.jpg", receipt)])
    answered = {Path(row["image"]).name: row for row in ask(rows, "Read the text.").take_all()}
    assert "no.png: cannot be opened" in answered["no.png"]["error"] and answered["no.png"]["answer"] is None
    assert "torn.jpg" in answered["torn.jpg"]["error"]
    assert answered["receipt.jpg"]["answer"].startswith("Bread") and answered["receipt.jpg"]["error"] is None


def test_a_killed_worker_loses_nothing(pictures):
    rows = ray.data.from_items([{"path": str(pictures[n % len(pictures)]), "n": n} for n in range(160)])
    seen, killed = [], None
    for row in ask(rows, "Describe this image.", column="path", workers=2, batch_size=2).iter_rows():
        seen.append(row["n"])
        assert row["error"] is None and row["answer"]
        if killed is None and len(seen) >= 8:
            before = workers()
            assert len(before) == 2 and len(seen) < 160
            killed = min(before)
            os.kill(killed, signal.SIGKILL)
    assert killed is not None and sorted(seen) == list(range(160))


def run(program, *arguments):
    """In a process, and a cluster, of its own."""
    command = [sys.executable, str(ROOT / program), *map(str, arguments)]
    done = subprocess.run(command, env={**os.environ, "RAY_ADDRESS": "local"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_example_reads_a_folder(model, tmp_path):
    run("examples/read_folder_ray.py", ROOT / "examples", tmp_path / "answers")
    lines = [json.loads(line) for file in (tmp_path / "answers").iterdir() for line in file.read_text().splitlines()]
    assert {Path(line["path"]).name: line["answer"] for line in lines} == {
        name: model.ask(ROOT / "examples" / name, "Read the text.").text for name in ("receipt.jpg", "scene.png", "screenshot.png")
    }


def test_the_benchmark_counts_every_picture(tmp_path):
    said = run("bench/ray_workers.py", "--pictures", 32, "--results", tmp_path)
    print(said)
    results = json.loads((tmp_path / "ray.json").read_text())
    assert [row["workers"] for row in results["rows"]][:2] == [0, 1] and all(row["pictures_per_s"] > 0 for row in results["rows"])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"batch_size": 0}, "batch_size: expected 1 to 256, found 0"),
        ({"threads": 0}, "threads: expected 1 or more, found 0"),
        ({"workers": (2, 1)}, r"workers: expected 1 or more, or a pair \(least, most\), found \(2, 1\)"),
        ({"answer": "image"}, "column, answer and error: expected three names"),
        ({"model": "no-such-model"}, "model 'no-such-model' not found"),
        ({"max_tokens": -1}, "max_tokens"),
    ],
)
def test_mistakes_are_told_before_anything_runs(options, sentence):
    with pytest.raises(InputError, match=sentence):
        ask(ray.data.from_items([{"image": ""}]), **options)


def test_unknown_options_are_refused():
    with pytest.raises(TypeError, match="video"):
        ask(ray.data.from_items([{"image": ""}]), video="a.mp4")
    with pytest.raises(TypeError, match="beams"):
        ask(ray.data.from_items([{"image": ""}]), beams=2)
