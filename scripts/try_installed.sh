#!/usr/bin/env bash
# Asks an installed program what build/onsight says:  scripts/try_installed.sh [--videos] ROOT COMMAND...   COMMAND starts it in ROOT, with root's rights;
# its last word is the program's path there. Of one in a prefix's bin/ the manual page and the completions must be what it prints, and a program that uses
# the C library must get that answer too. With --videos it brings FFmpeg's libraries, and without them it must miss them; ROOT has none.
set -euo pipefail
cd "$(dirname "$0")/.."
videos=
if [ "$1" = --videos ]; then videos=1; shift; fi
root=$1 folder=$(dirname "${!#}")
shift
# There is no /proc in it, from which the loader would know where the program lies.
inside() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LD_ORIGIN_PATH="$folder" chroot "$root" "$@"; }
expect() { # expect WHAT WANTED FOUND
  if [ "$3" = "$2" ]; then return; fi
  printf '%s: %s:\n%s\nexpected\n%s\n' "$root" "$1" "$3" "$2" >&2
  exit 1
}
picture() { # picture KIND: one of the tests' pictures
  local file offset bytes rest
  read -r file offset bytes rest < <(grep "\.$1 " tests/data/media/pictures.txt)
  dd if=tests/data/media/pictures.bin iflag=skip_bytes,count_bytes skip="$offset" count="$bytes" status=none
}

cp examples/receipt.jpg "$root/"
question=(ask --image /receipt.jpg "Read the text.")
answer=$(build/onsight "${question[@]/#\//examples/}")
expect "the receipt's text" "$answer" "$(inside "$@" "${question[@]}")"
try_beside() { # what a prefix has beside its program
  local prefix file options flags
  prefix=$(dirname "$folder")
  while read -r file options; do
    cmp -s "$root$prefix/share/$file" <(inside "$@" $options) || { echo "$root: expected $prefix/share/$file to be what onsight $options prints" >&2; exit 1; }
  done <<'END'
man/man1/onsight.1 --man
bash-completion/completions/onsight --completions bash
zsh/site-functions/_onsight --completions zsh
fish/vendor_completions.d/onsight.fish --completions fish
END
  if [ $# = 1 ]; then  # no emulator, and this machine's compiler serves
    flags=$(PKG_CONFIG_LIBDIR="$root$prefix/lib/pkgconfig" pkg-config --cflags --libs onsight)
    cc -std=c99 examples/c/ask.c $flags -Wl,-rpath,"$prefix/lib" -o "$root/ask"
    expect "the receipt's text, from the C library" "$answer" "$(inside /ask /receipt.jpg "Read the text." 2>/dev/null)"
  fi
}
if [ "${folder##*/}" = bin ]; then try_beside "$@"; fi  # the Python package has neither
for kind in heic avif; do
  if [ $# != 1 ]; then break; fi  # an emulator would take half a minute for each
  picture $kind >"$root/picture.$kind"
  one='"completion_tokens":1,'
  expect "a $kind" "$one" "$(inside "$@" ask --image "/picture.$kind" --json -n 1 hello | grep -o "$one")"
done
if [ -n "$(find "$root" -xdev -name 'libavformat.so.*')" ]; then
  echo "$root: holds a system's FFmpeg, expected none" >&2
  exit 1
fi
if [ "$videos" ]; then
  clips=(b-frames.mp4 text-hevc.mp4 text-av1.mp4 walk.webm text-mjpeg.avi walk.gif)
  if [ $# != 1 ]; then clips=(b-frames.mp4 text-av1.mp4); fi
  for clip in "${clips[@]}"; do
    cp "tests/data/video/$clip" "$root/"
    question=(ask --video "/$clip" --max-frames 1 -n 8 "Read the text.")
    answer=$(build/onsight "${question[@]/#\/$clip/tests/data/video/$clip}")
    expect "$clip" "$answer" "$(inside "$@" "${question[@]}")"
  done
  echo "$root: the program reads the receipt, and sees ${#clips[@]} videos"
else
  sentence="expected FFmpeg's libraries"
  expect "a video, without FFmpeg" "$sentence" "$(inside "$@" ask --video /receipt.jpg hello 2>&1 | grep -o "$sentence")"
  echo "$root: the program reads the receipt"
fi
