"""bench: what it measures is consistent, its files have the documented keys, and it refuses what makes no sense."""
import json
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from conftest import ROOT

sys.path.insert(0, str(ROOT / "bench"))
import report  # noqa: E402

STAGES = ["load_ms", "preprocess_ms", "vision_ms", "vision_tile_ms", "prefill_ms", "first_token_ms"]
CEILINGS = ["f32_ops_per_s", "int8_ops_per_s", "bf16_ops_per_s", "read_bytes_per_s"]


@pytest.fixture(scope="session")
def measured(onsight, tmp_path_factory):
    """One run of the model that ships: (CompletedProcess, JSON, path of the plot)"""
    folder = tmp_path_factory.mktemp("bench")
    done = onsight("bench", "--runs", "3", "--max-tokens", "8", "--threads", "1", "--json", folder / "b.json", "--plot", folder / "b.svg")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done, json.loads((folder / "b.json").read_text()), folder / "b.svg"


def spread_is_sane(spread, runs):
    assert set(spread) == {"median", "min", "max", "runs"} and len(spread["runs"]) == runs
    assert 0 <= spread["min"] <= spread["median"] <= spread["max"]
    assert spread["min"] == min(spread["runs"]) and spread["max"] == max(spread["runs"])


def svg(path):
    root = ElementTree.parse(path).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    texts = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
    numbers = [value for element in root.iter() for value in element.attrib.values()]
    assert not any(word in value for value in numbers for word in ("nan", "inf"))
    return texts


def test_the_table(measured):
    done, result, _ = measured
    for word in ["onsight-nano", result["machine"]["cpu"], result["machine"]["isa"], "receipt.jpg", "vision", "prefill",
                 "first token", "second question", "memory"]:  # fmt: skip
        assert word in done.stdout


def test_the_json(measured):
    _, result, _ = measured
    assert set(result) == {"onsight", "machine", "ceilings", "model", "threads", "runs", "picture", "tiles", "prompt_tokens",
                           "completion_tokens", "stages", "second_question", "work", "speeds", "reached", "read_bytes_per_s", "steps", "peak_memory_bytes"}  # fmt: skip
    assert set(result["machine"]) == {"cpu", "cores", "memory_bytes", "isa"} and result["machine"]["cores"] >= 1
    assert result["runs"] == 3 and result["threads"] == 1 and result["ceilings"]["threads"] == 1
    assert result["picture"] == {"file": "receipt.jpg", "width": 320, "height": 230} and result["tiles"] == 1
    assert 1 <= result["completion_tokens"] <= 8
    for stage in STAGES + ["decode_tokens_per_s"]:
        spread_is_sane(result["stages"][stage], 3)
    spread_is_sane(result["second_question"]["first_token_ms"], 3)
    for name in CEILINGS:
        assert result["ceilings"][name] is None or result["ceilings"][name] > 0
    assert result["peak_memory_bytes"] > 2 * result["model"]["parameters"]


def test_the_figures_are_consistent(measured):
    _, result, _ = measured
    stages = result["stages"]
    for run in range(3):
        parts = sum(stages[name]["runs"][run] for name in ["preprocess_ms", "vision_ms", "prefill_ms"])
        assert parts <= stages["first_token_ms"]["runs"][run]
        assert stages["vision_tile_ms"]["runs"][run] * result["tiles"] == pytest.approx(stages["vision_ms"]["runs"][run])
    work, speeds, reached = result["work"], result["speeds"], result["reached"]
    assert work["tile_ops"] == work["tile_linear_ops"] + work["tile_attention_ops"]
    assert work["prompt_ops"] == work["prompt_linear_ops"] + work["prompt_attention_ops"]
    assert speeds["vision_ops_per_s"] == pytest.approx(work["tile_ops"] * result["tiles"] / stages["vision_ms"]["median"] * 1e3)
    assert reached["vision_of_f32"] == pytest.approx(speeds["vision_ops_per_s"] / result["ceilings"]["f32_ops_per_s"])
    for of, stage, least, ops in [("tile", "vision_tile_ms", 1, "tile_ops"), ("prompt", "prefill_ms", 0.5, "prompt_ops")]:
        steps = [step for step in result["steps"] if step["of"] == of]
        assert [step["what"] for step in steps][-1] == "the rest" and any(step["what"].startswith("attention") for step in steps)
        assert 0.5 * stages[stage]["min"] < sum(step["ms"] for step in steps) <= stages[stage]["max"]
        # Of the last layer of a prompt, and of the head, one row is computed.
        assert least * work[ops] <= sum(step["ops"] for step in steps) * 1.000001 <= work[ops] * 1.000002
    token = [step for step in result["steps"] if step["of"] == "token"]
    assert sum(step["bytes"] for step in token) == pytest.approx(work["answer_token_bytes"], rel=0.02)
    assert 0.5 < sum(step["ms"] for step in token) * stages["decode_tokens_per_s"]["median"] / 1e3 < 1.5
    # The picture stands before the question: its features and its prompt are found again.
    second = result["second_question"]
    assert second["reused_tokens"] >= 144 and second["reused_tokens"] < second["prompt_tokens"]


