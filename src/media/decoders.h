// Inside the room: what decode_image() and the decoders of each format share.
#pragma once

#include <cstdint>
#include <string_view>

#include "media/image.h"
#include "media/tiff_pages.h"

namespace onsight::media {

// The bytes of one file, its name for messages, and how many pixels it may have.
struct Source {
  std::string_view bytes;
  std::string_view name;
  int64_t max_pixels = 0;
  const uint8_t* data() const { return reinterpret_cast<const uint8_t*>(bytes.data()); }
  size_t size() const { return bytes.size(); }
};

// Refuses a picture without pixels or with more than the limit. Every decoder calls it before it allocates any pixels.
Status check_size(const Source& source, int64_t width, int64_t height);
// The one sentence for data that ends early or contradicts
// itself. `detail` is the library's word on it; it may be empty.
tl::unexpected<Error> corrupt(const Source& source, std::string_view format, std::string_view detail);

// A black picture; the size was checked before.
Image blank_image(int64_t width, int64_t height);
// A picture that grows row by row, so that a short file with a large claim never gets the memory of its claim.
Image growing_image(int64_t width, int64_t height);
inline void append_row(Image& image, const uint8_t* rgb) {
  image.rgb.insert(image.rgb.end(), rgb, rgb + static_cast<size_t>(image.width) * 3);
}

// CMYK as PIL makes RGB of it: cmyk and rgb hold `pixels` pixels; ink 0 is white.
void cmyk_to_rgb(const uint8_t* cmyk, uint8_t* rgb, int64_t pixels);
// The channels that convert("RGB") keeps, of 8-bit pixels with 1 (grey), 2 (grey, alpha), 3 or 4 (RGB, alpha) channels.
void pixels_to_rgb(const uint8_t* in, int channels, uint8_t* rgb, int64_t pixels);
// A 16-bit grey value as PIL's mode "I;16" becomes RGB: clipped, not scaled.
inline uint8_t clip_16_bits(uint32_t value) { return value > 255 ? 255 : static_cast<uint8_t>(value); }

Result<Image> decode_jpeg(const Source& source);
Result<Image> decode_png(const Source& source);
Result<Image> decode_webp(const Source& source);
Result<Image> decode_gif(const Source& source);
Result<Image> decode_bmp(const Source& source);
Result<Image> decode_tiff(const Source& source);
// The picture of one directory of a file that is not in memory: `source` has no bytes, but the name and the limit.
Result<Image> decode_tiff_page(const TiffBytes& file, uint64_t directory, const Source& source);
Result<Image> decode_heif(const Source& source);  // HEIC and AVIF

}  // namespace onsight::media
