// A picture becomes tiles, pixel for pixel as SmolVLMImageProcessorPil makes them.
#pragma once

#include <vector>

#include "media/image.h"
#include "models/model.h"
#include "models/smolvlm/config.h"

namespace onsight::models::smolvlm {

struct Tiles {
  int rows = 0, columns = 0;         // 0, 0: one picture, not split
  std::vector<media::Image> images;  // row by row, then the global one; each tile_size × tile_size
};

Tiles cut_into_tiles(const media::Image& picture, const ProcessorConfig& config, const PictureOptions& options);

// A frame of a video as one tile: SmolVLMVideoProcessor's two resizes.
media::Image frame_to_tile(const media::Image& frame, const VideoConfig& config);

// Normalised pixels of a tile: out [3, T, T]; ((p · rescale_factor) − mean) / std in the reference's order and
// precision.
void normalise_tile(const media::Image& tile, const ProcessorConfig& config, float* out);

// Which row of the position table each patch of a side × side tile takes, with `positions` learned positions a side:
// the reference's bucketised fractional coordinates, in its f32 steps. [side · side]
std::vector<int32_t> position_ids(int64_t side, int64_t positions);

}  // namespace onsight::models::smolvlm
