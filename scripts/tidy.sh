#!/usr/bin/env bash
# clang-tidy as .clang-tidy says, warnings as errors, over src/ and capi/ without tests:  scripts/tidy.sh [FILE.cc]...
set -euo pipefail
cd "$(dirname "$0")/.."
files=("$@")
if [ ${#files[@]} = 0 ]; then
  mapfile -t files < <(find src capi -name '*.cc' ! -name '*_test.cc' | sort)
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! printf '%s\0' "${files[@]}" |
  xargs -0 -n 1 -P "${JOBS:-$(nproc)}" clang-tidy-14 --quiet --config-file=.clang-tidy -p build 2>"$log"; then
  grep -E 'error: ' "$log" >&2 || true
  echo "tidy: failed" >&2
  exit 1
fi
echo "tidy: ${#files[@]} files, no findings"
