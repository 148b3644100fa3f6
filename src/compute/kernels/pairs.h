// Products of bf16 two by two, which some machines add up twice as fast as products of floats. For what stays in floats
// of a network in codes: attention of a prompt, and layers whose weights are bf16.
#pragma once

#include <cstdint>

namespace onsight::compute {

constexpr int kPairRows = 12;
constexpr int kPairColumns = 32;

// y[i, j] (+)= sum over p of x[i, 2p] · panel[p, j, 0] + x[i, 2p + 1] · panel[p, j, 1], for i < rows <= kPairRows and
// j < kPairColumns; in f32, of numbers in bf16.
struct PairTile {
  const uint16_t* x;
  int64_t x_stride;
  int rows;
  int64_t pairs;
  const uint16_t* panel;  // [pairs, kPairColumns, 2]
  int64_t panel_stride;   // numbers between two pairs, at least 2 · kPairColumns
  float* y;
  int64_t y_stride;
  bool add;  // to what y holds
};

struct PairTiles {
  const char* name;
  void (*tile)(const PairTile& tile);
};

extern const PairTiles kScalarPairs;  // the oracle
// Those of this machine, or nullptr.
const PairTiles* pair_tiles();

// Keys and values of one head side by side: keys a page [pair of dims][kKvPage][2], values [pair of keys][value_stride]
// [2], filled up with zeros to whole pairs and, values, to whole kPairColumns.
struct PairHead {
  const uint16_t* keys;
  const uint16_t* values;
};
constexpr int64_t pair_filled(int64_t n, int64_t step) { return (n + step - 1) / step * step; }
constexpr int64_t pair_value_stride(int64_t head_dim) { return pair_filled(head_dim, kPairColumns); }

// KernelTable::attend's block, of a head in pairs.
struct PairBlock {
  const float* q;
  int64_t q_stride;
  int rows;  // up to kPairRows
  int head_dim;
  float scale;
  PairHead head;
  const int32_t* visible;  // [rows], each at least 1
  float* out;
  int64_t out_stride;
  float* scratch;  // attend_pairs_scratch_floats(largest visible, head_dim)
};
constexpr int64_t attend_pairs_scratch_floats(int64_t keys, int64_t head_dim) {
  const int64_t padded = pair_filled(keys, kPairColumns), width = pair_filled(head_dim, kPairColumns);
  return kPairRows * (padded + padded / 2 + width + width / 2);
}

}  // namespace onsight::compute
