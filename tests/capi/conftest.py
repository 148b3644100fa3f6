"""Tests of libonsight as others use it: by its symbols, from another language, and installed. Its functions are tested in c_api_test.cc.

ONSIGHT_LIBRARY names the library (build/libonsight.so).
"""
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"


@pytest.fixture(scope="session")
def library():
    path = Path(os.environ.get("ONSIGHT_LIBRARY", BUILD / "libonsight.so")).resolve()
    if not path.exists():
        pytest.exit(f"{path} is not there: build it first, or set ONSIGHT_LIBRARY", returncode=1)
    return path
