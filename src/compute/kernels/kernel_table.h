// The kernels: one table of functions an instruction set, chosen once. Each function computes a whole tile or row; none
// allocates or starts threads. `scalar` is the oracle that the others are tested against.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "compute/dtype.h"

namespace onsight::compute {

enum class Activation : uint8_t { kNone, kGeluTanh, kGelu, kSilu };

constexpr int kRotated = 64;

// Up to so many rows at once, every kernel gives a row the very bits that it gives it alone.
constexpr int kExactRows = 8;

// y[i, j] = activation(sum_k x[i, k] · panel[k, j] + bias[j]) + residual[i, j], for i < rows and j < columns <= kPanel.
struct GemmTile {
  const float* x;
  int64_t x_stride;
  int64_t rows;
  int64_t depth;
  const void* panel;  // [depth, kPanel] in the format of the kernel
  float* y;
  int64_t y_stride;
  int columns;
  const float* bias;      // [columns] or nullptr
  const float* residual;  // rows y_stride apart, or nullptr; may be y itself
  Activation activation;
};

// Keys and values of kKvPage positions of one head, in f32 or f16: keys transposed [head_dim, kKvPage], values
// [kKvPage, value_stride]; in i8: as kv_codes.h says.
constexpr int kKvPage = 64;
constexpr int kHeadAlign = 16;  // value rows are padded with zeros to a multiple of this
struct KvPageView {
  const void* keys;
  const void* values;
};
inline int64_t kv_value_stride(int64_t head_dim) { return (head_dim + kHeadAlign - 1) / kHeadAlign * kHeadAlign; }

// out[i, :] = softmax(scale · q[i, :] · K^T over the first visible[i] keys) · V, for i < rows <= kAttendRows.
constexpr int kAttendRows = 12;
struct AttendBlock {
  const float* q;
  int64_t q_stride;
  int rows;
  int head_dim;
  float scale;
  DType kv;  // of the pages
  const KvPageView* pages;
  const int32_t* visible;  // [rows], each at least 1
  float* out;
  int64_t out_stride;
  float* scratch;  // attend_scratch_floats(largest visible, head_dim)
};
inline int64_t attend_scratch_floats(int64_t keys, int64_t head_dim) {
  int64_t padded_keys = (keys + kKvPage - 1) / kKvPage * kKvPage;
  return kAttendRows * (padded_keys + 2 * kv_value_stride(head_dim));
}

// What one page gives to the attention of a few rows, so that the pages of a long context are read in their order in
// memory, by all threads: row i has largest[i · stride] = its largest score, sum[i · stride] = the sum of exp(score −
// largest), and mixed[i · mixed_stride + d] = the sum of exp(score − largest) · value. `merge` puts pages together.
// (Online softmax: Milakov and Gimelshein 2018.)
struct AttendPage {
  const float* q;  // rows head_dim apart
  int rows;
  int head_dim;
  float scale;
  DType kv;
  KvPageView page;
  int visible;  // 1…kKvPage keys, the first ones
  float* largest;
  float* sum;
  int64_t stride;
  float* mixed;  // kv_value_stride(head_dim) values a row
  int64_t mixed_stride;
};

struct IntKernels;  // integer.h
struct DotTiles;    // dot.h
struct PairTiles;   // pairs.h
struct PairBlock;

struct KernelTable {
  const char* name;
  void (*gemm_f32)(const GemmTile&);
  void (*gemm_bf16)(const GemmTile&);
  void (*attend)(const AttendBlock&);
  void (*attend_page)(const AttendPage&);
  // out[head_dim] of one row from what attend_page made of `pages` pages: largest, sum [pages], mixed [pages,
  // kv_value_stride(head_dim)]. Overwrites `largest`.
  void (*merge_pages)(float* largest, const float* sum, const float* mixed, int64_t pages, int64_t head_dim,
                      float* out);
  // Puts one row of one head, k and v [head_dim], at a position of a page; values are filled up with zeros.
  void (*put_kv)(const float* k, const float* v, int64_t head_dim, DType kv, int position, void* keys, void* values);
  // y = (x − mean) / sqrt(variance + eps) · weight + bias, over n values. (Ba et al. 2016)
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps, int64_t n, float* y);
  // y = x / sqrt(mean(x²) + eps) · weight. (Zhang and Sennrich 2019)
  void (*rms_norm)(const float* x, const float* weight, float eps, int64_t n, float* y);
  // Rotates the halves of one head: y[i] = x[i]·cos[i] − x[i+half]·sin[i], y[i+half] = x[i+half]·cos[i] + x[i]·sin[i].
  // (Su et al. 2021)
  void (*rope)(const float* x, const float* cos, const float* sin, int64_t half, float* y);
  // y = silu(gate) · up. (Shazeer 2020)
  void (*swiglu)(const float* gate, const float* up, int64_t n, float* y);
  void (*add)(const float* a, const float* b, int64_t n, float* y);
  // x [n] turned in place: a Walsh-Hadamard transform of each kRotated values that lie n / kRotated apart, over its
  // root: its own inverse, and no length changes. n a multiple of kRotated. (Ashkboos et al. 2024, QuaRot)
  void (*rotate)(float* x, int64_t n);
  const IntKernels* integer = nullptr;
  const DotTiles* dot = nullptr;
  // Where the machine multiplies bf16 in pairs: its tiles, or nullptr, and what is around them.
  const PairTiles* pairs = nullptr;
  // out[2i] = a[i], out[2i + 1] = b[i] (nullptr: 0), rounded to bf16; f32, f16 or bf16, n a multiple of kHeadAlign.
  void (*interleave)(DType dtype, const void* a, const void* b, int64_t n, uint16_t* out) = nullptr;
  void (*round_bf16)(const float* x, int64_t n, uint16_t* out) = nullptr;
  void (*attend_pairs)(const PairTiles& tiles, const PairBlock& block) = nullptr;
};

// The best table of this machine, or the one that the environment variable ONSIGHT_ISA names ("scalar", "AVX2",
// "AVX3", "AVX3_VNNI", "AVX3_BF16", "NEON", "NEON_DOT", "NEON_I8MM", …). A name that this machine or build does not
// have is an error that lists those it has.
Result<const KernelTable*> select_kernels();
// Every table that can run here, scalar first, best last.
std::vector<const KernelTable*> available_kernels();

extern const KernelTable kScalarKernels;

}  // namespace onsight::compute
