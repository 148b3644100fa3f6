// Any bytes as a picture file, then resized: no crash, no leak, no memory beyond what a small limit on pixels allows.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "media/image.h"

// libheif 1.15 forgets the 40 bytes in which libdav1d keeps an empty AV1 item; nothing grows with the input.
extern "C" const char* __lsan_default_suppressions() { return "leak:libdav1d.so\n"; }

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace onsight;
  if (size < 2) return 0;
  // The last byte chooses the resize, so that corpora of plain picture files are useful as they are.
  uint8_t choice = data[size - 1];
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  Result<media::Image> image = media::decode_image(bytes, "fuzz", media::DecodeLimits{.max_pixels = 1 << 16});
  if (!image) {
    if (image.error().message.empty() || image.error().message.find('\n') != std::string::npos) std::abort();
    return 0;
  }
  if (image->rgb.size() != size_t{3} * image->width * image->height || image->rgb.empty()) std::abort();
  media::Image small =
      media::resize(*image, 1 + choice % 37, 1 + choice % 23, static_cast<media::Resample>(choice % 6));
  if (small.rgb.size() != size_t{3} * small.width * small.height) std::abort();
  return 0;
}
