#!/usr/bin/env bash
# The tests of the release build: C++ units and cross-room tests, then the command line's through pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
ctest --preset release -j "${JOBS:-$(nproc)}"
if [ -d tests/cli ]; then
  "$(scripts/python.sh pytest)" -m pytest -q -p no:cacheprovider tests/cli
fi
