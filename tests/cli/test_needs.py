"""What these tests need is what scripts/setup.sh installs for them: none is left out because a package is missing."""
import ast
import re
import sys

import pytest

from conftest import ROOT

FOLDERS = [ROOT / "tests" / name for name in ("cli", "server", "capi")]
FILES = sorted(file for folder in FOLDERS for file in folder.glob("*.py"))


def installed():
    """The Python modules of the set-up's groups for `make test`."""
    return set(re.findall(r"^(?:build|test) *\|.*\| python:(\w+) ", (ROOT / "scripts" / "setup.sh").read_text(), re.M))


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def test_the_set_up_is_read():
    assert installed() == {"pytest", "jsonschema", "numpy"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_imports_are_installed(file):
    text = file.read_text()
    ours = {each.stem for folder in ("tests", "bench") for each in (ROOT / folder).rglob("*.py")}
    others = {name.split(".")[0] for name in imported(ast.parse(text))} - sys.stdlib_module_names - ours
    assert others <= installed(), f"expected in the group `test` of scripts/setup.sh: {others - installed()}"
    assert file.name == "test_needs.py" or not re.search(r"importorskip|pytest\.skip\(", text), "what is missing fails"
