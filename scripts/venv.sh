#!/usr/bin/env bash
# Makes .venv with PyTorch and transformers, for the parity runs and the training. Skipped when it is as requirements.txt says.
set -euo pipefail
cd "$(dirname "$0")/.."
requirements=scripts/requirements.txt
wanted=$(cat scripts/venv.sh "$requirements" | sha256sum | cut -d ' ' -f 1)
if [ -x .venv/bin/python ] && [ "$(cat .venv/.onsight 2>/dev/null)" = "$wanted" ]; then exit 0; fi

if ! .venv/bin/python -c 'import pip' 2>/dev/null; then
  echo "venv: making .venv" >&2
  "$(scripts/python.sh ensurepip)" -m venv .venv
fi
pip=(.venv/bin/python -m pip --disable-pip-version-check install --quiet --no-input)
# PyTorch alone first: whatever comes after it then finds it there and pulls no other build of it.
torch=$(grep '^torch==' "$requirements")
echo "venv: installing $torch" >&2
"${pip[@]}" "$torch"
echo "venv: installing the rest of $requirements" >&2
"${pip[@]}" --no-deps "$(grep '^torchvision==' "$requirements")"
grep -v -E '^(torch|torchvision|mlx-vlm)==' "$requirements" >.venv/rest.txt
"${pip[@]}" -r .venv/rest.txt
# What its models import is there now; the rest of its requirements are for serving and training.
"${pip[@]}" --no-deps "$(grep '^mlx-vlm==' "$requirements")"
.venv/bin/python -c 'import torch, transformers, tokenizers, PIL, pytest'
printf '%s\n' "$wanted" >.venv/.onsight
