#include "media/ffmpeg.h"

#include <dlfcn.h>

namespace onsight::media {
namespace {

struct Opened {
  Ffmpeg functions;
  std::string missing;  // a library, or a function of one
  std::string suffix;   // of the libraries' names
};

void* open_library(const std::string& stem, int version, std::string& missing) {
  const std::string file = fmt::format("{}.so.{}", stem, version);
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library && missing.empty()) missing = file;
  return library;
}

// The tarball and the wheel bring libraries of their own (scripts/ffmpeg.sh), where the runpath leads; under another
// name than the system's, which the process may hold for somebody else.
std::string suffix_of_libraries() {
  std::string missing;
  const std::string own = "-onsight";
  return open_library("libavutil" + own, LIBAVUTIL_VERSION_MAJOR, missing) ? own : "";
}

template <class Function>
void find(void* library, const char* name, Function*& function, std::string& missing) {
  if (!library) return;
  function = reinterpret_cast<Function*>(dlsym(library, name));
  if (!function && missing.empty()) missing = name;
}

Opened open_all() {
  Opened out;
  // Never closed: codecs leave threads and tables behind.
  out.suffix = suffix_of_libraries();
  void* avutil = open_library("libavutil" + out.suffix, LIBAVUTIL_VERSION_MAJOR, out.missing);
  void* avcodec = open_library("libavcodec" + out.suffix, LIBAVCODEC_VERSION_MAJOR, out.missing);
  void* avformat = open_library("libavformat" + out.suffix, LIBAVFORMAT_VERSION_MAJOR, out.missing);
  void* swscale = open_library("libswscale" + out.suffix, LIBSWSCALE_VERSION_MAJOR, out.missing);
#define ONSIGHT_FIND(library) [&](const char* name, auto& function) { find(library, name, function, out.missing); }
#define ONSIGHT_TAKE(name) take(#name, out.functions.name);
  {
    const auto take = ONSIGHT_FIND(avutil);
    ONSIGHT_AVUTIL(ONSIGHT_TAKE)
  }
  {
    const auto take = ONSIGHT_FIND(avcodec);
    ONSIGHT_AVCODEC(ONSIGHT_TAKE)
  }
  {
    const auto take = ONSIGHT_FIND(avformat);
    ONSIGHT_AVFORMAT(ONSIGHT_TAKE)
  }
  {
    const auto take = ONSIGHT_FIND(swscale);
    ONSIGHT_SWSCALE(ONSIGHT_TAKE)
  }
#undef ONSIGHT_TAKE
#undef ONSIGHT_FIND
  if (out.missing.empty()) out.functions.av_log_set_level(AV_LOG_QUIET);
  return out;
}

const Opened& opened_once() {
  static const Opened opened = open_all();
  return opened;
}

}  // namespace

Result<const Ffmpeg*> ffmpeg() {
  const Opened& opened = opened_once();
  if (opened.missing.empty()) return &opened.functions;
  return bad_input("video: no {} on this machine, expected FFmpeg's libraries (Debian: libavformat{} and libswscale{})",
                   opened.missing, LIBAVFORMAT_VERSION_MAJOR, LIBSWSCALE_VERSION_MAJOR);
}

const AVInputFormat* camera_input() {
  static const AVInputFormat* const found = []() -> const AVInputFormat* {
    const auto library = ffmpeg();
    std::string missing;
    // Its versions go with libavformat's.
    void* devices = open_library("libavdevice" + opened_once().suffix, LIBAVFORMAT_VERSION_MAJOR, missing);
    void (*register_all)() = nullptr;
    find(devices, "avdevice_register_all", register_all, missing);
    if (!library || !register_all) return nullptr;
    register_all();
    return (*library)->av_find_input_format("video4linux2");
  }();
  return found;
}

}  // namespace onsight::media
