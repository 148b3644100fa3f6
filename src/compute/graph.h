// Graph: an append-only tape of coarse ops. Shapes are checked on append, ops run in written order, the executor
// assigns memory.
//
//   Graph g;
//   Value x = g.input("x", DType::kF32, {rows, width});
//   Value y = g.linear(g.rms_norm(x, norm_weight, 1e-5f), projection);
//   g.output("y", y);
//
// A graph holds views of weights and owns none; its inputs are bound when it runs. A wrong shape is a mistake of the
// program: CHECK.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "compute/kernels/kernel_table.h"
#include "compute/packed_matrix.h"
#include "compute/tensor.h"

namespace onsight::compute {

// A result of an op; valid in the graph that made it.
struct Value {
  int32_t id = -1;
  explicit operator bool() const { return id >= 0; }
};

// A linear layer: y = x · weight^T + bias.
struct Linear {
  PackedMatrix weight;  // [outputs, inputs]
  Buffer bias;          // [outputs] f32, or empty
  // Of weights in codes: inputs become two codes each, the second for what the first has rounded away. Twice the work,
  // and of the two roundings only that of the weights is left. (Weights in q10 have a second code, too.)
  bool fine = false;
  // Of weights in bf16: inputs may be rounded to bf16, too, where many rows are multiplied. For the layers that a
  // network in codes keeps in floats.
  bool rounded = false;
};

enum class OpKind : uint8_t {
  kInput,
  kConstant,
  kLinear,
  kLayerNorm,
  kRmsNorm,
  kAdd,
  kSwiglu,
  kRope,
  kAttention,
  kCachedAttention,
  kEmbed,
  kAddRows,
  kUnfoldPatches,
  kPixelShuffle,
  kReplaceRows,
  kGatherRows,
};
std::string_view to_string(OpKind kind);

struct Op {
  OpKind kind;
  Value output;
  Value in[4];                         // unused ones are empty
  const Linear* linear = nullptr;      // kLinear
  const PackedMatrix* rows = nullptr;  // kEmbed without a table: the entries are the outputs of this
  Activation activation = Activation::kNone;
  const float* weight = nullptr;  // norms: [width]
  const float* bias = nullptr;    // layer norm: [width]
  Tensor table;                   // kEmbed, kAddRows: [entries, width] in any weight format; kConstant: the value
  float epsilon = 0;              // norms
  const std::vector<float>* frequencies = nullptr;  // kRope: [head_dim / 2]
  int heads = 0, kv_heads = 0, head_dim = 0;
  int layer = 0;          // kCachedAttention: which layer of the cache
  bool in_codes = false;  // kAttention: in 8 bits; kCachedAttention: of a network in codes
  bool rotated = false;   // kSwiglu
  int64_t group = 0;  // kAttention: rows that see each other; kLinear: rows that share a centre; kUnfoldPatches: patch
                      // side; kPixelShuffle: scale
};

class Graph {
 public:
  // What the caller binds at run time: f32 or i32.
  Value input(std::string name, DType dtype, Shape shape);
  Value constant(const Tensor& tensor);  // f32 or i32; the caller keeps the numbers alive

  // [n, inputs] -> [n, outputs]: activation(x · W^T + b) + residual. group: runs of so many rows are alike (the patches
  // of a tile): a layer in codes then rounds their differences from a centre of the run, and adds the centre's share
  // exactly. 0: none.
  Value linear(Value x, const Linear& layer, Activation activation = Activation::kNone, Value residual = {},
               int64_t group = 0);
  Value layer_norm(Value x, const Buffer& weight, const Buffer& bias, float epsilon);
  Value rms_norm(Value x, const Buffer& weight, float epsilon);
  Value add(Value a, Value b);
  // silu(gate) · up, turned as KernelTable::rotate does where `rotated`: for a layer whose weights are.
  Value swiglu(Value gate, Value up, bool rotated = false);
  // Rotary positions on x [n, heads · head_dim]: pair (i, i + head_dim/2) of a head turns by positions[n] ·
  // frequencies[i].
  Value rope(Value x, Value positions, const std::vector<float>& frequencies);
  // Full attention inside each run of `group` rows; q, k, v [n, heads · head_dim]. Scale 1/sqrt(head_dim). in_codes: in
  // 8 bits, with exact softmax sums; for a network whose linear layers are in 8 bits too.
  Value attention(Value q, Value k, Value v, int heads, int64_t group, bool in_codes = false);
  // Appends k, v [n, kv_heads · head_dim] to the caches of the rows' sequences, then attends causally. q [n, heads ·
  // head_dim]; or, given `at` [m] i32, q [m, heads · head_dim] of those rows only, in rising order. in_codes: for a
  // network whose linear layers are in 8 bits: where many rows attend, their products may be of bf16.
  Value cached_attention(Value q, Value k, Value v, int heads, int kv_heads, int layer, Value at = {},
                         bool in_codes = false);
  Value embed(Value ids, const Tensor& table);              // ids [n] i32 -> [n, width]
  Value embed(Value ids, const PackedMatrix& table);        // likewise; entry i is output i
  Value add_rows(Value x, Value ids, const Tensor& table);  // x[i] + table[ids[i mod ids.size]]
  // pixels [tiles, channels, height, width] -> [tiles · patches, channels · patch²], patches row by row: a convolution
  // as a linear. Pixels beyond the last whole patch are not looked at.
  Value unfold_patches(Value pixels, int64_t patch);
  // [tiles · side², width] -> [tiles · (side/scale)², width · scale²] in the order of the Idefics3 connector.
  Value pixel_shuffle(Value x, int64_t tiles, int64_t scale);
  Value replace_rows(Value x, Value at, Value rows);  // x with row at[i] replaced by rows[i]; at [m] i32
  Value gather_rows(Value x, Value at);               // [m, width]; of x [n]: [m]

  // Names a value that the caller reads after the run, or observes during it.
  void output(std::string name, Value value);
  void observe(std::string name, Value value);

  const Shape& shape(Value v) const { return shapes_[static_cast<size_t>(v.id)]; }
  DType dtype(Value v) const { return dtypes_[static_cast<size_t>(v.id)]; }
  const std::vector<Op>& ops() const { return ops_; }
  struct Named {
    std::string name;
    Value value;
  };
  const std::vector<Named>& inputs() const { return inputs_; }
  const std::vector<Named>& outputs() const { return outputs_; }
  const std::vector<Named>& observed() const { return observed_; }
  size_t values() const { return shapes_.size(); }

 private:
  Value append(Op op, DType dtype, Shape shape);
  std::vector<Op> ops_;
  std::vector<Shape> shapes_;
  std::vector<DType> dtypes_;
  std::vector<Named> inputs_, outputs_, observed_;
};

}  // namespace onsight::compute
