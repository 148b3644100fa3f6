#!/bin/sh
# Prints a Python 3 that can import all of the named modules:  scripts/python.sh [MODULE]...
# Debian's own comes first, because the packages that setup.sh installs are for it; $PYTHON overrides.
for python in ${PYTHON:-/usr/bin/python3 python3 .venv/bin/python}; do
  command -v "$python" >/dev/null 2>&1 || continue
  if "$python" -c 'import importlib, sys; [importlib.import_module(m) for m in sys.argv[1:]]' "$@" 2>/dev/null; then
    command -v "$python"
    exit 0
  fi
done
echo "no Python 3 here has: $*" >&2
exit 1
