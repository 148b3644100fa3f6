# What scripts/tarball.sh and scripts/wheel.sh know about the libraries of Debian 12 that travel with what they make. To be sourced.

# What every system with glibc 2.36 has. FFmpeg's libraries are not Debian's, which would be 170 MB with all that they need, and are under the GPL:
# scripts/ffmpeg.sh builds them, into $ffmpeg.
runtimes='libc.so.6 libm.so.6 libresolv.so.2 libstdc++.so.6 libgcc_s.so.1'
# An encoder that nothing here calls, but libheif asks for: the name suffices it. It would be half of all, and is under the GPL.
encoder=libx265.so.199
ffmpeg=ffmpeg-libraries

# Elsewhere the encoder has another name, and decoders are files that libheif looks for by itself.
on_debian_12() { grep -q '^VERSION_ID="12"' /etc/os-release; }

stub_encoder() { # stub_encoder COMPILER FOLDER: a library of the encoder's name that encodes nothing
  echo 'const void *x265_api_get_199(int depth) { (void)depth; return 0; }' |
    "$1" -shared -fPIC -nostdlib -s -Wl,-soname,$encoder -x c -o "$2/$encoder" -
}

# licences FOLDER PACKAGES FFMPEG LIBRARY...: those of Debian's packages, of our FFmpeg, and of the packages that the libraries are from
licences() {
  local folder=$1 packages=$2 own=$3 library package terms patterns=()
  shift 3
  for library in "$@"; do
    library=$(readlink -f "$library")
    patterns+=("*/$(basename "$(dirname "$library")")/$(basename "$library")")  # dpkg knows it in /lib or in /usr/lib
  done
  mkdir -p "$folder"
  for package in $packages $(dpkg -S "${patterns[@]}" | sed 's/:.*//' | sort -u); do
    install -m 644 "/usr/share/doc/$package/copyright" "$folder/$package"
  done
  install -m 644 "$own" "$folder/"
  # and the terms that these refer to
  for terms in $(grep -hoE '/usr/share/common-licenses/[A-Za-z0-9]+(-[0-9]+(\.[0-9]+)?)?' "$folder"/* | sort -u); do
    if [ -f "$terms" ]; then install -m 644 "$terms" "$folder/"; fi
  done
}
