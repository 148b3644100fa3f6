#include <libheif/heif.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "media/decoders.h"
#include "media/heif_properties.h"
#include "media/orientation.h"
#include "media/yuv.h"

namespace onsight::media {
namespace {

template <auto kRelease>
struct Releaser {
  template <class T>
  void operator()(T* object) const {
    kRelease(object);
  }
};
using Context = std::unique_ptr<heif_context, Releaser<heif_context_free>>;
using Handle = std::unique_ptr<const heif_image_handle, Releaser<heif_image_handle_release>>;
using Decoded = std::unique_ptr<const heif_image, Releaser<heif_image_release>>;
using Options = std::unique_ptr<heif_decoding_options, Releaser<heif_decoding_options_free>>;

tl::unexpected<Error> out_of_memory(const Source& source) {
  return make_error(ErrorCode::kOutOfMemory, "{}: the picture does not fit in memory, expected a smaller one",
                    source.name);
}

tl::unexpected<Error> failed(const Source& source, const heif_error& error) {
  if (error.subcode == heif_suberror_Security_limit_exceeded) {
    return bad_input("{}: HEIC or AVIF with more pixels or parts than libheif takes, expected a smaller one",
                     source.name);
  }
  if (error.code == heif_error_Memory_allocation_error) return out_of_memory(source);
  return corrupt(source, "HEIC or AVIF", error.message ? error.message : "");
}

struct OpenFile {
  Context context;
  Handle primary;
};

// `bytes` outlives the result.
Result<OpenFile> open(const Source& source, std::string_view bytes) {
  OpenFile file{Context(heif_context_alloc()), nullptr};
  if (!file.context) return out_of_memory(source);
  heif_error error =
      heif_context_read_from_memory_without_copy(file.context.get(), bytes.data(), bytes.size(), nullptr);
  if (error.code != heif_error_Ok) return failed(source, error);
  heif_image_handle* handle = nullptr;
  error = heif_context_get_primary_image_handle(file.context.get(), &handle);
  file.primary.reset(handle);
  if (error.code != heif_error_Ok) return failed(source, error);
  int width = heif_image_handle_get_ispe_width(handle), height = heif_image_handle_get_ispe_height(handle);
  TRY_STATUS(check_size(source, width, height));
  // Nothing that the picture is put together from may be larger than it says it is itself.
  heif_context_set_maximum_image_size_limit(file.context.get(), std::max(width, height) + 1);
  return file;
}

enum class Form {
  kRgb,     // 8-bit RGB, turned and cropped
  kStored,  // the planes as they are stored
};

Result<Decoded> decode(const Source& source, const OpenFile& file, Form form) {
  Options options(heif_decoding_options_alloc());
  if (!options) return out_of_memory(source);
  options->convert_hdr_to_8bit = form == Form::kRgb;
  options->ignore_transformations = form == Form::kStored;
  heif_colorspace space = form == Form::kRgb ? heif_colorspace_RGB : heif_colorspace_undefined;
  heif_chroma chroma = form == Form::kRgb ? heif_chroma_interleaved_RGB : heif_chroma_undefined;
  heif_image* image = nullptr;
  heif_error error = heif_decode_image(file.primary.get(), &image, space, chroma, options.get());
  Decoded decoded(image);
  if (error.code != heif_error_Ok) return failed(source, error);
  TRY_STATUS(check_size(source, heif_image_get_primary_width(image), heif_image_get_primary_height(image)));
  return decoded;
}

// The decoded planes: YCbCr from libheif 1.17 on, and before that
// YCbCr that takes itself for red (Cr), green (Y), blue (Cb).
bool find_planes(const heif_image* image, const HeifProperties& properties, YuvPlanes& yuv) {
  heif_colorspace space = heif_image_get_colorspace(image);
  if (space == heif_colorspace_undefined) return false;
  bool renamed = space == heif_colorspace_RGB;
  if (renamed && heif_image_get_chroma_format(image) != heif_chroma_444) return false;
  constexpr heif_channel kOwn[] = {heif_channel_Y, heif_channel_Cb, heif_channel_Cr};
  constexpr heif_channel kRenamed[] = {heif_channel_G, heif_channel_B, heif_channel_R};
  const heif_channel* channels = renamed ? kRenamed : kOwn;
  yuv.has_chroma = properties.has_chroma;
  yuv.shift_x = properties.shift_x;
  yuv.shift_y = properties.shift_y;
  yuv.chroma_is_repeated = renamed;
  yuv.matrix = properties.matrix;
  yuv.primaries = properties.primaries;
  yuv.full_range = properties.full_range;
  yuv.width = heif_image_get_width(image, channels[0]);
  yuv.height = heif_image_get_height(image, channels[0]);
  yuv.bits = heif_image_get_bits_per_pixel_range(image, channels[0]);
  if (yuv.width < 1 || yuv.height < 1 || yuv.bits < 8 || yuv.bits > 14) return false;
  for (int i = 0; i < (yuv.has_chroma ? 3 : 1); ++i) {
    yuv.planes[i] = heif_image_get_plane_readonly(image, channels[i], &yuv.strides[i]);
    int shift_x = i == 0 || renamed ? 0 : yuv.shift_x, shift_y = i == 0 || renamed ? 0 : yuv.shift_y;
    if (!yuv.planes[i] || heif_image_get_bits_per_pixel_range(image, channels[i]) != yuv.bits ||
        heif_image_get_width(image, channels[i]) < (yuv.width + shift_x) >> shift_x ||
        heif_image_get_height(image, channels[i]) < (yuv.height + shift_y) >> shift_y) {
      return false;
    }
  }
  return true;
}

bool is_avif(std::string_view bytes) {
  std::string_view head = bytes.substr(0, 64);
  return head.find("avif") != head.npos || head.find("avis") != head.npos;
}

// Cuts the picture to the rectangle, where that is one inside it.
bool crop(Image& image, const HeifChange& change) {
  auto fits = [](double size, int whole) { return size >= 1 && size <= whole; };
  if (!fits(change.width, image.width) || !fits(change.height, image.height)) return false;
  int width = static_cast<int>(change.width), height = static_cast<int>(change.height);
  double left = std::floor(change.off_center_x + (image.width - change.width) / 2 + 0.5);
  double top = std::floor(change.off_center_y + (image.height - change.height) / 2 + 0.5);
  if (!(left >= 0 && left + width <= image.width && top >= 0 && top + height <= image.height)) return false;
  Image part = growing_image(width, height);
  for (int y = 0; y < height; ++y) {
    append_row(part, image.row(static_cast<int>(top) + y) + static_cast<size_t>(left) * 3);
  }
  image = std::move(part);
  return true;
}

// Exactly as PIL: the planes, with our own conversion, turned when the colours are
// known (the planes of an odd size with halved chroma cannot be turned exactly).
// No value where that cannot be done, and libheif's own conversion has to do.
Result<std::optional<Image>> decode_exactly(const Source& source, const OpenFile& file) {
  heif_item_id item = 0;
  heif_context_get_primary_image_ID(file.context.get(), &item);
  std::optional<HeifProperties> properties = read_heif_properties(source.bytes, item);
  if (!properties || !properties->has_matrix || !properties->is_coded) return std::nullopt;
  // Until 1.16 libheif hands out nothing but RGB, whatever it is asked for. A file that says its planes are green, blue
  // and red already gets them untouched.
  std::string renamed(source.bytes);
  for (size_t offset : properties->matrix_offsets) {
    renamed[offset] = renamed[offset + 1] = 0;
    renamed[offset + 2] = static_cast<char>(0x80);
  }
  TRY(OpenFile planes, open(source, renamed));
  TRY(Decoded decoded, decode(source, planes, Form::kStored));
  YuvPlanes yuv;
  if (!find_planes(decoded.get(), *properties, yuv)) return std::nullopt;
  yuv.has_alpha = heif_image_handle_has_alpha_channel(file.primary.get());
  Image image = blank_image(yuv.width, yuv.height);
  if (!(is_avif(source.bytes) ? avif_to_rgb(yuv, image) : heic_to_rgb(yuv, image))) return std::nullopt;
  decoded.reset();
  // The EXIF orientation of such files only repeats what the turns say and is left alone.
  for (const HeifChange& change : properties->changes) {
    if (change.turn != 0) {
      image = make_upright(std::move(image), change.turn);
    } else if (!is_avif(source.bytes) && !crop(image, change)) {  // PIL shows AVIF uncropped
      return std::nullopt;
    }
  }
  return image;
}

}  // namespace

Result<Image> decode_heif(const Source& source) {
  TRY(OpenFile file, open(source, source.bytes));
  TRY(std::optional<Image> exact, decode_exactly(source, file));
  if (exact) return *std::move(exact);
  TRY(Decoded decoded, decode(source, file, Form::kRgb));
  int64_t width = heif_image_get_primary_width(decoded.get()), height = heif_image_get_primary_height(decoded.get());
  int stride = 0;
  const uint8_t* pixels = heif_image_get_plane_readonly(decoded.get(), heif_channel_interleaved, &stride);
  if (!pixels) return corrupt(source, "HEIC or AVIF", "");
  Image image = growing_image(width, height);
  for (int64_t y = 0; y < height; ++y) append_row(image, pixels + y * stride);
  return image;
}

}  // namespace onsight::media
