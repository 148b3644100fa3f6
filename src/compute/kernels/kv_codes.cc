#include "compute/kernels/kv_codes.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "compute/kernels/scalar.h"

namespace onsight::compute {
namespace {

// Where a position's code of a dim lies.
int64_t key_at(const KvCodes& page, int position, int64_t dim) {
  return ((position / kKvPanel * page.quads() + dim / kQuad) * kKvPanel + position % kKvPanel) * kQuad + dim % kQuad;
}
int64_t value_at(int position, int64_t dim) {
  return ((dim / kKvPanel * (kKvPage / kQuad) + position / kQuad) * kKvPanel + dim % kKvPanel) * kQuad +
         position % kQuad;
}

float step_of(const float* x, int64_t n) {
  float most = 0;
  for (int64_t i = 0; i < n; ++i) most = std::max(most, std::fabs(x[i]));
  return most > 0 ? most / 127.0f : 1.0f;
}

int8_t code_of(float x) { return static_cast<int8_t>(nearest(x)); }

}  // namespace

void put_codes(const float* k, const float* v, int64_t head_dim, int position, std::byte* keys, std::byte* values) {
  const KvCodes page(head_dim);
  const float k_step = step_of(k, head_dim), v_step = step_of(v, head_dim);
  int32_t sum = 0;
  for (int64_t q = 0; q < page.quads(); ++q) {
    int8_t quad[kQuad] = {};
    for (int64_t i = 0; i < std::min<int64_t>(kQuad, head_dim - q * kQuad); ++i) {
      quad[i] = code_of(k[q * kQuad + i] / k_step);
      sum += quad[i];
    }
    std::memcpy(keys + key_at(page, position, q * kQuad), quad, sizeof quad);
  }
  for (int64_t d = 0; d < head_dim; ++d) values[value_at(position, d)] = static_cast<std::byte>(code_of(v[d] / v_step));
  std::byte* scales = keys + page.key_codes();
  std::memcpy(scales + position * 4, &k_step, 4);
  std::memcpy(scales + (kKvPage + position) * 4, &sum, 4);
  std::memcpy(values + page.value_codes() + position * 4, &v_step, 4);
}

void read_codes(const std::byte* keys, const std::byte* values, int64_t head_dim, int position, float* k, float* v) {
  const KvCodes page(head_dim);
  float k_step, v_step;
  std::memcpy(&k_step, keys + page.key_codes() + position * 4, 4);
  std::memcpy(&v_step, values + page.value_codes() + position * 4, 4);
  for (int64_t d = 0; d < head_dim; ++d) {
    k[d] = k_step * static_cast<float>(static_cast<int8_t>(keys[key_at(page, position, d)]));
    v[d] = v_step * static_cast<float>(static_cast<int8_t>(values[value_at(position, d)]));
  }
}

}  // namespace onsight::compute
