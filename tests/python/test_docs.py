"""The examples of docs/python.md and of the package's docstring run, and the package is whole."""

import inspect
import re

import onsight
from conftest import ROOT


def examples():
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text(), re.DOTALL)


def test_the_examples_run(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    blocks = examples()
    assert len(blocks) > 3
    names = {"__name__": "__main__"}
    for block in blocks:
        exec(compile(block, "docs/python.md", "exec"), names)
    assert "Bread 2.45" in capsys.readouterr().out


def test_the_package_is_whole():
    from importlib.resources import files

    package = files("onsight")
    assert (package / "py.typed").is_file() and (package / "_engine.pyi").is_file()
    for name in onsight.__all__:
        assert inspect.getdoc(getattr(onsight, name)), name
    for name, method in inspect.getmembers(onsight.Model, inspect.isfunction):
        assert name.startswith("_") or inspect.getdoc(method), name


def test_the_stub_names_what_is_there():
    from onsight import _engine

    stub = (ROOT / "python/onsight/_engine.pyi").read_text()
    named = set(re.findall(r"^(?:class|def) (\w+)", stub, re.MULTILINE)) - {"Timings", "Reply"}
    assert named == {name for name in dir(_engine) if not name.startswith("_")}
    for cls in ("Picture", "Clip", "Schema", "Answering", "Runner"):
        body = re.search(rf"^class {cls}:\n(.*?)(?=^\S|\Z)", stub, re.MULTILINE | re.DOTALL).group(1)
        assert set(re.findall(r"    def (\w+)", body)) == {name for name in dir(getattr(_engine, cls)) if not name.startswith("_")}, cls
