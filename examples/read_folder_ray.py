#!/usr/bin/env python3
"""Reads the text of every picture of a folder with several workers, on this machine or on a cluster of Ray's that it belongs to.

    pip install onsight "ray[data]"
    examples/read_folder_ray.py scans answers --workers 4        # answers/*.json: a line for each picture
"""

import argparse
from pathlib import Path

import ray
from onsight.ray import ask

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".avif"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("answers", type=Path, help="a folder, which gets the answers")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--prompt", default="Read the text.")
    given = parser.parse_args()
    files = [{"path": str(path)} for path in sorted(given.folder.resolve().rglob("*")) if path.suffix.lower() in PICTURES]
    ask(ray.data.from_items(files), given.prompt, column="path", workers=given.workers).write_json(str(given.answers.resolve()))


if __name__ == "__main__":
    main()
