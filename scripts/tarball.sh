#!/usr/bin/env bash
# Makes BUILD/onsight-VERSION-linux-MACHINE.tar.gz, which runs wherever it is unpacked, on a Debian 12 or later with nothing else installed:
# scripts/tarball.sh [release|aarch64] [try|check]. It takes along libraries of the Debian 12 that it is made on. The same build gives the same bytes.
#
# `try` asks about pictures where there is nothing but it and the runtimes of C and C++; `check` does so in an empty Debian 12, and packs twice.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-release} how=${2:-}
build=build
if [ "$preset" != release ]; then build=build-$preset; fi
if ! grep -q '^VERSION_ID="12"' /etc/os-release; then
  echo "tarball: made on $(. /etc/os-release && echo "$PRETTY_NAME"), expected Debian 12, whose libraries it takes along" >&2
  exit 1
fi
scripts/build.sh "$preset" onsight libonsight manual

name=$(sed -n 's/^set(CPACK_PACKAGE_FILE_NAME "\(.*\)")/\1/p' "$build/CPackConfig.cmake")
machine=${name##*-}
libraries=/usr/lib/$machine-linux-gnu
stage=$build/tarball/$name
tar=$build/$name.tar.gz
# What every system with glibc 2.36 has. FFmpeg's libraries are the system's own, and those of a later one would not run on our C++ runtime.
runtimes='libc.so.6 libm.so.6 libresolv.so.2 libstdc++.so.6 libgcc_s.so.1'
# An encoder that nothing here calls, but libheif asks for: the name suffices it. It would be half of the tarball, and is under the GPL.
encoder=libx265.so.199
# What is compiled in and wants its licence to be there.
compiled_in='nlohmann-json3-dev libcli11-dev'

needed() { readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; }
stage() {
  rm -rf "$build/tarball"
  cmake --install "$build" --strip --prefix "$PWD/$stage" >"$build/tarball.log"
  local files=("$stage/bin/onsight" "$stage"/lib/libonsight.so.*.*) taken=() i library package
  for ((i = 0; i < ${#files[@]}; ++i)); do
    for library in $(needed "${files[$i]}"); do
      if [[ " $runtimes " == *" $library "* || $library == ld-linux* || -e $stage/lib/$library ]]; then
        continue
      elif [ "$library" = "$encoder" ]; then
        echo 'const void *x265_api_get_199(int depth) { (void)depth; return 0; }' |
          "$(sed -n 's/^set(CMAKE_C_COMPILER "\(.*\)")/\1/p' "$build"/CMakeFiles/*/CMakeCCompiler.cmake)" -shared -fPIC -nostdlib -s -Wl,-soname,$encoder -x c -o "$stage/lib/$encoder" -
      else
        install -m 644 "$libraries/$library" "$stage/lib/$library"
        taken+=("*/$machine-linux-gnu/$(basename "$(readlink -f "$libraries/$library")")")
        files+=("$stage/lib/$library")
      fi
    done
  done
  patchelf --set-rpath '$ORIGIN/../lib' "${files[0]}"
  patchelf --set-rpath '$ORIGIN' "${files[@]:1}"

  local licences=$stage/share/doc/onsight/licences
  mkdir "$licences"
  for package in $compiled_in $(dpkg -S "${taken[@]}" | sed 's/:.*//' | sort -u); do
    install -m 644 "/usr/share/doc/$package/copyright" "$licences/$package"
  done
  local terms  # that these refer to
  for terms in $(grep -hoE '/usr/share/common-licenses/[A-Za-z0-9]+(-[0-9]+(\.[0-9]+)?)?' "$licences"/* | sort -u); do
    if [ -f "$terms" ]; then install -m 644 "$terms" "$licences/"; fi
  done
}
pack() {
  stage
  tar --sort=name --mtime="@${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}" --owner=0 --group=0 --numeric-owner \
    --mode=u+rwX,go+rX,go-w --format=gnu -C "$build/tarball" -cf - "$name" | gzip -9n >"$tar.part"
  mv "$tar.part" "$tar"
}
pack
printf '%s: %s bytes, %d libraries\n' "$tar" "$(stat -c %s "$tar")" "$(find "$stage/lib" -name '*.so.*' -type f | wc -l)"
[ "$how" ] || exit 0

root=$build/tarball-root
if [ "$(id -u)" != 0 ]; then
  echo "tarball: not tried alone: that takes root" >&2
  exit 0
fi
emulator=
if [ "$machine" != "$(uname -m)" ]; then
  emulator=/usr/bin/qemu-$machine
  scripts/build.sh release onsight  # for the answer that is expected
fi
try() {
  tar -C "$root" -xf "$tar"
  scripts/try_installed.sh "$root" ${emulator:+$emulator -cpu max} "/$name/bin/onsight"
}
rm -rf --one-file-system "$root"
for file in "$(patchelf --print-interpreter "$stage/bin/onsight")" $(printf "$libraries/%s " $runtimes) \
  ${emulator:+$emulator $(ldd "$emulator" | grep -o '/[^ ]*\.so[^ ]*')}; do
  install -D "$file" "$root$file"
done
try
if [ "$how" = check ]; then
  first=$(sha256sum <"$tar")
  pack
  if [ "$first" != "$(sha256sum <"$tar")" ]; then
    echo "tarball: packed again it is other bytes, expected the same" >&2
    exit 1
  fi
  if [ ! "$emulator" ]; then
    scripts/empty_debian.sh "$root" || { status=$?; [ $status = 3 ] && exit 0; exit $status; }
    try
  fi
fi
rm -rf --one-file-system "$root"
