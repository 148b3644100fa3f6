// A way for tests to see the pixels of src/media:
//   media_probe decode FILE                  "width height\n" and raw RGB on stdout, or one line on stderr and status 3
//   media_probe resize FILE W H FILTER       the same, after resizing by PIL's filter number
//   media_probe batch                        one such command a line on stdin (fields separated by tabs);
//                                            each answer is "ok width height\n" and raw RGB, or "error text\n"
//   media_probe memory FILE [EDGE]           decodes, resizes the longer edge to EDGE; prints the process's peak in kB,
//                                            then the milliseconds of both steps
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "media/image.h"

namespace {

using onsight::MappedFile;
using onsight::Result;
using onsight::media::Image;

Result<Image> answer(const std::vector<std::string>& words) {
  if (words.size() != 2 && words.size() != 5) return onsight::bad_input("usage: decode FILE | resize FILE W H FILTER");
  TRY(MappedFile file, MappedFile::open(words[1]));
  std::string_view bytes(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  TRY(Image image, onsight::media::decode_image(bytes, words[1]));
  if (words[0] == "decode") return image;
  return onsight::media::resize(image, std::atoi(words[2].c_str()), std::atoi(words[3].c_str()),
                                static_cast<onsight::media::Resample>(std::atoi(words[4].c_str())));
}

void write(const Image& image, const char* prefix) {
  std::printf("%s%d %d\n", prefix, image.width, image.height);
  std::fwrite(image.rgb.data(), 1, image.rgb.size(), stdout);
  std::fflush(stdout);
}

int peak_memory(const std::vector<std::string>& words) {
  std::vector<std::string> decode = {"decode", words[1]};
  auto start = std::chrono::steady_clock::now();
  auto lap_ms = [&start] {
    auto now = std::chrono::steady_clock::now();
    return std::chrono::duration<double, std::milli>(now - std::exchange(start, now)).count();
  };
  Result<Image> image = answer(decode);
  double decode_ms = lap_ms();
  if (!image) return std::fprintf(stderr, "%s\n", image.error().message.c_str()), 3;
  double edge = words.size() > 2 ? std::atoi(words[2].c_str()) : 2048, longer = std::max(image->width, image->height);
  Image small = onsight::media::resize(*image, std::max(1, static_cast<int>(image->width * edge / longer)),
                                       std::max(1, static_cast<int>(image->height * edge / longer)),
                                       onsight::media::Resample::kLanczos);
  double resize_ms = lap_ms();
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) std::printf("%ld %.0f %.0f\n", std::atol(line.c_str() + 6), decode_ms, resize_ms);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  if (words.empty()) return std::fprintf(stderr, "usage: media_probe decode|resize|batch|memory ...\n"), 2;
  if (words[0] == "memory" && words.size() >= 2) return peak_memory(words);
  if (words[0] != "batch") {
    Result<Image> image = answer(words);
    if (!image) return std::fprintf(stderr, "%s\n", image.error().message.c_str()), 3;
    write(*image, "");
    return 0;
  }
  for (std::string line; std::getline(std::cin, line);) {
    std::vector<std::string> fields;
    std::istringstream stream(line);
    for (std::string field; std::getline(stream, field, '\t');) fields.push_back(field);
    Result<Image> image = answer(fields);
    if (image) {
      write(*image, "ok ");
    } else {
      std::printf("error %s\n", image.error().message.c_str());
      std::fflush(stdout);
    }
  }
  return 0;
}
