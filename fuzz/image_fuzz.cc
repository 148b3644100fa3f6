// Any bytes as a picture file, page by page, then resized: no crash, no leak, no memory beyond what a small limit on
// pixels allows.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "media/pages.h"

// libheif 1.15 forgets the 40 bytes in which libdav1d keeps an empty AV1 item; nothing grows with the input.
extern "C" const char* __lsan_default_suppressions() { return "leak:libdav1d.so\n"; }

namespace {

template <class T>
void check_sentence(const onsight::Result<T>& result) {
  if (!result && (result.error().message.empty() || result.error().message.find('\n') != std::string::npos))
    std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace onsight;
  if (size < 2) return 0;
  // The last byte chooses the resize, so that corpora of plain picture files are useful as they are.
  uint8_t choice = data[size - 1];
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const media::DecodeLimits limits{.max_pixels = 1 << 16};
  const Result<int> pages = media::count_pages(bytes, "fuzz");
  check_sentence(pages);
  if (pages && *pages < 1) std::abort();
  // A few are enough, and the last one is where a list goes wrong.
  for (int page = 1; pages && *pages > 1 && page <= *pages; page = page < 4 || page == *pages ? page + 1 : *pages) {
    const Result<media::Image> image = media::decode_page(bytes, "fuzz", page, limits);
    check_sentence(image);
    if (image && (image->rgb.size() != size_t{3} * image->width * image->height || image->rgb.empty())) std::abort();
  }
  Result<media::Image> image = media::decode_image(bytes, "fuzz", limits);
  check_sentence(image);
  if (!image) return 0;
  if (image->rgb.size() != size_t{3} * image->width * image->height || image->rgb.empty()) std::abort();
  media::Image small =
      media::resize(*image, 1 + choice % 37, 1 + choice % 23, static_cast<media::Resample>(choice % 6));
  if (small.rgb.size() != size_t{3} * small.width * small.height) std::abort();
  return 0;
}
