#!/usr/bin/env bash
# Builds the Python package's wheel into build-wheel/dist/, and tests it in virtual environments that have nothing else of ours:
# scripts/wheel.sh [--build-only]. Compares with build/onsight, and with transformers where .venv has it.
set -euo pipefail
cd "$(dirname "$0")/.."
most_bytes=60000000
python=$(scripts/python.sh ensurepip)
root=$PWD
out=$root/build-wheel
venv=$out/venv

mkdir -p "$out"
if ! "$out/build/bin/python" -c 'import pip' 2>/dev/null; then "$python" -m venv "$out/build"; fi
pip=(-m pip --disable-pip-version-check --quiet --no-input)
mapfile -t requirements < <("$out/build/bin/python" -c 'import tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")')
"$out/build/bin/python" "${pip[@]}" install "${requirements[@]}"
rm -rf "$out/dist"
# What is built with stays in build-wheel/, and so do the objects: the next wheel is a matter of seconds.
# The compiler is that of `make`, and not the one that built this Python.
export CC=${CC:-cc} CXX=${CXX:-c++}
CMAKE_BUILD_PARALLEL_LEVEL=${JOBS:-$(nproc)} "$out/build/bin/python" "${pip[@]}" wheel --no-deps --no-build-isolation \
  --wheel-dir "$out/dist" --config-settings=build-dir="$out/cmake" . >&2
wheel=$(echo "$out"/dist/onsight-*.whl)
bytes=$(stat -c %s "$wheel")
printf 'wheel: %s, %d.%d MB\n' "${wheel##*/}" $((bytes / 1000000)) $((bytes / 100000 % 10))
if [ "$bytes" -gt "$most_bytes" ]; then
  printf 'wheel: expected at most %d MB\n' $((most_bytes / 1000000)) >&2
  exit 1
fi
if [ "${1:-}" = --build-only ]; then exit 0; fi

rm -rf "$venv"
"$python" -m venv "$venv"
"$venv/bin/python" "${pip[@]}" install "$wheel"
# Alone first: the package needs no other, nor a path, nor the tree that it was built from.
(cd / && "$venv/bin/python" -I -c 'import sys, onsight
answer = onsight.pipeline("image-to-text")(sys.argv[1], prompt="Read the text.")
assert answer[0]["generated_text"].startswith("Bread"), answer
assert "numpy" not in sys.modules and "PIL" not in sys.modules' "$root/examples/receipt.jpg")
"$venv/bin/python" "${pip[@]}" install pytest numpy pillow "ray[data]==2.60.0"
"$venv/bin/python" -m pytest -q -p no:cacheprovider tests/python
version='import sys; print(sys.version_info[:2])'
if .venv/bin/python -c 'import torch, transformers' 2>/dev/null &&
  [ "$("$venv/bin/python" -c "$version")" = "$(.venv/bin/python -c "$version")" ]; then
  rm -rf "$out/beside"
  "$venv/bin/python" "${pip[@]}" install --no-deps --target "$out/beside" "$wheel"
  HF_HUB_OFFLINE=1 PYTHONPATH=$out/beside .venv/bin/python -m pytest -q -p no:cacheprovider tests/python/test_transformers.py
fi
