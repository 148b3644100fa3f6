#!/usr/bin/env bash
# clang-format over every C++ file of the project:  scripts/format.sh [--check]
set -euo pipefail
cd "$(dirname "$0")/.."
mode=(-i)
if [ "${1:-}" = --check ]; then mode=(--dry-run --Werror); fi
folders=()
for folder in src include python capi guest tests fuzz bench bindings examples; do
  if [ -d "$folder" ]; then folders+=("$folder"); fi
done
find "${folders[@]}" -name node_modules -prune -o -type f \( -name '*.cc' -o -name '*.c' -o -name '*.h' -o -name '*.inc' \) -print0 |
  xargs -0 -n 16 -P "${JOBS:-$(nproc)}" clang-format-14 --style=file "${mode[@]}"
