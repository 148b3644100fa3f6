#!/usr/bin/env bash
# The pages that the program serves: their types, their tests, that web/dist/ is what their sources build, and both in a browser: that of
# `serve` against a mock server and, in short, as the program sends it, with the model that ships; that of `agents serve` as the program sends it.
# CHROMIUM names the browser where it is not in PATH; ONSIGHT_URL a server to test against instead of the mock.
set -euo pipefail
cd "$(dirname "$0")/.."
for tool in node npm; do
  if ! command -v "$tool" >/dev/null; then
    echo "web: $tool is missing: install it (scripts/setup.sh web does on Debian), Node 18 or newer" >&2
    exit 1
  fi
done
if ! node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 18 ? 1 : 0)'; then
  echo "web: this is Node $(node --version), and the tests need 18 or newer" >&2
  exit 1
fi
if [ -z "${CHROMIUM:-}" ]; then
  for name in chromium chromium-browser google-chrome; do
    if CHROMIUM=$(command -v "$name"); then break; fi
  done
fi
if [ -z "${CHROMIUM:-}" ]; then
  echo "web: Chromium is missing: install it (scripts/setup.sh web does on Debian), or set CHROMIUM to its path" >&2
  exit 1
fi
if [ ! -x "$CHROMIUM" ]; then
  echo "web: CHROMIUM is '$CHROMIUM', which is not a program" >&2
  exit 1
fi
export CHROMIUM
scripts/build.sh release onsight onsight_scripted onsight-agent agents_story
cd web
npm ci --no-audit --no-fund --loglevel=error
npm test
npm run program
npm run agents
