#!/usr/bin/env python3
"""Puts the --help texts of a built program into docs/cli.md: update_docs.py [build/onsight]"""
import re
import subprocess
import sys
from pathlib import Path

root = Path(__file__).resolve().parents[2]
binary = sys.argv[1] if len(sys.argv) > 1 else root / "build" / "onsight"
pages = [root / "docs" / "cli.md", root / "docs" / "agents.md"]


def block(match):
    verb = match.group(1).split()
    text = subprocess.run([binary, *verb[1:], "--help"], check=True, capture_output=True, text=True).stdout
    return f"<!-- {match.group(1)} --help -->\n```text\n{text}```"


for page in pages:
    page.write_text(re.sub(r"<!-- (onsight[ a-z]*) --help -->\n```text\n.*?```", block, page.read_text(), flags=re.S))
