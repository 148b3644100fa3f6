#!/usr/bin/env bash
# Makes sure that this machine has what a task needs:  scripts/setup.sh [--check] [build] [test] [parity] [wheel] [ci] [ffmpeg] [aarch64] [web]     (default: build)
#
# Looks for each tool and library itself and installs only what is not found: with apt, as root or through sudo. Without apt it names
# what is missing and exits 1. --check looks and installs nothing. `aarch64` is a cross compiler, an emulator and Debian's libraries for
# that machine, beside this one's.
set -euo pipefail
cd "$(dirname "$0")/.."

# group | what it is | how it is found | Debian package.   cmd: a program, pkg: pkg-config, header: the compiler sees it, python: a module, file: a path,
# arm64: a library for aarch64
needs='
build | make                      | cmd:make                    | make
build | a C++20 compiler (GCC 12) | cmd:c++                     | g++
build | CMake                     | cmd:cmake                   | cmake
build | Ninja                     | cmd:ninja                   | ninja-build
build | pkg-config                | cmd:pkg-config              | pkg-config
build | {fmt}                     | header:fmt/format.h         | libfmt-dev
build | nlohmann/json             | header:nlohmann/json.hpp    | nlohmann-json3-dev
build | tl::expected              | header:tl/expected.hpp      | libexpected-dev
build | CLI11                     | header:CLI/CLI.hpp          | libcli11-dev
build | Highway (libhwy)          | pkg:libhwy                  | libhwy-dev
build | utf8proc                  | pkg:libutf8proc             | libutf8proc-dev
build | libjpeg-turbo             | pkg:libjpeg                 | libjpeg-dev
build | libpng                    | pkg:libpng                  | libpng-dev
build | libwebp                   | pkg:libwebpdemux            | libwebp-dev
build | libtiff                   | pkg:libtiff-4               | libtiff-dev
build | libheif                   | pkg:libheif                 | libheif-dev
build | giflib                    | header:gif_lib.h            | libgif-dev
build | libavformat               | header:libavformat/avformat.h | libavformat-dev
build | libswscale                | header:libswscale/swscale.h | libswscale-dev
build | libedit                   | pkg:libedit                 | libedit-dev
build | Boost.Asio, Boost.Beast   | header:boost/beast.hpp      | libboost-dev
build | libcurl                   | pkg:libcurl                 | libcurl4-openssl-dev
build | OpenSSL                   | pkg:openssl                 | libssl-dev
build | toml++                    | header:toml++/toml.h        | libtomlplusplus-dev
build | SQLite                    | pkg:sqlite3                 | libsqlite3-dev
build | libsodium                 | pkg:libsodium               | libsodium-dev
build | GoogleTest                | header:gtest/gtest.h        | libgtest-dev
test  | pytest                    | python:pytest               | python3-pytest
test  | jsonschema for Python     | python:jsonschema           | python3-jsonschema
test  | NumPy                     | python:numpy                | python3-numpy
test  | the openssl program       | cmd:openssl                 | openssl
test  | pdfinfo and pdftoppm      | cmd:pdftoppm                | poppler-utils
parity| venv for Python 3         | python:ensurepip            | python3-venv
wheel | venv for Python 3         | python:ensurepip            | python3-venv
wheel | the headers of Python 3   | pkg:python3                 | python3-dev
ci    | fontconfig                | cmd:fc-list                 | fontconfig
ci    | DejaVu fonts              | file:/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf | fonts-dejavu-core
ci    | Lato fonts                | file:/usr/share/fonts/truetype/lato/Lato-Regular.ttf | fonts-lato
ci    | a list of English words   | file:/usr/share/dict/words  | wamerican
ci    | dpkg-shlibdeps            | cmd:dpkg-shlibdeps          | dpkg-dev
ci    | file, for packages        | cmd:file                    | file
ci    | mmdebstrap                | cmd:mmdebstrap              | mmdebstrap
ci    | ccache                    | cmd:ccache                  | ccache
ci    | patchelf                  | cmd:patchelf                | patchelf
ci    | clang 14                  | cmd:clang++-14              | clang-14
ci    | libFuzzer and sanitizers  | libfuzzer                   | libclang-rt-14-dev
ci    | clang-format 14           | cmd:clang-format-14         | clang-format-14
ci    | clang-tidy 14             | cmd:run-clang-tidy-14       | clang-tidy-14
ci    | dockerd                   | cmd:dockerd                 | docker.io
ci    | Podman                    | cmd:podman                  | podman
ci    | runc                      | cmd:runc                    | runc
ffmpeg | nasm                      | cmd:nasm                    | nasm
ffmpeg | dpkg-source               | cmd:dpkg-source             | dpkg-dev
ffmpeg | zlib                      | pkg:zlib                    | zlib1g-dev
ffmpeg | libdav1d                  | pkg:dav1d                   | libdav1d-dev
ffmpeg | libsrt                    | pkg:srt                     | libsrt-openssl-dev
aarch64 | a compiler for aarch64    | cmd:aarch64-linux-gnu-g++ | g++-aarch64-linux-gnu
aarch64 | QEMU                      | cmd:qemu-aarch64          | qemu-user
aarch64 | {fmt} for aarch64         | arm64:libfmt.so           | libfmt-dev:arm64
aarch64 | Highway for aarch64       | arm64:libhwy.so           | libhwy-dev:arm64
aarch64 | utf8proc for aarch64      | arm64:libutf8proc.so      | libutf8proc-dev:arm64
aarch64 | libjpeg-turbo for aarch64 | arm64:libjpeg.so          | libjpeg-dev:arm64
aarch64 | libpng for aarch64        | arm64:libpng.so           | libpng-dev:arm64
aarch64 | libwebp for aarch64       | arm64:libwebpdemux.so     | libwebp-dev:arm64
aarch64 | libtiff for aarch64       | arm64:libtiff.so          | libtiff-dev:arm64
aarch64 | libheif for aarch64       | arm64:libheif.so          | libheif-dev:arm64
aarch64 | giflib for aarch64        | arm64:libgif.so           | libgif-dev:arm64
aarch64 | libedit for aarch64       | arm64:libedit.so          | libedit-dev:arm64
aarch64 | libcurl for aarch64       | arm64:libcurl.so          | libcurl4-openssl-dev:arm64
aarch64 | OpenSSL for aarch64       | arm64:libssl.so           | libssl-dev:arm64
aarch64 | SQLite for aarch64        | arm64:libsqlite3.so       | libsqlite3-dev:arm64
aarch64 | libsodium for aarch64     | arm64:libsodium.so        | libsodium-dev:arm64
aarch64 | libsrt for aarch64        | arm64:libsrt.so           | libsrt-openssl-dev:arm64
aarch64 | GoogleTest for aarch64    | arm64:libgtest.a          | libgtest-dev:arm64
web   | Node.js                   | cmd:node                    | nodejs
web   | npm                       | cmd:npm                     | npm
web   | Chromium                  | chromium                    | chromium
'
# Installed beside libheif where the distribution splits its decoders off.
heif_plugins='libheif-plugin-libde265 libheif-plugin-dav1d libheif-plugin-aomdec'

