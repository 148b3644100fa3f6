#include <libheif/heif.h>

#include <memory>
#include <string>

#include "media/decoders.h"

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

}  // namespace

// libheif applies the file's own rotation and mirroring; HEIF's EXIF orientation only repeats them and is left alone.
Result<Image> decode_heif(const Source& source) {
  auto failed = [&](const heif_error& error) -> tl::unexpected<Error> {
    if (error.code == heif_error_Memory_allocation_error) {
      return make_error(ErrorCode::kOutOfMemory, "{}: the picture does not fit in memory, expected a smaller one",
                        source.name);
    }
    return corrupt(source, "HEIC or AVIF", error.message ? error.message : "");
  };
  Context context(heif_context_alloc());
  if (!context) return corrupt(source, "HEIC or AVIF", "");
  if (heif_error error =
          heif_context_read_from_memory_without_copy(context.get(), source.data(), source.size(), nullptr);
      error.code != heif_error_Ok) {
    return failed(error);
  }
  heif_image_handle* raw_handle = nullptr;
  if (heif_error error = heif_context_get_primary_image_handle(context.get(), &raw_handle);
      error.code != heif_error_Ok) {
    return failed(error);
  }
  Handle handle(raw_handle);
  int64_t width = heif_image_handle_get_width(handle.get()), height = heif_image_handle_get_height(handle.get());
  TRY_STATUS(check_size(source, width, height));

  Options options(heif_decoding_options_alloc());
  if (options) options->convert_hdr_to_8bit = 1;
  heif_image* raw_image = nullptr;
  if (heif_error error =
          heif_decode_image(handle.get(), &raw_image, heif_colorspace_RGB, heif_chroma_interleaved_RGB, options.get());
      error.code != heif_error_Ok) {
    return failed(error);
  }
  Decoded decoded(raw_image);
  width = heif_image_get_primary_width(decoded.get());
  height = heif_image_get_primary_height(decoded.get());
  TRY_STATUS(check_size(source, width, height));
  int stride = 0;
  const uint8_t* pixels = heif_image_get_plane_readonly(decoded.get(), heif_channel_interleaved, &stride);
  if (!pixels) return corrupt(source, "HEIC or AVIF", "");
  Image image = growing_image(width, height);
  for (int64_t y = 0; y < height; ++y) append_row(image, pixels + y * stride);
  return image;
}

}  // namespace onsight::media
