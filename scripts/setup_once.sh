#!/bin/sh
# setup.sh, skipped where it has succeeded before:  scripts/setup_once.sh GROUP...
# A stamp for each set of groups, older than no set-up script, and one quick look whether the libraries are still there.
set -eu
cd "$(dirname "$0")/.."
stamp="build/.setup$(printf -- '-%s' "$@")"
libraries='libhwy libutf8proc libjpeg libpng libwebp libwebpdemux libtiff-4 libheif libedit sqlite3 libsodium'
if [ -f "$stamp" ] && [ -z "$(find scripts/setup.sh scripts/setup_once.sh -newer "$stamp")" ] &&
  pkg-config --exists $libraries 2>/dev/null; then
  exit 0
fi
scripts/setup.sh "$@"
mkdir -p build
touch "$stamp"
