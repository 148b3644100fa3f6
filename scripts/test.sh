#!/usr/bin/env bash
# The tests of the release build: C++ units and cross-room tests, then those of the command line, of the server, of the library and of agents through pytest.
#   scripts/test.sh [cpp|tests/cli|tests/server|tests/capi|tests/agents]...        all of them
set -euo pipefail
cd "$(dirname "$0")/.."
if [ $# = 0 ]; then set -- cpp tests/cli tests/server tests/capi tests/agents; fi
# A shell that starts a job in the background makes it ignore Ctrl-C, nohup a closed terminal, and their children too; the tests of both need them back.
reset=()
if env --default-signal=INT,QUIT,HUP true 2>/dev/null; then reset=(env --default-signal=INT,QUIT,HUP); fi
python=$(scripts/python.sh pytest jsonschema numpy)
for suite in "$@"; do  # one by one: each has a conftest.py of its own
  if [ "$suite" = cpp ]; then
    ctest --preset release -j "${JOBS:-$(nproc)}"
  else
    "${reset[@]}" "$python" -m pytest -q -rs -p no:cacheprovider "$suite"
  fi
done