def test_the_work_of_the_shipped_model(measured):
    """By hand: 24 x 24 patches of 8 x 8, 5 layers of d 192 and FFN 768, pixel shuffle by 2, 256 wide text."""
    _, result, _ = measured
    n, d, ffn = 24 * 24, 192, 768
    linear = n * (3 * 8 * 8 * d + 5 * (4 * d * d + 2 * d * ffn)) + n // 4 * 4 * d * 256
    assert result["work"]["tile_linear_ops"] == 2 * linear
    assert result["work"]["tile_attention_ops"] == 5 * 4 * n * n * d
    a_token = 4 * (2 * 256 * 256 + 2 * 256 * 128 + 3 * 256 * 704)
    tokens = result["prompt_tokens"]
    assert result["work"]["prompt_linear_ops"] == 2 * (tokens * a_token + 264 * 256)
    assert result["work"]["prompt_attention_ops"] == 4 * 4 * 256 * tokens * (tokens + 1) / 2


def test_the_report_of_the_json(measured):
    """bench/report.py makes the tables of docs/performance.md from such files."""
    text = report.bench_table(measured[1])
    for word in ["| vision |", "| second question |", "receipt.jpg", "Ceilings: f32", "Peak memory: 0.0"]:
        assert word in text


def test_a_page_is_filled_between_its_markers(measured, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(measured[1]))
    (tmp_path / "peers-x.json").write_text(json.dumps({"preset": "x", "runs": 1, "rows": [{"name": "p", "not_measured": "a | b"}]}))
    page = "1\n<!-- results:a -->\nold\n<!-- /results:a -->\n2\n<!-- results:b -->\n<!-- /results:b -->\n"
    page += "<!-- results:peers-x -->\n<!-- /results:peers-x -->\n3\n"
    new = report.filled(page, tmp_path)
    assert "old" not in new and "| vision |" in new and "*not measured yet*" in new and "not measured: a \\| b" in new
    assert new.startswith("1\n") and new.endswith("3\n") and report.filled(new, tmp_path) == new


def test_the_plot(measured):
    texts = svg(measured[2])
    assert {"load", "vision", "prefill", "first token", "second question"} <= set(texts)


@pytest.mark.parametrize("over, up_to, key, expected", [("tiles", 3, "tiles", [1, 2, 3]), ("threads", 2, "threads", [1, 2])])
def test_a_sweep(onsight, tmp_path, over, up_to, key, expected):
    done = onsight("bench", "--sweep", over, "--up-to", up_to, "--runs", "1", "--max-tokens", "2", "--json", tmp_path / "s.json",
                   "--plot", tmp_path / "s.svg")  # fmt: skip
    assert done.returncode == 0 and done.stderr == ""
    result = json.loads((tmp_path / "s.json").read_text())
    sweep = result["sweep"]
    assert "| first token |" in report.bench_table(result)
    assert sweep["over"] == over and [point[key] for point in sweep["points"]] == expected
    assert ("time_ms_fit" in sweep) == (over == "tiles")
    for point in sweep["points"]:
        spread_is_sane(point["stages"]["first_token_ms"], 1)
        assert point["peak_memory_bytes"] > 0
    svg(tmp_path / "s.svg")


def test_a_sweep_of_tokens_reuses_nothing_and_meets_its_lengths(onsight, tmp_path):
    done = onsight("bench", "--sweep", "tokens", "--up-to", "512", "--runs", "1", "--max-tokens", "2", "--json", tmp_path / "s.json")
    assert done.returncode == 0 and done.stderr == ""
    points = json.loads((tmp_path / "s.json").read_text())["sweep"]["points"]
    lengths = [point["prompt_tokens"] for point in points]
    assert len(lengths) == 3
    for length, wanted in zip(lengths, [128, 256, 512], strict=True):
        assert wanted - 8 <= length <= wanted
    work = [point["work"]["prompt_ops"] for point in points]
    assert work == sorted(work)


def test_each_run_loads_anew(scripted, model, picture, tmp_path):
    log = tmp_path / "requests"
    done = scripted("bench", "--model", model, "--image", picture, "--runs", "2", "--max-tokens", "5", "--prompt", "What?",
                    script={"log": str(log), "tiles": 2})  # fmt: skip
    assert done.returncode == 0, done.stderr
    asked = [json.loads(line) for line in log.read_text().splitlines()]
    assert [r["messages"][-1]["parts"] for r in asked] == [["<6x4>", "What?"], ["<6x4>", "What else is there?"]] * 2
    assert all(r["max_tokens"] == 5 and r["temperature"] == 0 for r in asked)


def test_an_error_of_the_model_is_the_error(scripted, model, picture, refused):
    refused(scripted("bench", "--model", model, "--image", picture, script={"fail": "x: broken", "code": 1}), 3, "x: broken")


def test_a_file_that_cannot_be_written(scripted, model, picture, refused, tmp_path):
    refused(scripted("bench", "--model", model, "--image", picture, "--json", tmp_path / "no" / "b.json"), 1, "no")


@pytest.mark.parametrize("arguments, words", [
    (["--sweep", "pixels"], ["--sweep", "tiles", "'pixels'"]),
    (["--up-to", "3"], ["--up-to", "--sweep"]),
    (["--sweep", "tiles", "--image", "x.png"], ["--image", "tiles"]),
    (["--image", "-"], ["standard input"]),
    (["--runs", "0"], ["--runs"]),
    (["--json", ""], ["--json"]),
])  # fmt: skip
def test_wrong_usage(scripted, refused, arguments, words):
    refused(scripted("bench", *arguments), 2, *words)
