#!/usr/bin/env python3
"""Checks the house plan: every #include in src/ follows an arrow of cmake/rooms.cmake, no model's name leaves its folder, and the files that
ARCHITECTURE.md and CONTRIBUTING.md name are there.

  tests/include_arrows.py [ROOT]        prints each violation, exits 1 if there is one
  tests/include_arrows.py --self-test   proves, on seeded violations, that the check can fail
"""

import re
import shutil
import sys
import tempfile
from pathlib import Path

# The command line may use every room; it is an executable, so it has no row in the table.
ALL_ROOMS = "cli"
# Folders of models/ that are no architecture.
SHARED_MODEL_FOLDERS = {"blocks"}
# Names under which an architecture is also known.
OTHER_MODEL_NAMES = {"idefics3"}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.MULTILINE)
ROW = re.compile(r"^\s*onsight_room\(\s*(\w+)\s+USES([^)]*?)(?:\bLIBS\b[^)]*)?\)", re.MULTILINE)
# Comments, or strings and character literals (kept): whichever begins first wins.
COMMENT_OR_LITERAL = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(?P<d>[^()\\\s]{0,16})\(.*?\)(?P=d)"|"(?:\\.|[^"\\\n])*"|(?<![0-9A-Fa-f])\'(?:\\.|[^\'\\\n])+\'', re.DOTALL
)


def read_table(root):
    """{room: rooms it may use}"""
    table = {name: set(uses.split()) for name, uses in ROW.findall((root / "cmake/rooms.cmake").read_text())}
    for room, uses in table.items():
        unknown = uses - table.keys()
        if unknown:
            sys.exit(f"cmake/rooms.cmake: {room} uses {', '.join(sorted(unknown))}, which the table does not have")
    if not table:
        sys.exit("cmake/rooms.cmake: no room found")
    return table


def without_comments(text):
    def keep(match):
        return "\n" * match.group().count("\n") if match.group().startswith(("//", "/*")) else match.group()

    return COMMENT_OR_LITERAL.sub(keep, text)


def sources(root):
    return sorted(p for p in (root / "src").rglob("*") if p.suffix in {".cc", ".h", ".inc"} and p.is_file())


def model_names(root):
    folders = {p.name for p in (root / "src/models").iterdir() if p.is_dir()} if (root / "src/models").is_dir() else set()
    return sorted((folders - SHARED_MODEL_FOLDERS) | OTHER_MODEL_NAMES)


def violations(root):
    table = read_table(root)
    found = []
    for folder in sorted(p.name for p in (root / "src").iterdir() if p.is_dir()):
        if folder not in table and folder != ALL_ROOMS:
            found.append(f"src/{folder}: this room is not in cmake/rooms.cmake")
    # A published checkpoint's name ("SmolVLM2-500M-Instruct", in a help text) is no dependence on an architecture.
    names = re.compile(f"({'|'.join(map(re.escape, model_names(root)))})(?!2?-\\d)", re.IGNORECASE)

    for path in sources(root):
        inside = path.relative_to(root / "src")
        if len(inside.parts) < 2:
            found.append(f"{path.relative_to(root)}: expected in a room's folder")
            continue
        room = inside.parts[0]
        allowed = table.keys() if room == ALL_ROOMS else table.get(room, set()) | {room}
        text = without_comments(path.read_text())

        def line_of(match):
            return f"{path.relative_to(root)}:{text.count(chr(10), 0, match.start()) + 1}"

        for match in INCLUDE.finditer(text):
            target = Path(match.group(1))
            if len(target.parts) < 2 or target.parts[0] not in table:
                if not (root / "src" / target).exists() and not (root / "include" / target).exists():
                    found.append(f'{line_of(match)}: "{target}": expected a path that starts with a room')
                elif target.parts[0] == ALL_ROOMS and room != ALL_ROOMS:
                    found.append(f'{line_of(match)}: "{target}": no room may use {ALL_ROOMS}')
                continue
            if target.parts[0] not in allowed:
                found.append(f'{line_of(match)}: "{target}": {room} may not use {target.parts[0]}')
            elif len(target.parts) > 2 and target.parts[0] != room:
                found.append(f'{line_of(match)}: "{target}": headers below a room\'s top folder are private to the room')

        if path.name.endswith("_test.cc"):
            continue
        for match in names.finditer(text):
            owner = match.group().lower()
            if room == "models" and len(inside.parts) > 2 and inside.parts[1] not in SHARED_MODEL_FOLDERS:
                continue
            found.append(f"{line_of(match)}: '{match.group()}': the name of an architecture belongs in src/models/{owner}/ only")
    return found + missing_files(root)


def missing_files(root):
    """Names like `room/file.cc` in the documents, relative to src/ or to the root."""
    found = []
    for document in (root / "ARCHITECTURE.md", root / "CONTRIBUTING.md"):
        for name in re.findall(r"`((?:\w+/)+[\w.-]*\.\w+)`", document.read_text() if document.exists() else ""):
            if not (root / "src" / name).exists() and not (root / name).exists():
                found.append(f"{document.name}: `{name}` is not there")
    return found


def self_test(root):
    """Seeds one violation a time into a copy and expects exactly it to be reported."""
    seeds = [
        ("src/base/seed.h", '#include "engine/engine.h"\n', "base may not use engine"),
        ("src/media/seed.cc", '  #  include "compute/tensor.h"\n', "media may not use compute"),
        ("src/text/seed.cc", '#include "cli/seed.h"\n', "no room may use cli"),
        ("src/engine/seed.cc", '#include "models/seed/private.h"\n', "private to the room"),
        ("src/attic/seed.cc", "int x;\n", "not in cmake/rooms.cmake"),
        ("src/compute/seed.cc", "int smolvlm_layers;\n", "the name of an architecture"),
        ("src/engine/seed.cc", 'auto x = "Idefics3ForConditionalGeneration";\n', "the name of an architecture"),
        ("src/engine/seed.cc", '#include "nowhere.h"\n', "expected a path that starts with a room"),
        ("ARCHITECTURE.md", "`engine/nowhere.cc` and `cmake/rooms.cmake`", "`engine/nowhere.cc` is not there"),
    ]
    harmless = "// SmolVLM\n/* #include \"engine/engine.h\" */\n#include <vector>\n#include \"base/file.h\"\nauto x = \"SmolVLM2-500M\";\n"
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary)
        shutil.copytree(root / "src", copy / "src")
        shutil.copytree(root / "cmake", copy / "cmake")
        (copy / "src/models/smolvlm").mkdir(parents=True, exist_ok=True)
        before = violations(copy)
        for name, text, expected in [*seeds, ("src/text/harmless.cc", harmless, None)]:
            path = copy / name
            path.parent.mkdir(exist_ok=True)
            if name == "src/text/seed.cc":
                (copy / "src/cli").mkdir(exist_ok=True)
                (copy / "src/cli/seed.h").touch()
            path.write_text(text)
            new = [v for v in violations(copy) if v not in before]
            path.unlink()
            if path.parent.name == "attic":
                path.parent.rmdir()
            if (expected is None and new) or (expected is not None and (len(new) != 1 or expected not in new[0])):
                sys.exit(f"self-test: {name} with {text!r}: expected {expected!r}, got {new}")
    print(f"self-test: {len(seeds)} seeded violations found")


def main():
    root = Path(__file__).resolve().parent.parent
    if sys.argv[1:] == ["--self-test"]:
        self_test(root)
        return
    if len(sys.argv) > 1:
        root = Path(sys.argv[1]).resolve()
    found = violations(root)
    print("\n".join(found) if found else f"{len(sources(root))} files follow the arrows")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