say() { printf 'setup: %s\n' "$*" >&2; }

check_only=
groups=
for argument in "$@"; do
  case $argument in
    --check) check_only=1 ;;
    build | test | parity | wheel | ci | ffmpeg | aarch64 | web) groups+=" $argument" ;;
    *) say "unknown argument '$argument', expected --check, build, test, parity, wheel, ci, ffmpeg, aarch64 or web"; exit 2 ;;
  esac
done
groups=${groups:- build}

found() {
  case $1 in
    cmd:*) command -v "${1#cmd:}" >/dev/null ;;
    pkg:*) command -v pkg-config >/dev/null && pkg-config --exists "${1#pkg:}" ;;
    header:*) command -v c++ >/dev/null && c++ -E -x c++ - >/dev/null 2>&1 <<<"#if !__has_include(<${1#header:}>)
#error missing
#endif" ;;
    python:*) scripts/python.sh "${1#python:}" >/dev/null 2>&1 ;;
    file:*) [ -e "${1#file:}" ] ;;
    arm64:*) [ -e "/usr/lib/aarch64-linux-gnu/${1#arm64:}" ] ;;
    chromium) { [ -x "${CHROMIUM:-}" ] || command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null ;;
    libfuzzer) [ -n "$(find /usr/lib/llvm-14/lib/clang /usr/lib/clang -name 'libclang_rt.fuzzer*' 2>/dev/null | head -n 1)" ] ;;
  esac
}

