// Values for the tests of kernels and graphs.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace onsight::compute {

// n values of a normal distribution around 0; the same for the same seed.
inline std::vector<float> random_floats(int64_t n, uint32_t seed, float scale = 1.0f) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> out(static_cast<size_t>(n));
  for (float& x : out) x = normal(engine);
  return out;
}

}  // namespace onsight::compute
