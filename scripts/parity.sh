#!/usr/bin/env bash
# What needs packages of PyPI: the comparison of build/onsight with live transformers, the clients of the APIs it serves, the schemas of Kubernetes, and the tests of training/.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/venv.sh
suites=()
for suite in tests/parity tests/parity_mlx tests/clients training/tests; do
  if compgen -G "$suite/test_*.py" >/dev/null; then suites+=("$suite"); fi
done
suites+=(tests/agents/test_kubernetes.py)  # with the schemas; `make test` runs the rest of it
if command -v npm >/dev/null; then
  for packages in tests/clients/npm tests/parity/npm; do  # without scripts: one would fetch a runtime that the package has
    (cd "$packages" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
  done
fi
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
for suite in "${suites[@]}"; do
  .venv/bin/python -m pytest -q -p no:cacheprovider "$suite"
done
