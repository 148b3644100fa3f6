// Keys and values in 8 bits: a page of one head as the dot tiles read it, with a scale a position for each of the two.
//
//   keys     [2][quads of dims][32][4]     codes of 32 positions each; then [kKvPage] scales (f32), and the sums of the
//            codes of a position (i32)
//   values   [panels][kKvPage/4][32][4]    codes of 32 dims each; then [kKvPage] scales (f32)
#pragma once

#include <cstddef>

#include "compute/kernels/dot.h"
#include "compute/kernels/kernel_table.h"

namespace onsight::compute {

constexpr int kKvPanel = 32;          // outputs of a dot tile
constexpr int kLargestKvHead = 1024;  // dims

struct KvCodes {
  explicit constexpr KvCodes(int64_t dims) : head_dim(dims) {}
  int64_t head_dim;
  constexpr int64_t quads() const { return (head_dim + kQuad - 1) / kQuad; }
  constexpr int64_t panels() const { return (head_dim + kKvPanel - 1) / kKvPanel; }
  constexpr int64_t key_codes() const { return kKvPage * quads() * kQuad; }
  constexpr int64_t value_codes() const { return kKvPage * panels() * kKvPanel; }
  constexpr int64_t keys_bytes() const { return key_codes() + kKvPage * 8; }
  constexpr int64_t values_bytes() const { return value_codes() + kKvPage * 4; }
};

// Puts one row, k and v [head_dim], at a position of a page.
void put_codes(const float* k, const float* v, int64_t head_dim, int position, std::byte* keys, std::byte* values);
// What stands for it there.
void read_codes(const std::byte* keys, const std::byte* values, int64_t head_dim, int position, float* k, float* v);

}  // namespace onsight::compute
