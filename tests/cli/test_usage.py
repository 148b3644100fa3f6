"""Wrong usage is one sentence and exit code 2; --help says what there is, and docs/cli.md says the same."""
import json
import re

import pytest

from conftest import ROOT

VERBS = ["ask", "chat", "read", "describe", "watch", "serve", "pull", "list", "rm", "convert", "export", "trace", "tokenize", "inspect", "bench"]
AGENT_VERBS = ["init", "doctor", "image", "key", "unlock", "start", "list", "look", "attach", "logs", "message", "inbox", "stop", "resume", "rm",
               "diff", "merge", "sync", "exec", "run", "serve", "manifest", "supervise", "broker"]  # fmt: skip


def test_help_names_every_verb_and_exit_code(onsight):
    done = onsight("--help")
    assert done.returncode == 0 and done.stderr == ""
    for word in [*VERBS, "agents", "130", "not enough memory", "ONSIGHT_MODELS"]:
        assert word in done.stdout
    assert onsight("help").stdout == onsight("-h").stdout == done.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb(onsight, verb):
    done = onsight(verb, "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith(f"onsight {verb}: ") and f"Usage: onsight {verb}" in done.stdout
    assert all(len(line) <= 100 for line in done.stdout.splitlines())
    assert onsight("help", verb).stdout == done.stdout


@pytest.mark.parametrize("verb", AGENT_VERBS)
def test_help_of_a_verb_of_agents(onsight, verb):
    done = onsight("agents", verb, "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith(f"onsight agents {verb}: ")
    assert all(len(line) <= 100 for line in done.stdout.splitlines())
    assert onsight("help", "agents", verb).stdout == done.stdout
    assert f"\n  {verb} " in onsight("agents").stdout == onsight("agents", "--help").stdout
    assert done.stdout in (ROOT / "docs" / "agents.md").read_text(), "run tests/cli/update_docs.py"


def test_version(onsight):
    assert re.fullmatch(r"onsight \d+\.\d+\.\d+\n", onsight("--version").stdout)


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_docs_hold_the_help_text(onsight, verb):
    text = onsight(*([verb] if verb else []), "--help").stdout
    assert text in (ROOT / "docs" / "cli.md").read_text(), "run tests/cli/update_docs.py"


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], ["verb"]),
        (["aks"], ["'aks'", "'ask'"]),
        (["frobnicate"], ["'frobnicate'", "--help"]),
        (["run", "x"], ["'run'", "lists the verbs"]),
        (["lits"], ["did you mean 'list'?"]),
        (["agents", "lits"], ["did you mean 'list'?"]),
        (["agents", "frobnicate"], ["'frobnicate'", "onsight agents --help"]),
        (["ask", str(ROOT / "README.md")], ["is a file", "--image"]),
        (["ask", "   "], ["expected a question"]),
        (["ask", "receipt.jpg", "What is the total?"], ["'What is the total?'", "a picture goes after --image"]),
        (["chat", "receipt.jpg"], ["'receipt.jpg'", "expected none"]),
        (["ask"], ["question", "--image"]),
        (["ask", ""], ["question"]),
        (["ask", "--temprature", "1", "hi"], ["--temprature", "'--temperature'"]),
        (["ask", "--stats=no", "hi"], []),
        (["ask", "-z", "hi"], ["'-z'"]),
        (["ask", "hi", "there"], ["'there'", "quote"]),
        (["ask", "hi", "--image"], ["--image", "FILE"]),
        (["ask", "hi", "-i"], ["-i", "FILE"]),
        (["ask", "--image", "", "hi"], ["--image"]),
        (["ask", "--stop", "", "hi"], ["--stop"]),
        (["ask", "--image", "-", "--image", "-"], ["standard input"]),
        (["ask", "--image", "-", "-"], ["standard input"]),
        (["ask", "--model", "", "hi"], ["--model"]),
        (["ask", "--max-tokens", "0", "hi"], ["--max-tokens", "from 1 to", "'0'"]),
        (["ask", "--max-tokens", "99999999999999999999", "hi"], ["--max-tokens"]),
        (["ask", "--max-tokens", "12x", "hi"], ["'12x'"]),
        (["ask", "--max-tokens", "", "hi"], ["--max-tokens"]),
        (["ask", "--temperature", "-1", "hi"], ["--temperature", "'-1'"]),
        (["ask", "--temperature", "nan", "hi"], ["'nan'"]),
        (["ask", "--temperature", "inf", "hi"], ["'inf'"]),
        (["ask", "--top-p", "0", "hi"], ["above 0"]),
        (["ask", "--top-p", "1.5", "hi"], ["at most 1"]),
        (["ask", "--min-p", "2", "hi"], ["--min-p"]),
        (["ask", "--top-k", "-3", "hi"], ["--top-k"]),
        (["ask", "--repetition-penalty", "0", "hi"], ["--repetition-penalty"]),
        (["ask", "--seed", "-1", "hi"], ["--seed"]),
        (["ask", "--seed", "18446744073709551616", "hi"], ["--seed"]),
        (["ask", "--threads", "0", "hi"], ["--threads"]),
        (["ask", "--max-tiles", "0", "hi"], ["--max-tiles"]),
        (["chat", "--image", "-"], ["standard input"]),
        (["chat", "hi"], ["'hi'"]),
        (["trace", "hi"], ["--out"]),
        (["trace", "--out", "x"], ["question"]),
        (["trace", "--out", "x", "--compare", "y", "--tolerance", "-1"], ["--tolerance"]),
        (["tokenize", "--special=perhaps"], []),
        (["inspect", "a", "b"], ["'b'"]),
    ],
)
def test_wrong_usage(onsight, refused, arguments, words, tmp_path):
    refused(onsight(*arguments, cwd=tmp_path), 2, *words)
    assert list(tmp_path.iterdir()) == []


def test_of_an_option_that_is_given_twice_the_last_counts(scripted, tmp_path):
    clip, log = ROOT / "tests/data/video/walk.gif", tmp_path / "log"
    arguments = ("--video", clip, "--fps", "1", "--max-tokens", "3", "--fps", "2", "--max-tokens", "9", "Hi")
    assert scripted("ask", "--model", tmp_path, *arguments, script={"log": str(log)}).returncode == 0
    [request] = map(json.loads, log.read_text().splitlines())
    assert request["max_tokens"] == 9 and ", fps 2>" in request["messages"][0]["parts"][0]


def test_a_sentence_stays_one_line_and_cannot_steer_the_terminal(onsight, refused):
    sentence = refused(onsight("ask", "--model", "no\n\x1b[31mmodel\x9b", "hi"), 3)
    assert "\x1b" not in sentence and "\x9b" not in sentence