# Fills `packages` and `names` with what is missing.
look() {
  packages=() names=()
  local group what how package
  while IFS='|' read -r group what how package; do
    read -r group <<<"$group"; read -r what <<<"$what"; read -r how <<<"$how"; read -r package <<<"$package"
    if [[ $group && " $groups " == *" $group "* ]] && ! found "$how"; then
      packages+=("$package") names+=("$what")
    fi
  done <<<"$needs"
}

look
if [ ${#packages[@]} = 0 ]; then exit 0; fi

if ! command -v apt-get >/dev/null; then
  say "missing on this machine (there is no apt here to install it with):"
  printf '  %s\n' "${names[@]}" >&2
  exit 1
fi
if [ "$check_only" ]; then
  say "missing:"
  printf '  %s\n' "${names[@]}" >&2
  exit 1
fi

architecture=  # that apt has yet to be told of
if [[ ${packages[*]} == *:arm64* ]] && ! { dpkg --print-architecture && dpkg --print-foreign-architectures; } | grep -x arm64 >/dev/null; then
  architecture=arm64
fi
by_hand() {
  printf '  %sapt-get update && apt-get install --no-install-recommends %s\n' \
    "${architecture:+dpkg --add-architecture $architecture && }" "${packages[*]}" >&2
}
as_root=()
if [ "$(id -u)" != 0 ]; then
  if ! command -v sudo >/dev/null; then
    say "${#packages[@]} packages are missing and only root can install them. As root, run:"
    by_hand
    exit 1
  fi
  as_root=(sudo)
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() { # apt COMMAND ARGUMENTS...: quiet, with its progress as one line in a terminal
  # Not on descriptor 1, which would be closed for the packages' scripts: one that prints would fail. sudo closes those above 2.
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive sh -c 'exec 3>&1 >&2; exec "$@"' sh apt-get -y -q -o Dpkg::Use-Pty=0 \
    -o DPkg::Lock::Timeout=300 -o APT::Status-Fd=3 "$@" </dev/null 2>>"$log" | {
    while IFS= read -r line; do
      if [[ $line =~ ^(dl|pm)status:[^:]*:([0-9]+) ]]; then
        local step=downloading
        if [ "${BASH_REMATCH[1]}" = pm ]; then step=installing; fi
        if [ -t 2 ]; then printf '\rsetup: %s %3d%% ' "$step" "${BASH_REMATCH[2]}" >&2; fi
      else
        printf '%s\n' "$line" >>"$log"
      fi
    done
    if [ -t 2 ]; then printf '\r\033[K' >&2; fi
  }
}
known() { apt-cache show --no-all-versions "$1" >/dev/null 2>&1; }
install() {
  local extra=() plugin
  if [[ " ${packages[*]} " == *" libheif-dev "* ]]; then
    for plugin in $heif_plugins; do if known "$plugin"; then extra+=("$plugin"); fi; done
  fi
  apt install --no-install-recommends "${packages[@]}" "${extra[@]}"
}

updated=
update() {
  say "reading the package lists"
  if ! apt update; then
    tail -n 20 "$log" >&2
    say "apt-get update failed"
    exit 1
  fi
  updated=1
}

if [ ${#as_root[@]} != 0 ] && ! sudo -n true 2>/dev/null; then
  if ! sudo -v; then
    say "sudo was refused. As root, run:"
    by_hand
    exit 1
  fi
fi
if [ "$architecture" ]; then "${as_root[@]}" dpkg --add-architecture "$architecture"; fi
for package in "${packages[@]}"; do
  if ! known "$package"; then update; break; fi
done
for i in "${!packages[@]}"; do
  if ! known "${packages[$i]}"; then
    say "this distribution has no package '${packages[$i]}' (${names[$i]})"
    exit 1
  fi
done
say "installing ${packages[*]}"
if ! install; then
  # Lists that are too old name versions that the archive no longer has.
  if [ "$updated" ] || { update; ! install; }; then
    tail -n 20 "$log" >&2
    say "apt-get install failed"
    exit 1
  fi
fi

look
if [ ${#packages[@]} != 0 ]; then
  say "installed, but still not found:"
  printf '  %s\n' "${names[@]}" >&2
  exit 1
fi
