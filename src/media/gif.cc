#include <gif_lib.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "media/decoders.h"

namespace onsight::media {
namespace {

struct CloseGif {
  void operator()(GifFileType* gif) const { DGifCloseFile(gif, nullptr); }
};

int read_bytes(GifFileType* gif, GifByteType* out, int count) {
  std::string_view& rest = *static_cast<std::string_view*>(gif->UserData);
  size_t step = std::min(static_cast<size_t>(std::max(count, 0)), rest.size());
  std::memcpy(out, rest.data(), step);
  rest.remove_prefix(step);
  return static_cast<int>(step);
}

// Reads up to the first picture; the transparent colour of the blocks before it, or -1.
Result<int> read_to_first_frame(const Source& source, GifFileType* gif) {
  int transparent = -1;
  for (;;) {
    GifRecordType record;
    if (DGifGetRecordType(gif, &record) != GIF_OK) return corrupt(source, "GIF", "");
    if (record == IMAGE_DESC_RECORD_TYPE) return transparent;
    if (record == TERMINATE_RECORD_TYPE)
      return bad_input("{}: GIF without a picture, expected at least one", source.name);
    if (record != EXTENSION_RECORD_TYPE) return corrupt(source, "GIF", "");
    int code = 0;
    GifByteType* block = nullptr;
    if (DGifGetExtension(gif, &code, &block) != GIF_OK) return corrupt(source, "GIF", "");
    if (code == GRAPHICS_EXT_FUNC_CODE && block && block[0] >= 4 && (block[1] & 1)) transparent = block[4];
    while (block) {
      if (DGifGetExtensionNext(gif, &block) != GIF_OK) return corrupt(source, "GIF", "");
    }
  }
}

// Which colour an index means, as PIL reads it: a table of
// nothing but i -> (i, i, i), or none at all, is a grey picture.
void fill_colors(const ColorMapObject* map, uint8_t colors[256][3]) {
  bool grey = true;
  int count = map ? std::min(map->ColorCount, 256) : 0;
  for (int i = 0; i < count; ++i) {
    const GifColorType& entry = map->Colors[i];
    grey = grey && entry.Red == i && entry.Green == i && entry.Blue == i;
  }
  for (int i = 0; i < 256; ++i) {
    bool known = !grey && i < count;
    colors[i][0] = known ? map->Colors[i].Red : grey ? static_cast<uint8_t>(i) : 0;
    colors[i][1] = known ? map->Colors[i].Green : grey ? static_cast<uint8_t>(i) : 0;
    colors[i][2] = known ? map->Colors[i].Blue : grey ? static_cast<uint8_t>(i) : 0;
  }
}

// Stored row i of an interlaced frame: every 8th row, then those between, then those between again.
std::vector<int> row_order(int height, bool interlaced) {
  std::vector<int> order;
  order.reserve(height);
  if (!interlaced) {
    for (int y = 0; y < height; ++y) order.push_back(y);
    return order;
  }
  constexpr int kStarts[] = {0, 4, 2, 1}, kSteps[] = {8, 8, 4, 2};
  for (int pass = 0; pass < 4; ++pass) {
    for (int y = kStarts[pass]; y < height; y += kSteps[pass]) order.push_back(y);
  }
  return order;
}

}  // namespace

Result<Image> decode_gif(const Source& source) {
  std::string_view rest = source.bytes;
  int error = 0;
  std::unique_ptr<GifFileType, CloseGif> gif(DGifOpen(&rest, read_bytes, &error));
  if (!gif) return corrupt(source, "GIF", "");
  TRY(int transparent, read_to_first_frame(source, gif.get()));
  if (DGifGetImageDesc(gif.get()) != GIF_OK) return corrupt(source, "GIF", "");
  const GifImageDesc& frame = gif->Image;
  // PIL widens the canvas for a frame that sticks out of it.
  int64_t width = std::max<int64_t>(gif->SWidth, int64_t{frame.Left} + frame.Width);
  int64_t height = std::max<int64_t>(gif->SHeight, int64_t{frame.Top} + frame.Height);
  TRY_STATUS(check_size(source, width, height));
  if (frame.Left < 0 || frame.Top < 0 || frame.Width < 1 || frame.Height < 1) {
    return bad_input("{}: GIF frame of {}x{} pixels, expected at least 1x1", source.name, frame.Width, frame.Height);
  }
  uint8_t colors[256][3];
  fill_colors(frame.ColorMap ? frame.ColorMap : gif->SColorMap, colors);

  Image image = blank_image(width, height);
  const uint8_t* background = colors[std::max(transparent, 0)];
  if (width != frame.Width || height != frame.Height) {
    for (size_t i = 0; i < image.rgb.size(); i += 3) std::memcpy(&image.rgb[i], background, 3);
  }
  std::vector<GifPixelType> indices(frame.Width);
  for (int y : row_order(frame.Height, frame.Interlace)) {
    if (DGifGetLine(gif.get(), indices.data(), frame.Width) != GIF_OK) return corrupt(source, "GIF", "");
    uint8_t* out = image.row(frame.Top + y) + size_t{3} * frame.Left;
    for (int x = 0; x < frame.Width; ++x) std::memcpy(out + size_t{3} * x, colors[indices[x]], 3);
  }
  return image;
}

}  // namespace onsight::media
