#!/usr/bin/env bash
# The server under load, built with a sanitizer:  scripts/serve_load.sh asan|tsan     (streams, clients that leave, ends)
set -euo pipefail
cd "$(dirname "$0")/.."
export ONSIGHT_SCRIPTED="build-$1/onsight_scripted" ASAN_OPTIONS="${ASAN_OPTIONS:-}" TSAN_OPTIONS="${TSAN_OPTIONS:-halt_on_error=1}"
reset=()  # as in scripts/test.sh
if env --default-signal=INT,QUIT true 2>/dev/null; then reset=(env --default-signal=INT,QUIT); fi
"${reset[@]}" "$(scripts/python.sh pytest)" -m pytest -q -p no:cacheprovider tests/server/test_server.py
