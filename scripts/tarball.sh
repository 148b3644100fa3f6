#!/usr/bin/env bash
# Makes BUILD/onsight-VERSION-linux-MACHINE.tar.gz, which runs wherever it is unpacked, on a Debian 12 or later with nothing else installed:
# scripts/tarball.sh [release|aarch64] [try|check]. It takes along libraries of the Debian 12 that it is made on. The same build gives the same bytes.
#
# `try` asks about pictures where there is nothing but it and the runtimes of C and C++; `check` does so in an empty Debian 12, and packs twice.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/libraries.sh
preset=${1:-release} how=${2:-}
build=build
if [ "$preset" != release ]; then build=build-$preset; fi
if ! on_debian_12; then
  echo "tarball: made on $(. /etc/os-release && echo "$PRETTY_NAME"), expected Debian 12, whose libraries it takes along" >&2
  exit 1
fi
scripts/build.sh "$preset" onsight onsight-agent libonsight manual
scripts/ffmpeg.sh "$preset"

name=$(sed -n 's/^set(CPACK_PACKAGE_FILE_NAME "\(.*\)")/\1/p' "$build/CPackConfig.cmake")
machine=${name##*-}
libraries=/usr/lib/$machine-linux-gnu
stage=$build/tarball/$name
tar=$build/$name.tar.gz
# What is compiled in and wants its licence to be there.
compiled_in='nlohmann-json3-dev libcli11-dev'

needed() { readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; }
stage() {
  rm -rf "$build/tarball"
  cmake --install "$build" --strip --prefix "$PWD/$stage" >"$build/tarball.log"
  install -m 644 "$build/$ffmpeg"/*.so.* "$stage/lib/"
  local files=("$stage/bin/onsight" "$stage"/lib/libonsight.so.*.* "$stage"/lib/lib*-onsight.so.*) taken=() i library
  for ((i = 0; i < ${#files[@]}; ++i)); do
    for library in $(needed "${files[$i]}"); do
      if [[ " $runtimes " == *" $library "* || $library == ld-linux* || -e $stage/lib/$library ]]; then
        continue
      elif [ "$library" = "$encoder" ]; then
        stub_encoder "$(sed -n 's/^set(CMAKE_C_COMPILER "\(.*\)")/\1/p' "$build"/CMakeFiles/*/CMakeCCompiler.cmake)" "$stage/lib"
      else
        install -m 644 "$libraries/$library" "$stage/lib/$library"
        taken+=("$libraries/$library")
        files+=("$stage/lib/$library")
      fi
    done
  done
  patchelf --set-rpath '$ORIGIN/../lib' "${files[0]}"
  patchelf --set-rpath '$ORIGIN' "${files[@]:1}"
  licences "$stage/share/doc/onsight/licences" "$compiled_in" "$build/$ffmpeg/ffmpeg" "${taken[@]}"
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
  echo "$tar: not tried: that takes root" >&2
  [ "${CI:-}" != true ]; exit
fi
emulator=
if [ "$machine" != "$(uname -m)" ]; then
  emulator=/usr/bin/qemu-$machine
  scripts/build.sh release onsight  # for the answer that is expected
fi
try() {
  tar -C "$root" -xf "$tar"
  scripts/try_installed.sh --videos "$root" ${emulator:+$emulator -cpu max} "/$name/bin/onsight"
}
# Its FFmpeg beside Debian's: videos have the same pixels, to the last bit, and streams are watched as well.
compare_ffmpeg() {
  local clip numbers want found
  scripts/build.sh release video_probe onsight_scripted
  numbers=$(seq -s , 0 99)
  for clip in tests/data/video/*.{avi,gif,h264,mkv,mp4,webm}; do
    want=$(build/video_probe frames "$clip" "$numbers" | sha256sum)
    found=$(LD_LIBRARY_PATH=$stage/lib build/video_probe frames "$clip" "$numbers" | sha256sum)
    if [ "$found" != "$want" ]; then
      echo "tarball: $clip looks otherwise than with Debian's FFmpeg, expected the same pixels" >&2
      exit 1
    fi
  done
  LD_LIBRARY_PATH=$PWD/$build/$ffmpeg "$(scripts/python.sh pytest)" -m pytest -q -p no:cacheprovider tests/cli/test_watch.py -k 'address or drops or shows or stream or camera'
}
rm -rf --one-file-system "$root"
for file in "$(patchelf --print-interpreter "$stage/bin/onsight")" $(printf "$libraries/%s " $runtimes) \
  ${emulator:+$emulator $(ldd "$emulator" | grep -o '/[^ ]*\.so[^ ]*')}; do
  install -D "$file" "$root$file"
done
try
if [ "$how" = check ]; then
  if [ ! "$emulator" ]; then compare_ffmpeg; fi
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
