#include <webp/decode.h>
#include <webp/demux.h>

#include <memory>
#include <optional>

#include "media/decoders.h"
#include "media/orientation.h"

namespace onsight::media {
namespace {

struct DeleteDemuxer {
  void operator()(WebPDemuxer* demuxer) const { WebPDemuxDelete(demuxer); }
};
struct DeleteAnimation {
  void operator()(WebPAnimDecoder* decoder) const { WebPAnimDecoderDelete(decoder); }
};

std::optional<std::string_view> chunk(const WebPDemuxer* demuxer, const char* name) {
  WebPChunkIterator found;
  if (!WebPDemuxGetChunk(demuxer, name, 1, &found)) return {};
  std::string_view bytes(reinterpret_cast<const char*>(found.chunk.bytes), found.chunk.size);  // points into the file
  WebPDemuxReleaseChunkIterator(&found);
  return bytes;
}

// The first frame on its canvas; where the frame does not reach, the canvas is black.
Result<Image> decode_animation(const Source& source, const WebPData& data, int64_t width, int64_t height) {
  std::unique_ptr<WebPAnimDecoder, DeleteAnimation> decoder(WebPAnimDecoderNew(&data, nullptr));
  uint8_t* rgba = nullptr;
  int timestamp = 0;
  WebPAnimInfo info;
  if (!decoder || !WebPAnimDecoderGetInfo(decoder.get(), &info) || info.canvas_width != width ||
      info.canvas_height != height || !WebPAnimDecoderGetNext(decoder.get(), &rgba, &timestamp)) {
    return corrupt(source, "WebP", "");
  }
  Image image = blank_image(width, height);
  pixels_to_rgb(rgba, 4, image.rgb.data(), width * height);
  return image;
}

Result<Image> decode_still(const Source& source, int64_t width, int64_t height) {
  Image image = blank_image(width, height);
  if (!WebPDecodeRGBInto(source.data(), source.size(), image.rgb.data(), image.rgb.size(),
                         static_cast<int>(width * 3))) {
    return corrupt(source, "WebP", "");
  }
  return image;
}

}  // namespace

Result<Image> decode_webp(const Source& source) {
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(source.data(), source.size(), &features) != VP8_STATUS_OK) return corrupt(source, "WebP", "");
  TRY_STATUS(check_size(source, features.width, features.height));
  WebPData data{source.data(), source.size()};
  std::unique_ptr<WebPDemuxer, DeleteDemuxer> demuxer(WebPDemux(&data));  // only whole files
  if (!demuxer) return corrupt(source, "WebP", "");
  int orientation = find_orientation(chunk(demuxer.get(), "EXIF"), chunk(demuxer.get(), "XMP "));
  demuxer.reset();
  if (features.has_animation) {
    TRY(Image image, decode_animation(source, data, features.width, features.height));
    return make_upright(std::move(image), orientation);
  }
  TRY(Image image, decode_still(source, features.width, features.height));
  return make_upright(std::move(image), orientation);
}

}  // namespace onsight::media
