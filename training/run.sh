#!/usr/bin/env bash
# Trains onsight-nano for N minutes: training/run.sh --minutes N [--no-setup] [--no-evaluate].
# With training/checkpoint there it goes on from it; without, it starts from nothing. The last third of the time anneals: that copy is
# exported to models/onsight-nano and measured, while training/checkpoint keeps the weights from before, ready to go on.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
minutes="" setup=1 evaluate=1
while (($#)); do
  case $1 in
    --minutes) minutes=${2:?--minutes needs a number}; shift 2 ;;
    --no-setup) setup=""; shift ;;
    --no-evaluate) evaluate=""; shift ;;
    *) echo "usage: training/run.sh --minutes N [--no-setup] [--no-evaluate]" >&2; exit 2 ;;
  esac
done
if [ -z "$minutes" ]; then echo "usage: training/run.sh --minutes N [--no-setup] [--no-evaluate]" >&2; exit 2; fi
if [ "$setup" ]; then "$here/setup.sh"; fi
cd "$here"
mkdir -p runs
python=../.venv/bin/python
export OMP_NUM_THREADS=1

share() { awk -v n="$minutes" -v s="$1" 'BEGIN { printf "%.2f", n * s }'; }
train() { nice -n 10 "$python" train.py --log curve.jsonl "$@"; }

if [ -e checkpoint/state.json ]; then
  train --stage join --minutes "$(share 0.66)" --rate 0.4 --out checkpoint
else
  train --stage see --minutes "$(share 0.40)" --decay 0.3 --floor 0.3 --out checkpoint
  train --stage talk --minutes "$(share 0.12)" --decay 0.4 --floor 0.2 --out checkpoint
  train --stage join --minutes "$(share 0.16)" --rate 0.4 --frozen "$(share 0.08)" --out checkpoint
fi
train --stage join --minutes "$(share 0.32)" --rate 0.4 --decay 1 --out runs/annealed
"$python" export.py --checkpoint runs/annealed-ema
if [ "$evaluate" ]; then "$python" evaluate.py; fi
