"""Puts training/ on the path and keeps the tests to one thread."""
import os
import shutil
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import pytest

import export  # noqa: F401  # first: it lets transformers import a torchvision whose compiled part does not load


@pytest.fixture(scope="session")
def generator():
    """Skips where the machine lacks what the generator draws with (training/setup.sh installs it)."""
    if not os.path.exists("/usr/share/dict/words") or not shutil.which("fc-list"):
        pytest.skip("no word list or fontconfig: run training/setup.sh")
    from onsight_nano.data import fonts

    if not fonts.names(False, fonts.EASY) or not fonts.families(True):
        pytest.skip("the generator's fonts are missing: run training/setup.sh")
