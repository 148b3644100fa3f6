"""Tests of the Python package as it is installed. ONSIGHT_BINARY names the program that it is compared with (build/onsight)."""

import json
import os
import subprocess
from pathlib import Path

import onsight
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def model():
    return onsight.load()


@pytest.fixture(scope="session")
def cli():
    """cli(arguments...) -> what `onsight ask --json` answers"""
    program = Path(os.environ.get("ONSIGHT_BINARY", ROOT / "build/onsight"))
    if not os.access(program, os.X_OK):
        pytest.skip(f"{program} is not built")

    def ask(*arguments):
        done = subprocess.run([program, "ask", "--json", *map(str, arguments)], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    return ask


@pytest.fixture(scope="session")
def receipt():
    return ROOT / "examples/receipt.jpg"


@pytest.fixture(scope="session")
def scene():
    return ROOT / "examples/scene.png"


@pytest.fixture(scope="session")
def clip():
    return ROOT / "tests/data/video/b-frames.mp4"
