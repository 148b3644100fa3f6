#!/usr/bin/env bash
# Installs what training and evaluation need on Debian 12: fonts and words to draw with, tesseract and chromium to compare with, and the
# Python environment (scripts/venv.sh). Run as root or as a user with sudo. What is there already is left alone.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

packages=(python3-venv fontconfig wamerican tesseract-ocr chromium)
while read -r name; do packages+=("$name"); done < <(grep -v '^#' "$here/fonts.txt")
missing=()
for p in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
done
if ((${#missing[@]})); then
  command -v apt-get >/dev/null || { echo "setup.sh: no apt-get here; install what these Debian packages hold: ${missing[*]}" >&2; exit 1; }
  sudo=()
  if ((EUID)); then sudo=(sudo); fi
  "${sudo[@]}" apt-get update -q
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
fi
"$here/../scripts/venv.sh"
