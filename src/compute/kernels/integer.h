// Kernels around the dot tiles: from floats to codes and back, and attention in 8 bits. One table an instruction set.
#pragma once

#include <cstdint>
#include <vector>

#include "compute/kernels/dot.h"
#include "compute/kernels/kernel_table.h"

namespace onsight::compute {

// Sums of a tile to outputs: y[r, j] = activation(x_scale[r] · w_scale[j] · (sum[r, j] − x_zero[r] · w_sum[j]) +
// bias[j]) + residual[r, j], for j < columns <= kPanel. A sum is acc; where the weights have fine codes kFineUnits ·
// acc
// + fine; where the inputs have a rest, that in units of 1 / kRestUnits, + rest.
struct DotFinish {
  const int32_t* acc;   // [rows, kPanel]; or nullptr:
  const float* values;  // [rows, kPanel], outputs that lack bias, activation and residual only
  int rows;
  const float* x_scale;
  const int32_t* x_zero;
  const float* w_scale;
  const int32_t* w_sum;
  float* y;
  int64_t y_stride;
  int columns;
  const float* bias;      // [kPanel readable] or nullptr
  const float* residual;  // rows y_stride apart, or nullptr
  Activation activation;
  const int32_t *fine = nullptr, *rest = nullptr;  // as acc, or nullptr
};

constexpr int kQueryRows = kDotRows / 2;  // what keys count for takes two rows of a dot tile each

// Queries that one call of attend() takes.
constexpr int kAttendQueries = 32;
constexpr int kLargestHead = 1024;
// One head of a group of rows that see each other, in codes. Keys and values less their means over the group: a mean of
// keys shifts all scores of a query alike, a mean of values comes back at the end; both would cost range.
struct IntHead {
  int64_t keys;
  int head_dim;    // a multiple of kQuad
  std::byte* k;    // tiles of kDotRows keys, [quads of dims][rows][4], 0…255 less the tile's x_offset
  int8_t* v;       // tiles of kDotRows dims, [quads of keys][rows][4]
  float* v_scale;  // [head_dim]
  float* v_mean;   // [head_dim]
  float k_scale;
  static int64_t bytes(int64_t keys, int head_dim) {
    return 2 * ((keys + 3) / 4 * 4) * head_dim + 2 * (head_dim + 8) * int64_t{sizeof(float)} + 64;
  }
};
constexpr int64_t attend_int_scratch_bytes(int64_t keys, int head_dim) {
  return (256 + 8) * kAttendQueries * 4 + 256 * kAttendQueries + head_dim * kAttendQueries * (1 + 4) +
         (keys + 8) * (head_dim + 16) * 8 + 4096;
}

struct IntKernels {
  // Codes of a tile of up to kDotRows rows of x, `stride` apart: x − centre ≈ scale · (code − zero) with a scale and a
  // zero a row, code 0…255 and stored less `offset`, as is zero. centre: [n], or nullptr for 0. codes:
  // [quads][rows][4]; a last quad is filled up with the code of 0.
  void (*quantise)(const float* x, int64_t stride, int rows, const float* centre, int64_t n, int offset,
                   std::byte* codes, float* scale, int32_t* zero);
  // Likewise, twelve bits a number: x ≈ scale · (code − zero + (rest − kRestUnits / 2) / kRestUnits), rest 0…15 and
  // stored as it is.
  void (*quantise_fine)(const float* x, int64_t stride, int rows, int64_t n, int offset, std::byte* codes,
                        std::byte* rest, float* scale, int32_t* zero);
  // Codes of one row in groups of kGroup: x ≈ scale[g] · code, code −127…127; n a multiple of kQuad, the last group is
  // filled up with 0. scale and sum of a group are `rows` apart.
  void (*quantise_groups)(const float* x, int64_t n, int8_t* codes, int64_t stride, float* scale, int32_t* sum,
                          int rows);
  void (*finish)(const DotFinish& finish);
  // Codes of a 4-bit panel as those of an 8-bit one, scale[j] · code: codes [groups · kGroup/4][kPanel][4], sums
  // [kPanel].
  void (*widen)(const std::byte* panel, int64_t groups, const float* scale, int8_t* codes, int32_t* sums);
  // The fine codes of a q10 panel as those of an 8-bit one, 2 · fine − 3: codes [quads][kPanel][4].
  void (*widen_fine)(const std::byte* fine, int64_t quads, int8_t* codes);
  // Queries [rows, head_dim] as attend_page() wants them for any page: codes [tile of kQueryRows
  // rows][quads][rows][4], unit [rows].
  void (*quantise_queries)(const DotTiles& dot, const float* q, int rows, int head_dim, float scale, std::byte* codes,
                           float* unit);
  // KernelTable::attend_page of a page in codes (kv_codes.h); of its `q` the codes count. What each key of the page
  // counts for becomes codes, too.
  void (*attend_page)(const DotTiles& dot, const AttendPage& page, const std::byte* codes, const float* unit);
  // Quantises keys and values [head.keys, head_dim], rows `stride` apart, into `head`.
  void (*prepare_head)(const DotTiles& dot, const float* k, const float* v, int64_t stride, IntHead& head,
                       std::byte* scratch);
  // out[i, :] = softmax(scale · q[i, :] · K^T) · V for i < rows <= kAttendQueries. scratch: attend_int_scratch_bytes().
  void (*attend)(const DotTiles& dot, const IntHead& head, const float* q, int64_t q_stride, int rows, float scale,
                 float* out, int64_t out_stride, std::byte* scratch);
};

extern const IntKernels kScalarInt;

}  // namespace onsight::compute
