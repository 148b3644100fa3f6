#!/usr/bin/env bash
# What needs packages of PyPI: the comparison of build/onsight with live transformers, the clients of the APIs it serves, and the tests of training/.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/venv.sh
suites=()
for suite in tests/parity tests/clients training/tests; do
  if compgen -G "$suite/test_*.py" >/dev/null; then suites+=("$suite"); fi
done
if command -v npm >/dev/null; then
  (cd tests/clients/npm && npm ci --no-audit --no-fund --loglevel=error)
fi
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
for suite in "${suites[@]}"; do
  .venv/bin/python -m pytest -q -p no:cacheprovider "$suite"
done
