#!/usr/bin/env bash
# Builds the Debian package, build/onsight_VERSION_ARCH.deb; with `check`, installs it into an empty Debian 12 (made by debootstrap in build/deb-root,
# as root) and asks about a picture there.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/build.sh release manual libonsight
rm -f build/*.deb
(cd build && cpack >cpack.log 2>&1) || { cat build/cpack.log >&2; exit 1; }
deb=$(ls build/onsight_*.deb)
printf '%s: %s bytes\n' "$deb" "$(stat -c %s "$deb")"
[ "${1:-}" = check ] || exit 0

root=build/deb-root
scripts/empty_debian.sh "$root" || { status=$?; [ $status = 3 ] && exit 0; exit $status; }
cp "$deb" "$root/onsight.deb"
if [ -d /etc/apt/apt.conf.d ]; then cp -n /etc/apt/apt.conf.d/* "$root/etc/apt/apt.conf.d/" 2>/dev/null || true; fi
cp /etc/resolv.conf "$root/etc/" 2>/dev/null || true
inside() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive "$@"; }
inside apt-get install -y -q --no-install-recommends /onsight.deb >build/deb-install.log 2>&1 || { tail -n 20 build/deb-install.log >&2; exit 1; }
scripts/try_installed.sh "$root" onsight
rm -rf --one-file-system "$root"
