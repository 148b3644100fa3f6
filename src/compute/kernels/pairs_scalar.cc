#include <bit>

#include "compute/kernels/pairs.h"

namespace onsight::compute {
namespace {

float widened(uint16_t bf16) { return std::bit_cast<float>(static_cast<uint32_t>(bf16) << 16); }

void pair_tile(const PairTile& t) {
  for (int i = 0; i < t.rows; ++i)
    for (int j = 0; j < kPairColumns; ++j) {
      float sum = t.add ? t.y[i * t.y_stride + j] : 0;
      for (int64_t p = 0; p < t.pairs; ++p) {
        const uint16_t *x = t.x + i * t.x_stride + 2 * p, *w = t.panel + p * t.panel_stride + 2 * j;
        sum += widened(x[0]) * widened(w[0]) + widened(x[1]) * widened(w[1]);
      }
      t.y[i * t.y_stride + j] = sum;
    }
}

}  // namespace

const PairTiles kScalarPairs = {"scalar", pair_tile};

#if !defined(__x86_64__)
const PairTiles* pair_tiles() { return nullptr; }
#endif

}  // namespace onsight::compute
