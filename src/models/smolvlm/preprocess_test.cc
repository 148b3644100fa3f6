#include "models/smolvlm/preprocess.h"

#include <gtest/gtest.h>

namespace onsight::models::smolvlm {
namespace {

media::Image blank(int width, int height) {
  return {width, height, std::vector<uint8_t>(static_cast<size_t>(width) * height * 3, 128)};
}

ProcessorConfig processor(int64_t longest_edge, int64_t tile) {
  ProcessorConfig config;
  config.longest_edge = longest_edge;
  config.tile_size = tile;
  return config;
}

struct Row {
  int longest_edge, tile, width, height, rows, columns, tiles;
};
// Printed by SmolVLMImageProcessorPil of transformers 5.23.0.
constexpr Row kReference[] = {
    {2048, 512, 1, 1, 4, 4, 17},       {2048, 512, 8000, 20, 1, 4, 5},    {2048, 512, 20, 8000, 4, 1, 5},
    {2048, 512, 1536, 1024, 3, 4, 13}, {2048, 512, 1000, 1000, 4, 4, 17}, {2048, 512, 333, 777, 4, 2, 9},
    {2048, 512, 640, 481, 4, 4, 17},   {2048, 512, 3, 5, 4, 3, 13},       {2048, 512, 4000, 3001, 3, 4, 13},
    {1536, 384, 1, 1, 4, 4, 17},       {1536, 384, 8000, 20, 1, 4, 5},    {1536, 384, 20, 8000, 4, 1, 5},
    {1536, 384, 1536, 1024, 3, 4, 13}, {1536, 384, 1000, 1000, 4, 4, 17}, {1536, 384, 333, 777, 4, 2, 9},
    {1536, 384, 640, 481, 4, 4, 17},   {1536, 384, 3, 5, 4, 3, 13},       {192, 192, 1, 1, 0, 0, 1},
    {192, 192, 8000, 20, 0, 0, 1},     {192, 192, 20, 8000, 0, 0, 1},     {192, 192, 1536, 1024, 0, 0, 1},
    {192, 192, 1000, 1000, 0, 0, 1},   {192, 192, 333, 777, 0, 0, 1},     {192, 192, 640, 481, 0, 0, 1},
    {192, 192, 3, 5, 0, 0, 1},         {96, 32, 1, 1, 3, 3, 10},          {96, 32, 8000, 20, 1, 3, 4},
    {96, 32, 20, 8000, 3, 1, 4},       {96, 32, 1536, 1024, 2, 3, 7},     {96, 32, 1000, 1000, 3, 3, 10},
    {96, 32, 333, 777, 3, 2, 7},       {96, 32, 640, 481, 3, 3, 10},      {96, 32, 3, 5, 3, 2, 7},
};

TEST(Tiles, GridsAreTheReferences) {
  for (const Row& r : kReference) {
    const Tiles tiles = cut_into_tiles(blank(r.width, r.height), processor(r.longest_edge, r.tile), {});
    EXPECT_EQ(tiles.rows, r.rows) << r.width << "x" << r.height;
    EXPECT_EQ(tiles.columns, r.columns) << r.width << "x" << r.height;
    EXPECT_EQ(static_cast<int>(tiles.images.size()), r.tiles);
    for (const media::Image& tile : tiles.images) {
      EXPECT_EQ(tile.width, r.tile);
      EXPECT_EQ(tile.height, r.tile);
    }
  }
}

TEST(Tiles, MaxTilesIsKeptAndUpscalingCanBeOff) {
  for (int limit = 1; limit <= 17; ++limit)
    for (auto [w, h] : {std::pair{1536, 1024}, {1000, 1000}, {30, 3000}, {200, 100}})
      EXPECT_LE(cut_into_tiles(blank(w, h), processor(512, 128), {limit, true}).images.size(),
                static_cast<size_t>(limit));
  EXPECT_EQ(cut_into_tiles(blank(1536, 1024), processor(512, 128), {1, true}).rows, 0);
  EXPECT_EQ(cut_into_tiles(blank(1536, 1024), processor(512, 128), {13, true}).images.size(), 13u);
  EXPECT_EQ(cut_into_tiles(blank(100, 90), processor(512, 128), {0, false}).images.size(), 1u);
  EXPECT_EQ(cut_into_tiles(blank(200, 90), processor(512, 128), {0, false}).images.size(), 3u);
}

TEST(Tiles, WithoutSplittingAPictureIsOneTile) {
  ProcessorConfig config = processor(512, 128);
  config.do_image_splitting = false;
  EXPECT_EQ(cut_into_tiles(blank(1536, 1024), config, {}).images.size(), 1u);
}

TEST(Normalise, FollowsTheReferencesPrecision) {
  media::Image tile{2, 1, {0, 255, 127, 128, 1, 254}};
  std::vector<float> out(6);
  normalise_tile(tile, processor(2, 2), out.data());
  EXPECT_EQ(out[0], -1.0f);
  EXPECT_EQ(out[2], 1.0f);
  EXPECT_EQ(out[4], (static_cast<float>(127 * (1.0 / 255)) - 0.5f) / 0.5f);
}

TEST(Positions, AreBucketsInF32) {
  for (int64_t n : {4, 16, 24, 27, 32, 64}) {  // the sides in use: every patch has its own position
    const std::vector<int32_t> ids = position_ids(n, n);
    for (int64_t i = 0; i < n * n; ++i) ASSERT_EQ(ids[i], i) << n;
  }
  // 19 a side: f32 rounding gives two neighbours one position in the reference, too.
  const std::vector<int32_t> odd = position_ids(19, 19);
  int repeated = 0;
  for (int i = 1; i < 19; ++i) repeated += odd[i] == odd[i - 1];
  EXPECT_GT(repeated, 0);
  // Half as many patches as positions: every other one.
  EXPECT_EQ(position_ids(2, 4), (std::vector<int32_t>{0, 2, 8, 10}));
}

}  // namespace
}  // namespace onsight::models::smolvlm
