#!/usr/bin/env bash
# Makes an empty Debian 12 in a folder, as root with debootstrap, for trials of what is installed:  scripts/empty_debian.sh FOLDER
# Exits 3 where that cannot be done.
set -euo pipefail
root=$1
if [ "$(id -u)" != 0 ] || ! command -v debootstrap >/dev/null; then
  echo "not tried in an empty Debian 12: that takes root and debootstrap" >&2
  exit 3
fi
if grep -F " $(realpath -m "$root")/" /proc/mounts >&2; then
  echo "$root: something is mounted there, expected it to be unmounted first" >&2
  exit 1
fi
rm -rf --one-file-system "$root"
mkdir -p "$root"
# From where this machine's own packages come.
mirror=$(sed -nE 's/^URIs: *([^ ]+).*/\1/p; s/^deb +(\[[^]]*\] +)?([^ ]+) .*/\2/p' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -v security | head -n 1 || true)
debootstrap --variant=minbase bookworm "$root" ${mirror:+"$mirror"} >"$root.log" 2>&1 || { tail -n 20 "$root.log" >&2; exit 1; }
