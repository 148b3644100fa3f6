#!/usr/bin/env bash
# Configures (where needed) and builds a preset:  scripts/build.sh [release|debug|asan|tsan|aarch64] [TARGET]...
# Prints to stderr only, so that what a program says afterwards stands alone on stdout.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/ccache.sh
preset=${1:-release}
shift || true
directory=build-$preset
if [ "$preset" = release ]; then directory=build; fi

# A tree that was moved or copied carries the paths of its old place in its build folder; configuring starts over then.
cache=$directory/CMakeCache.txt
if [ -f "$cache" ] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$PWD" "$cache"; then
  rm -rf "$cache" "$directory/CMakeFiles" "$directory/build.ninja"
fi
if [ ! -f "$cache" ] || [ ! -f "$directory/build.ninja" ]; then
  mkdir -p "$directory"
  once=()
  if [ "${CI:-}" = true ]; then once=(-DCMAKE_UNITY_BUILD_BATCH_SIZE=$unity_batch); fi
  if ! cmake --preset "$preset" "${once[@]}" >"$directory/configure.log" 2>&1; then
    cat "$directory/configure.log" >&2
    echo "build: cmake --preset $preset failed" >&2
    exit 1
  fi
fi

build=(cmake --build "$directory" --parallel "${JOBS:-$(nproc)}")
if [ $# != 0 ]; then build+=(--target "$@"); fi
if [ -t 2 ]; then
  "${build[@]}" >&2
else
  "${build[@]}" 2>&1 | { grep --line-buffered -v -e '^ninja: no work to do' -e 'Re-checking globbed directories' || true; } >&2
fi
