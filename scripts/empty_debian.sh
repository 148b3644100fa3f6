#!/usr/bin/env bash
# Makes an empty Debian 12 in a folder, as root, for trials of what is installed:  scripts/empty_debian.sh FOLDER
# mmdebstrap packs it into build/empty_debian.tar, which serves for a day. Exits 3 where that cannot be done, and 1 in CI, which must not leave it out.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$1
if [ "$(id -u)" != 0 ] || ! command -v mmdebstrap >/dev/null || ! grep -q '^VERSION_ID="12"' /etc/os-release; then
  echo "$root: not tried in an empty Debian 12: that takes root, mmdebstrap, and a Debian 12 to make it on" >&2
  if [ "${CI:-}" = true ]; then exit 1; fi
  exit 3
fi

# From where this machine's own packages come, those of others than Debian left out.
sources() {
  apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' \
    'Identifier: Packages' 'Origin: Debian' "Architecture: $(dpkg --print-architecture)"
}
log=build/empty_debian.log tar=build/empty_debian.tar
mkdir -p build
exec 9>build/empty_debian.lock
flock 9  # several trials at once make it once
if [ -z "$(find build -name empty_debian.tar -mtime 0)" ]; then
  if [ -z "$(sources)" ]; then apt-get update -q >"$log"; fi
  # Made in memory where this may mount, for many disks take a minute; the mount ends with the command.
  mkdir -p build/empty_debian
  in_memory=(unshare --mount sh -c 'mount -t tmpfs memory build/empty_debian && "$@"' sh)
  "${in_memory[@]}" true 2>/dev/null || in_memory=()
  # The lists of packages stay in it, and how this machine's apt is to get them, through which proxy for one.
  sources | TMPDIR=$PWD/build/empty_debian "${in_memory[@]}" mmdebstrap --mode=root --variant=minbase --format=tar --skip=cleanup/apt/lists --dpkgopt=force-unsafe-io \
    --aptopt="$(apt-config dump Acquire | grep -v IndexTargets)" bookworm "$tar.part" - >"$log" 2>&1 || { tail -n 20 "$log" >&2; exit 1; }
  rmdir build/empty_debian
  mv "$tar.part" "$tar"
fi
exec 9>&-
rm -rf --one-file-system "$root"
mkdir -p "$root"
tar -C "$root" --numeric-owner -xf "$tar"
