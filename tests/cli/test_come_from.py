"""Each shell command of the README's table for those who come from other programs."""
import os
import signal
import subprocess
import sys
import urllib.request

import pytest

import gguf_files
from conftest import NANO, ROOT
from hub import ID, Hub

sys.path.append(str(ROOT / "tests"))
from come_from import lines  # noqa: E402

EXPECTED = {"ask": "Bread 2.45", "inspect": "parameters", "list": ID, "pull": "snapshots"}


@pytest.fixture
def place(onsight, tmp_path):
    """Variables of the commands, and a shell to run them in that finds onsight."""
    hub = Hub()
    programs = tmp_path / "bin"
    programs.mkdir()
    os.symlink(onsight.path, programs / "onsight")
    text = gguf_files.write_pair(tmp_path / "gguf", NANO)
    env = onsight.environment(**hub.variables(tmp_path / "home", PATH=f"{programs}:{os.environ['PATH']}", MODEL=NANO, REPO=ID, TEXT=text, MMPROJ=text.with_name("mmproj-model.gguf"),
                                              IMAGE=ROOT / "examples/receipt.jpg", CLIP=ROOT / "tests/data/video/walk.gif", OUT=tmp_path / "out", PORT=0))
    yield lambda line, **more: subprocess.Popen(["sh", "-c", f"exec {line}"], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                                text=True, **more)
    hub.close()


def test_every_line_does_what_it_says(place):
    commands = lines(python=False)
    verbs = {c.split()[1] for c in commands}
    assert verbs >= {"ask", "chat", "serve", "pull", "list", "rm", "convert", "inspect", "bench"}
    for command in commands:
        verb = command.split()[1]
        process = place(command)
        if verb == "serve":
            line = process.stderr.readline()
            url = line[line.index("http://") :].split()[0].rstrip(",")
            with urllib.request.urlopen(f"{url}/health", timeout=10) as reply:
                assert reply.status == 200
            process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=120)
        assert process.returncode == 0, (command, errors)
        if verb in EXPECTED and "--video" not in command and "$TEXT" not in command:
            assert EXPECTED[verb] in out, (command, out)
