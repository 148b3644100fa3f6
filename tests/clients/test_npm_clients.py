"""The official clients from npm: npm/NAME.mjs. scripts/parity.sh installs them where Node is; without it they are skipped."""
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import RECEIPT

FOLDER = Path(__file__).parent / "npm"


@pytest.mark.skipif(not shutil.which("node") or not (FOLDER / "node_modules").is_dir(), reason="Node, or npm/node_modules, is not there")
@pytest.mark.parametrize("name", ["openai", "gemini", "ollama"])
def test_client(server, name):
    done = subprocess.run(["node", FOLDER / f"{name}.mjs", server, RECEIPT, "secret"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
