#!/usr/bin/env bash
# clang-tidy as .clang-tidy says, warnings as errors:  scripts/tidy.sh [FILE.cc]...
# Without files all of src/ and capi/ but the tests, the sources of a room as one: most of the work is in the headers that they share.
set -euo pipefail
cd "$(dirname "$0")/.."
checks=
if [ $# != 0 ]; then
  files=("$@") tree=build
else
  tree=build-tidy
  mkdir -p "$tree"
  cmake --preset tidy >"$tree/configure.log" 2>&1 || { cat "$tree/configure.log" >&2; exit 1; }
  mapfile -t files < <(python3 -c '
import json, os, sys
files = [os.path.normpath(os.path.join(entry["directory"], entry["file"])) for entry in json.load(open(sys.argv[1]))]
print(*sorted(f for f in files if "/generated/" not in f), sep="\n")' "$tree/compile_commands.json")
  checks=-bugprone-suspicious-include  # that is how sources are put together
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! printf '%s\0' "${files[@]}" |
  xargs -0 -n 1 -P "${JOBS:-$(nproc)}" clang-tidy-14 --quiet --config-file=.clang-tidy ${checks:+"--checks=$checks"} -p "$tree" 2>"$log"; then
  grep -E 'error: ' "$log" >&2 || true
  echo "tidy: failed" >&2
  exit 1
fi
echo "tidy: ${#files[@]} sources, no findings"
