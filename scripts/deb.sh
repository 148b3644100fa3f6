#!/usr/bin/env bash
# Builds the Debian package, BUILD/onsight_VERSION_ARCHITECTURE.deb:  scripts/deb.sh [release|aarch64] [check]
#
# `check` installs this machine's into an empty Debian 12, asks about pictures there, and purges it again; another machine's must want the same packages
# as this machine's, and answers where it is unpacked, in an emulator.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-release} how=${2:-}
build=build
if [ "$preset" != release ]; then build=build-$preset; fi
scripts/build.sh "$preset" onsight onsight-agent libonsight manual
rm -f "$build"/*.deb
architecture=$(sed -n 's/^set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE "\(.*\)")/\1/p' "$build/CPackConfig.cmake")
architecture=${architecture:-$(dpkg --print-architecture)}
machine=$(sed -n 's/^set(CPACK_PACKAGE_FILE_NAME ".*-\(.*\)")/\1/p' "$build/CPackConfig.cmake")
# By this name dpkg-shlibdeps finds another machine's libraries, and the packages that they are in.
(cd "$build" && DEB_HOST_ARCH=$architecture cpack >cpack.log 2>&1) || { cat "$build/cpack.log" >&2; exit 1; }
deb=$(ls "$build"/onsight_*.deb)
printf '%s: %s bytes\n' "$deb" "$(stat -c %s "$deb")"
[ "$how" ] || exit 0

fail() {
  printf '%s: %s\n' "$deb" "$*" >&2
  exit 1
}
depends() { dpkg-deb -f "$1" Depends | tr , '\n' | sed 's/^ *//; s/ .*//' | sort; }
root=$build/deb-root
if [ "$architecture" != "$(dpkg --print-architecture)" ]; then
  [ "$(dpkg-deb -f "$deb" Architecture)" = "$architecture" ] || fail "expected it to be for $architecture"
  ls build/onsight_*.deb >/dev/null 2>&1 || scripts/deb.sh release
  diff <(depends build/onsight_*.deb) <(depends "$deb") >&2 || fail "it wants other packages (>) than this machine's (<), expected the same"
  if [ "$(id -u)" != 0 ]; then
    echo "$deb: not tried: that takes root" >&2
    [ "${CI:-}" != true ]; exit
  fi
  scripts/build.sh release onsight  # for the answer that is expected
  rm -rf --one-file-system "$root"
  dpkg-deb -x "$deb" "$root"
  emulator=/usr/bin/qemu-$machine loader=$(patchelf --print-interpreter "$root/usr/bin/onsight")
  libraries=$("$emulator" "$loader" --list "$root/usr/bin/onsight"; ldd "$emulator")
  for file in "$emulator" $(grep -o '/[^ ]*\.so[^ ]*' <<<"$libraries" | sort -u); do install -D "$file" "$root$file"; done
  scripts/try_installed.sh "$root" "$emulator" -cpu max /usr/bin/onsight
  rm -rf --one-file-system "$root"
  exit 0
fi

scripts/empty_debian.sh "$root" || { status=$?; [ $status = 3 ] && exit 0; exit $status; }
cp "$deb" "$root/onsight.deb"
rm -f "$build/deb.log"
inside() { # with the names of proxies that are set here
  PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C DEBIAN_FRONTEND=noninteractive chroot "$root" "$@" >>"$build/deb.log" 2>&1 ||
    { tail -n 20 "$build/deb.log" >&2; exit 1; }
}
inside apt-get install -y -q --no-install-recommends /onsight.deb
rm "$root/onsight.deb"
scripts/try_installed.sh "$root" /usr/bin/onsight
inside apt-get purge -y -q onsight
left=$(find "$root" -xdev -iname '*onsight*')
[ -z "$left" ] || fail "purged, it leaves $left"
rm -rf --one-file-system "$root"
