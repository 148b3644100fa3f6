#!/usr/bin/env bash
# Runs every fuzz target for FUZZ_SECONDS (30) seconds, from the seeds in fuzz/seeds/TARGET/ (pictures and videos: also tests/data/) and what earlier
# runs found, with the words of fuzz/TARGET.dict where there is one. FUZZ_SEED fixes the way they take; without it each run takes another.
# An input that crashes, leaks, hangs or allocates without bound is kept in build-asan/crashes/ and fails the run.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-30}
seed=${FUZZ_SEED:-$RANDOM}
scripts/build.sh asan fuzzers  # the tree of the sanitized tests
export ASAN_OPTIONS=allocator_may_return_null=1:${ASAN_OPTIONS:-}
mkdir -p build-asan/crashes

targets=()
for source in fuzz/*_fuzz.cc; do
  name=$(basename "$source" .cc)
  targets+=("$name")
done

run_one() {
  local name=$1 corpus=build-asan/corpus/$1 log=build-asan/$1.log folders options=()
  mkdir -p "$corpus"
  folders=("$corpus")
  if [ -d "fuzz/seeds/$name" ]; then folders+=("fuzz/seeds/$name"); fi
  if [ "$name" = image_fuzz ]; then folders+=(tests/data/media); fi
  if [ "$name" = video_fuzz ]; then folders+=(tests/data/video); fi
  if [ -f "fuzz/$name.dict" ]; then options+=("-dict=fuzz/$name.dict"); fi
  if "build-asan/$name" -max_total_time="$seconds" -seed="$seed" -rss_limit_mb=2048 -malloc_limit_mb=1024 -timeout=25 -print_final_stats=1 \
    -artifact_prefix="build-asan/crashes/$name-" "${options[@]}" "${folders[@]}" >"$log" 2>&1; then
    printf '%s: %s runs in %s s, clean\n' "$name" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" "$seconds"
  else
    tail -n 40 "$log" >&2
    printf '%s: FAILED (input in build-asan/crashes/)\n' "$name"
    return 1
  fi
}
export -f run_one
export seconds seed
printf '%s\0' "${targets[@]}" | xargs -0 -n 1 -P "${JOBS:-$(nproc)}" bash -c 'run_one "$1"' fuzz
