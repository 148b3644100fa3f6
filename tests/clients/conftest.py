"""The official clients of the APIs, unchanged but for the base URL, against the shipped model."""
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECEIPT = ROOT / "examples" / "receipt.jpg"
ANSWER = "Bread 2.45\nMilk 1.29\nCoffee 6.80\nTotal 10.54"  # as README.md has it


@pytest.fixture(scope="session")
def server():
    """The address of a server with a key."""
    binary = Path(os.environ.get("ONSIGHT_BINARY", ROOT / "build" / "onsight"))
    process = subprocess.Popen([binary, "serve", "--port", "0", "--model", ROOT / "models" / "onsight-nano"], stdin=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, env={**os.environ, "ONSIGHT_API_KEY": "secret"}, text=True)
    line = process.stderr.readline()
    found = re.search(r"at (http://\S+)", line)
    assert found, line + process.stderr.read()
    yield found.group(1)
    process.terminate()
    assert process.wait(60) == 0
