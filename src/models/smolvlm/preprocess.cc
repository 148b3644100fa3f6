#include "models/smolvlm/preprocess.h"

#include <algorithm>
#include <cmath>

namespace onsight::models::smolvlm {
namespace {

constexpr int64_t kMaxEdge = 4096;  // the reference's absolute maximum

struct Size {
  int64_t width, height;
};

// Step 1 of the reference: the longest edge becomes `longest`, the other keeps the aspect and becomes even.
Size scale_longest_edge(Size size, int64_t longest) {
  const double aspect = static_cast<double>(size.width) / static_cast<double>(size.height);
  if (size.width >= size.height) {
    size.width = longest;
    size.height = static_cast<int64_t>(static_cast<double>(longest) / aspect);
    size.height += size.height % 2;
  } else {
    size.height = longest;
    size.width = static_cast<int64_t>(static_cast<double>(longest) * aspect);
    size.width += size.width % 2;
  }
  size = {std::max<int64_t>(size.width, 1), std::max<int64_t>(size.height, 1)};
  const double new_aspect = static_cast<double>(size.width) / static_cast<double>(size.height);
  if (size.width >= size.height && size.width > kMaxEdge) {
    size = {kMaxEdge, static_cast<int64_t>(static_cast<double>(kMaxEdge) / new_aspect)};
  } else if (size.height > size.width && size.height > kMaxEdge) {
    size = {static_cast<int64_t>(static_cast<double>(kMaxEdge) * new_aspect), kMaxEdge};
  }
  return {std::max<int64_t>(size.width, 1), std::max<int64_t>(size.height, 1)};
}

int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// Step 2: both edges become multiples of a tile.
Size tile_canvas(Size size, int64_t tile) {
  const double aspect = static_cast<double>(size.width) / static_cast<double>(size.height);
  if (size.width >= size.height) {
    const int64_t width = round_up(size.width, tile);
    return {width, round_up(std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(width) / aspect)), tile)};
  }
  const int64_t height = round_up(size.height, tile);
  return {round_up(std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(height) * aspect)), tile), height};
}

int64_t tiles_of(Size canvas, int64_t tile) {
  const int64_t n = canvas.width / tile * (canvas.height / tile);
  return n == 1 ? 1 : n + 1;
}

media::Image resize_to(const media::Image& image, Size size, media::Resample filter) {
  return media::resize(image, static_cast<int>(size.width), static_cast<int>(size.height), filter);
}

media::Image crop(const media::Image& image, int64_t x, int64_t y, int64_t side) {
  media::Image out{static_cast<int>(side), static_cast<int>(side), {}};
  out.rgb.resize(static_cast<size_t>(side * side * 3));
  for (int64_t row = 0; row < side; ++row) {
    const uint8_t* from = image.row(static_cast<int>(y + row)) + x * 3;
    std::copy(from, from + side * 3, out.row(static_cast<int>(row)));
  }
  return out;
}

}  // namespace

Tiles cut_into_tiles(const media::Image& picture, const ProcessorConfig& config, const PictureOptions& options) {
  const int64_t tile = config.tile_size;
  const Size original = {picture.width, picture.height};
  int64_t longest = config.longest_edge;
  if (!options.allow_upscale) longest = std::min(longest, std::max(original.width, original.height));

  const auto scaled = [&] { return config.do_resize ? scale_longest_edge(original, longest) : original; };
  bool split = config.do_image_splitting;
  if (split && options.max_tiles > 0) {
    // Smaller by a tile an edge until few enough; a picture that must be one tile is read whole.
    while (tiles_of(tile_canvas(scaled(), tile), tile) > options.max_tiles && longest > tile && config.do_resize)
      longest = std::max(tile, (longest - 1) / tile * tile);
    split = tiles_of(tile_canvas(scaled(), tile), tile) <= options.max_tiles;
  }

  Tiles out;
  const Size size = scaled();
  media::Image canvas = config.do_resize ? resize_to(picture, size, config.resample) : picture;
  if (!split) {
    out.images.push_back(resize_to(canvas, {tile, tile}, config.resample));
    return out;
  }
  const Size whole = tile_canvas(size, tile);
  canvas = resize_to(canvas, whole, config.resample);
  if (whole.width == tile && whole.height == tile) {
    out.images.push_back(std::move(canvas));
    return out;
  }
  out.rows = static_cast<int>(whole.height / tile);
  out.columns = static_cast<int>(whole.width / tile);
  for (int64_t row = 0; row < out.rows; ++row)
    for (int64_t column = 0; column < out.columns; ++column)
      out.images.push_back(crop(canvas, column * tile, row * tile, tile));
  out.images.push_back(resize_to(canvas, {tile, tile}, config.resample));
  return out;
}

media::Image frame_to_tile(const media::Image& frame, const VideoConfig& config) {
  const Size tile = {config.tile_size, config.tile_size};
  if (!config.do_resize) return resize_to(frame, tile, config.resample);
  const Size size = scale_longest_edge({frame.width, frame.height}, std::min(config.longest_edge, kMaxEdge));
  return resize_to(resize_to(frame, size, config.resample), tile, config.resample);
}

void normalise_tile(const media::Image& tile, const ProcessorConfig& config, float* out) {
  const int64_t pixels = int64_t{tile.width} * tile.height;
  for (int c = 0; c < 3; ++c) {
    float table[256];
    for (int p = 0; p < 256; ++p) {
      float v = config.do_rescale ? static_cast<float>(p * config.rescale_factor) : static_cast<float>(p);
      if (config.do_normalize) v = (v - config.image_mean[c]) / config.image_std[c];
      table[p] = v;
    }
    for (int64_t i = 0; i < pixels; ++i) out[c * pixels + i] = table[tile.rgb[static_cast<size_t>(i * 3 + c)]];
  }
}

std::vector<int32_t> position_ids(int64_t side, int64_t positions) {
  // torch.arange(1/n, 1, 1/n) in f32: whole chunks of two 8-lane vectors count from their f32 first value, the rest
  // from the start.
  const double step = 1.0 / static_cast<double>(positions);
  const int64_t count = std::max<int64_t>(0, static_cast<int64_t>(std::ceil((1.0 - step) / step)));
  std::vector<float> boundaries(static_cast<size_t>(count));
  constexpr int64_t kLanes = 8;
  int64_t i = 0;
  while (i + 2 * kLanes <= count) {
    for (int v = 0; v < 2; ++v, i += kLanes) {
      const double base = static_cast<float>(step + step * static_cast<double>(i));
      for (int64_t k = 0; k < kLanes; ++k) boundaries[i + k] = static_cast<float>(base + static_cast<double>(k) * step);
    }
  }
  for (; i < count; ++i) boundaries[i] = static_cast<float>(step + step * static_cast<double>(i));

  const float patch_step = 1.0f / static_cast<float>(side);
  std::vector<int32_t> bucket(static_cast<size_t>(side));
  for (int64_t p = 0; p < side; ++p) {
    const float at = std::min(static_cast<float>(p) * patch_step, static_cast<float>(1.0 - 1e-6));
    bucket[p] = static_cast<int32_t>(std::upper_bound(boundaries.begin(), boundaries.end(), at) - boundaries.begin());
  }
  std::vector<int32_t> out;
  for (int64_t row = 0; row < side; ++row)
    for (int64_t column = 0; column < side; ++column)
      out.push_back(bucket[row] * static_cast<int32_t>(positions) + bucket[column]);
  return out;
}

}  // namespace onsight::models::smolvlm
