#!/usr/bin/env bash
# Measures one model with onsight bench, and its growth with tiles, tokens and threads; then fills docs/performance.md.
#   bench/measure.sh NAME MODEL [IMAGE] [--no-sweeps]        writes bench/results/NAME.json, NAME-tiles.json, ... and their plots
set -euo pipefail
cd "$(dirname "$0")/.."
sweeps=1
words=()
for word in "$@"; do
  if [ "$word" = --no-sweeps ]; then sweeps=; else words+=("$word"); fi
done
if [ ${#words[@]} -lt 2 ]; then
  sed -n '2,3s/^# *//p' "$0" >&2
  exit 2
fi
name=${words[0]} model=${words[1]} image=${words[2]:-examples/receipt.jpg}
onsight=${ONSIGHT_BINARY:-build/onsight}
mkdir -p bench/results
out=bench/results/$name
"$onsight" bench --model "$model" --image "$image" --json "$out.json" --plot "$out.svg"
if [ -n "$sweeps" ]; then
  for over in tiles tokens; do
    "$onsight" bench --model "$model" --sweep $over --json "$out-$over.json" --plot "$out-$over.svg"
  done
  "$onsight" bench --model "$model" --image "$image" --sweep threads --json "$out-threads.json" --plot "$out-threads.svg"
fi
bench/report.py
