#!/usr/bin/env bash
# Builds the FFmpeg libraries that travel with the tarball and the wheel, into BUILD/ffmpeg-libraries/:  scripts/ffmpeg.sh [release|aarch64]
# They decode and nothing else, are under the LGPL, and are made of Debian 12's own source package. Where they are there already, that is all.
#
# They are named libavcodec-onsight.so.59 and so on: a process that has another FFmpeg 5 beside them keeps both apart. In files/ is the libavformat
# of the wheel, which reads files and knows no network, so that TLS and what belongs to it stay out of the wheel.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/libraries.sh
preset=${1:-release}
build=build
if [ "$preset" != release ]; then build=build-$preset; fi
out=$build/ffmpeg-libraries
objects=$PWD/$build/ffmpeg-objects
source=$PWD/build/ffmpeg-source
log=$PWD/$build/ffmpeg.log
if ! on_debian_12; then
  echo "ffmpeg: this is $(. /etc/os-release && echo "$PRETTY_NAME"), expected Debian 12, whose FFmpeg is the one that this is built for" >&2
  exit 1
fi

# Containers and codecs as src/media/video_stream.cc lets them be opened; those of sound only as far as a playlist's parts are recognised by them.
demuxers=mov,matroska,avi,gif,mpegts,mpegps,mpegvideo,m4v,flv,ogg,mjpeg,h264,hevc,obu,av1,ivf,asf,apng,mxf
decoders=h264,hevc,vp8,vp9,libdav1d,mjpeg,mjpegb,jpegls,jpeg2000,gif,apng,png,bmp,tiff,webp,targa,qoi,rawvideo
decoders+=,mpeg1video,mpeg2video,mpegvideo,mpeg4,msmpeg4v1,msmpeg4v2,msmpeg4v3,h261,h263,h263i,h263p,flv,wmv1,wmv2,wmv3,vc1,mss1,mss2
decoders+=,theora,vp3,vp5,vp6,vp6a,vp6f,vp7,svq1,svq3,rv10,rv20,rv30,rv40,cinepak,indeo3,indeo4,indeo5,msvideo1,msrle,rpza,smc,qtrle,eightbps,cavs,dirac,snow
decoders+=,dvvideo,dnxhd,prores,cfhd,aic,hap,hqx,hq_hqa,speedhq,v210,v308,v408,v410,r10k,r210,y41p,yuv4
decoders+=,ffv1,ffvhuff,huffyuv,utvideo,magicyuv,lagarith,zlib,zmbv,tscc,tscc2,cscd,flashsv,flashsv2,fraps,g2m
streams=rtsp,rtp,sdp,hls,mpjpeg,live_flv,image_jpeg_pipe,image_png_pipe,image_gif_pipe,image_bmp_pipe,image_webp_pipe,aac,ac3,eac3,mp3,webvtt
protocols=http,https,httpproxy,tcp,tls,udp,rtp,rtmp,rtmps,libsrt,crypto,data
# What is said here stands in the libraries: no path of this machine.
configure=(--prefix=/usr --build-suffix=-onsight --enable-shared --disable-static --disable-everything --disable-autodetect
  --disable-programs --disable-doc --disable-debug --disable-avfilter --disable-swresample --disable-postproc
  --extra-cflags='-fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2' --extra-ldflags=-Wl,-z,relro,-z,now
  --enable-demuxer="$demuxers" --enable-decoder="$decoders" --enable-parsers --enable-zlib --enable-libdav1d)
network=(--enable-demuxer="$streams" --enable-protocol="$protocols" --enable-openssl --enable-libsrt --enable-indev=v4l2)
tools=
if [ "$preset" = aarch64 ]; then
  tools=aarch64-linux-gnu-
  configure+=(--enable-cross-compile --arch=aarch64 --target-os=linux --cross-prefix=$tools --pkg-config=pkg-config)
  export PKG_CONFIG_LIBDIR=/usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig
fi

# Built again when other things are wanted, or the FFmpeg has changed whose headers the program is compiled with.
wanted() { printf '%s\n' "$(dpkg-query -W -f '${source:Version}' libavformat-dev)" "${configure[@]}" "${network[@]}"; }
if wanted | cmp -s - "$out/made"; then exit 0; fi
groups='build ffmpeg'
if [ "$preset" != release ]; then groups+=" $preset"; fi
scripts/setup_once.sh $groups
begun=$SECONDS
mkdir -p "$build"
: >"$log"

