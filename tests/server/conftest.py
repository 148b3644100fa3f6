"""Tests of `onsight serve`: each starts the program with a scripted engine and talks to it over sockets.

ONSIGHT_SCRIPTED names the program (build/onsight_scripted).
"""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "cli"))
from pictures import png  # noqa: E402
from serving import Server  # noqa: E402


@pytest.fixture
def launch(tmp_path):
    """launch("--port", …, script={…}) -> process of a server, on a port of its own."""
    binary = Path(os.environ.get("ONSIGHT_SCRIPTED", ROOT / "build" / "onsight_scripted")).resolve()
    if not os.access(binary, os.X_OK):
        pytest.exit(f"{binary} is not there: build it first, or set ONSIGHT_SCRIPTED", returncode=1)
    model = tmp_path / "nano"
    model.mkdir()
    started = []

    def start(*arguments, script=None, **variables):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ONSIGHT_")}
        # A server that is killed leaves its files behind: here.
        environment.update(ONSIGHT_SCRIPT=json.dumps(script or {}), **{"TMPDIR": str(tmp_path), **variables})
        command = [binary, "serve", "--model", model, "--port", "0", *map(str, arguments)]
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.fixture
def serve(launch):
    """The same -> Server."""
    return lambda *arguments, **more: Server(launch(*arguments, **more))


@pytest.fixture
def picture():
    return png(6, 4)
