#!/usr/bin/env bash
# The agents' own programs, from npm, in images made here, against a scripted model: ONSIGHT_AGENT_CLIS names the harnesses.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(scripts/python.sh pytest)
exec "$python" -m pytest -v -rs -p no:cacheprovider tests/agents/test_clis.py