# The source package of this Debian's archive, checked by apt, which gets folders of its own: what the machine's knows stays as it is.
fetch() {
  local apt=$source/apt private
  rm -rf "$source"
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
  private=(-o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=root -q)
  targets() {
    apt-get "$@" indextargets --format '$(CODENAME) deb-src $(REPO_URI) $(RELEASE) $(COMPONENT)' \
      'Identifier: Packages' 'Origin: Debian' "Architecture: $(dpkg --print-architecture)" | sed -nE 's/^bookworm(-updates|-security)? //p'
  }
  targets >"$apt/sources.list"
  if [ ! -s "$apt/sources.list" ]; then  # its lists are not there
    apt-get "${private[@]}" update && targets "${private[@]}" >"$apt/sources.list"
  fi
  private+=(-o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null)
  apt-get "${private[@]}" update && (cd "$source" && apt-get "${private[@]}" source --download-only ffmpeg) &&
    dpkg-source -x "$source"/ffmpeg_*.dsc "$source/ffmpeg" && rm -r "$apt"
}
failed() {
  tail -n 20 "$log" >&2
  echo "ffmpeg: $*" >&2
  exit 1
}
# Fetched once for all kinds; fetched again when Debian's has changed.
version=$(dpkg-query -W -f '${source:Version}' libavformat-dev)
if [ "$(cat "$source/of" 2>/dev/null)" != "$version" ]; then
  echo "ffmpeg: fetching Debian's source" >&2
  fetch >>"$log" 2>&1 || failed "the source could not be fetched, expected Debian's package ffmpeg from where apt has its packages"
  echo "$version" >"$source/of"
fi
version=$(sed -n 's/^Version: //p' "$source"/ffmpeg_*.dsc)

rm -rf "$out" "$objects"
mkdir -p "$out" "$objects/files"
# Compilers that remember, where the build has asked for them: by their names alone, as they stand in the libraries.
if [[ "${CMAKE_C_COMPILER_LAUNCHER:-}" == *ccache && -d /usr/lib/ccache ]]; then PATH=/usr/lib/ccache:$PATH; fi
build() { # build OPTION... [-- ARGUMENT OF MAKE...]: in this folder
  local options=() count=0 line
  while [ $# != 0 ] && [ "$1" != -- ]; do options+=("$1"); shift; done
  "$source/ffmpeg/configure" "${options[@]}" >>"$log" 2>&1 || failed "it could not be configured, $PWD/ffbuild/config.log says why"
  make -j "${JOBS:-$(nproc)}" "${@:2}" 2>>"$log" | while IFS= read -r line; do
    printf '%s\n' "$line" >>"$log"
    count=$((count + 1))
    if [ -t 2 ]; then printf '\rffmpeg: %d files compiled ' "$count" >&2; fi
  done || failed "it could not be built"
  if [ -t 2 ]; then printf '\r\033[K' >&2; fi
}
keep() { # keep FOLDER LIBRARY...: under the names by which they are looked for
  local folder=$1 library
  mkdir -p "$folder"
  for library in "${@:2}"; do
    "${tools}strip" --strip-unneeded -o "$folder/$(readelf -d "$library" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')" "$library"
  done
}
echo "ffmpeg: building $version for $preset" >&2
(cd "$objects" && build "${configure[@]}" "${network[@]}")
keep "$out" "$objects"/lib*/lib*-onsight.so
if [ "$preset" = release ]; then
  # Of the others only the names matter to it.
  mkdir "$objects/files/libavutil" "$objects/files/libavcodec"
  cp -P "$objects"/libavutil/*.so* "$objects/files/libavutil/"
  cp -P "$objects"/libavcodec/*.so* "$objects/files/libavcodec/"
  there=()
  for library in "$objects"/files/lib*/*.so*; do there+=(-o "${library#"$objects/files/"}"); done
  (cd "$objects/files" && build "${configure[@]}" --disable-network -- "${there[@]}" libavformat/libavformat-onsight.so)
  keep "$out/files" "$objects/files/libavformat/libavformat-onsight.so"
fi

# Their licence, and where their source is.
{
  printf 'FFmpeg, as the libraries whose names end in -onsight. They are under the GNU Lesser General Public License, version 2.1 or later,\n'
  printf 'whose text lies beside this file, and hold none of the parts under the GPL. Other libraries of these names may be put in their place.\n\n'
  printf "Source: Debian's source package ffmpeg, version %s, unchanged:\n" "$version"
  printf '  apt-get source ffmpeg=%s    or    https://snapshot.debian.org/package/ffmpeg/%s/\n' "$version" "${version#*:}"
  printf 'built by scripts/ffmpeg.sh, with\n  configure'
  printf " '%s'" "${configure[@]}" "${network[@]}"
  printf '\n(the libavformat of the Python package with --disable-network instead of the last %d).\n\n' "${#network[@]}"
  printf 'The authors, as Debian lists them:\n\n'
  cat "$source/ffmpeg/debian/copyright"
} >"$out/ffmpeg"
rm -r "$objects"
wanted >"$out/made"
echo "ffmpeg: built in $((SECONDS - begun)) s" >&2
