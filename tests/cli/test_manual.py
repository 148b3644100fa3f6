"""The manual page and the completions of shells, which are made of the tables of --help."""
import shutil
import subprocess

import pytest

from test_usage import AGENT_VERBS, VERBS


def complete(script, *words):
    """What bash would offer behind `onsight WORDS`, the last of which is being typed."""
    call = f'COMP_WORDS=(onsight "$@"); COMP_CWORD={len(words)}; _onsight; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", f"{script}\n{call}", "bash", *words], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_bash(onsight, tmp_path, monkeypatch):
    script = onsight("--completions", "bash").stdout
    assert {"ask", "read", "serve", "--version"} <= set(complete(script, ""))
    assert complete(script, "desc") == ["describe"]
    assert complete(script, "agents", "mer") == ["merge"]
    assert complete(script, "agents", "start", "--ro") == ["--role"] and complete(script, "agents", "start", "--st") == []
    assert complete(script, "ask", "--max-t") == ["--max-tokens", "--max-tiles"]
    assert complete(script, "ask", "--quant", "") == ["auto", "none", "q8", "q4"]
    assert complete(script, "ask", "--temperature", "") == []
    assert "--port" in complete(script, "serve", "--") and "--port" not in complete(script, "ask", "--")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(b"")
    assert complete(script, "ask", "--image", "ph") == ["photo.jpg"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells(onsight, shell, tmp_path):
    done = onsight("--completions", shell)
    for word in ["describe", "max-tokens", "auto none q8 q4", "repetition-penalty"]:
        assert word in done.stdout
    (tmp_path / "script").write_text(done.stdout)
    if shutil.which(shell):
        subprocess.run([shell, "-n", tmp_path / "script"], check=True)


def test_another_shell(onsight):
    done = onsight("--completions", "csh")
    assert done.returncode == 2 and "--completions: expected bash, zsh or fish, found 'csh'" in done.stderr
    assert onsight("--completions").returncode == 2


def test_the_manual_page(onsight):
    page = onsight("--man").stdout
    for verb in VERBS:
        assert f".SH {verb.upper()}\n" in page
    for verb in AGENT_VERBS:
        assert f".SH AGENTS {verb.upper()}\n" in page
    assert page.startswith(".TH ONSIGHT 1") and "\\-\\-repetition\\-penalty R" in page
    if shutil.which("groff"):
        done = subprocess.run(["groff", "-man", "-Tutf8", "-ww"], input=page, capture_output=True, text=True, check=True)
        assert done.stderr == "" and "--repetition-penalty" in done.stdout.replace("\b", "")[:0] + "".join(
            c for i, c in enumerate(done.stdout) if done.stdout[i + 1 : i + 2] != "\b" and c != "\b")  # fmt: skip
