"""The lines of Python in the README's table for those who come from other programs."""
import sys

import onsight
from conftest import ROOT

sys.path.append(str(ROOT / "tests"))
from come_from import lines


def test_every_line_does_what_it_says():
    names = {"onsight": onsight, "MODEL": str(ROOT / "models/onsight-nano"), "IMAGE": str(ROOT / "examples/receipt.jpg")}
    commands = lines(python=True)
    assert len(commands) >= 2
    for command in commands:
        assert "Bread 2.45" in str(eval(command, dict(names))), command  # noqa: S307
