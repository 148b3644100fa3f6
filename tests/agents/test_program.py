"""The program as a whole: small, alone, and clear about what it does not understand."""
import subprocess

import pytest


def test_needs_nothing_and_is_small(program):
    assert program.stat().st_size < 3 << 20
    kind = subprocess.run(["readelf", "-d", program], capture_output=True, text=True)
    assert "NEEDED" not in kind.stdout


def test_version_names_its_sources(agent):
    done = agent("version")
    assert done.returncode == 0
    assert len(done.stdout.strip().rpartition("-")[2]) == 8


def test_help_tells_every_verb_and_code(agent):
    help_text = agent("--help").stdout
    for word in ("send", "inbox", "status", "propose", "done", "me", "mcp", "init", "bridge", "collect", "check", "Exit codes"):
        assert word in help_text
    assert agent("send", "--help").stdout == help_text
    assert agent().returncode == 2


@pytest.mark.parametrize("arguments", [
    ("sent", "x"), ("send", "planner"), ("send", "a", "b", "c"), ("send", "a", "b", "--nothing"), ("send", "a", "b", "--reply-to", "x"),
    ("send", "a", "b", "--reply-to"), ("inbox", "more"), ("inbox", "--wait", "-1"), ("status",), ("done",), ("me", "x"), ("init",),
    ("init", "--"), ("init", "--port", "70000", "--", "true"), ("check", "nothing"), ("check", "memory", "much"), ("send", "a", "b", "--question=yes"),
])
def test_wrong_arguments_are_one_sentence(agent, broker, arguments):
    done = agent(*arguments)
    assert done.returncode == 2, done
    assert done.stdout == "" and done.stderr.startswith("onsight-agent: ") and done.stderr.count("\n") == 1
    assert not broker.requests
