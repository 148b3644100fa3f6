#include "compute/graph.h"

#include <cmath>

namespace onsight::compute {

std::string_view to_string(OpKind kind) {
  switch (kind) {
    case OpKind::kInput:
      return "input";
    case OpKind::kConstant:
      return "constant";
    case OpKind::kLinear:
      return "linear";
    case OpKind::kLayerNorm:
      return "layer_norm";
    case OpKind::kRmsNorm:
      return "rms_norm";
    case OpKind::kAdd:
      return "add";
    case OpKind::kSwiglu:
      return "swiglu";
    case OpKind::kRope:
      return "rope";
    case OpKind::kAttention:
      return "attention";
    case OpKind::kCachedAttention:
      return "cached_attention";
    case OpKind::kEmbed:
      return "embed";
    case OpKind::kAddRows:
      return "add_rows";
    case OpKind::kUnfoldPatches:
      return "unfold_patches";
    case OpKind::kPixelShuffle:
      return "pixel_shuffle";
    case OpKind::kReplaceRows:
      return "replace_rows";
    case OpKind::kGatherRows:
      return "gather_rows";
  }
  return "";
}

Value Graph::append(Op op, DType dtype, Shape shape) {
  op.output = Value{static_cast<int32_t>(shapes_.size())};
  for (Value v : op.in) ONSIGHT_CHECK(v.id < op.output.id);
  shapes_.push_back(shape);
  dtypes_.push_back(dtype);
  ops_.push_back(std::move(op));
  return ops_.back().output;
}

Value Graph::input(std::string name, DType dtype, Shape shape) {
  Value v = append({.kind = OpKind::kInput}, dtype, shape);
  inputs_.push_back({std::move(name), v});
  return v;
}

Value Graph::constant(const Tensor& tensor) {
  return append({.kind = OpKind::kConstant, .table = tensor}, tensor.dtype, tensor.shape);
}

Value Graph::linear(Value x, const Linear& layer, Activation activation, Value residual, int64_t group) {
  const Shape& s = shape(x);
  ONSIGHT_CHECK(s.rank() == 2 && s[1] == layer.weight.inputs());
  ONSIGHT_CHECK(layer.bias.bytes() == 0 ||
                layer.bias.bytes() == static_cast<size_t>(layer.weight.outputs()) * sizeof(float));
  Shape out = {s[0], layer.weight.outputs()};
  ONSIGHT_CHECK(!residual || shape(residual) == out);
  ONSIGHT_CHECK(group == 0 || s[0] % group == 0);
  return append(
      {.kind = OpKind::kLinear, .in = {x, residual}, .linear = &layer, .activation = activation, .group = group},
      DType::kF32, out);
}

Value Graph::layer_norm(Value x, const Buffer& weight, const Buffer& bias, float epsilon) {
  const size_t bytes = static_cast<size_t>(shape(x)[-1]) * sizeof(float);
  ONSIGHT_CHECK(weight.bytes() == bytes && bias.bytes() == bytes);
  return append({.kind = OpKind::kLayerNorm, .in = {x}, .weight = weight.f32(), .bias = bias.f32(), .epsilon = epsilon},
                DType::kF32, shape(x));
}

Value Graph::rms_norm(Value x, const Buffer& weight, float epsilon) {
  ONSIGHT_CHECK(weight.bytes() == static_cast<size_t>(shape(x)[-1]) * sizeof(float));
  return append({.kind = OpKind::kRmsNorm, .in = {x}, .weight = weight.f32(), .epsilon = epsilon}, DType::kF32,
                shape(x));
}

Value Graph::add(Value a, Value b) {
  ONSIGHT_CHECK(shape(a) == shape(b));
  return append({.kind = OpKind::kAdd, .in = {a, b}}, DType::kF32, shape(a));
}

Value Graph::swiglu(Value gate, Value up, bool rotated) {
  ONSIGHT_CHECK(shape(gate) == shape(up) && (!rotated || shape(gate)[1] % kRotated == 0));
  return append({.kind = OpKind::kSwiglu, .in = {gate, up}, .rotated = rotated}, DType::kF32, shape(gate));
}

Value Graph::rope(Value x, Value positions, const std::vector<float>& frequencies) {
  const Shape& s = shape(x);
  const int64_t head_dim = 2 * static_cast<int64_t>(frequencies.size());
  ONSIGHT_CHECK(s.rank() == 2 && head_dim > 0 && s[1] % head_dim == 0 && shape(positions) == Shape({s[0]}));
  return append({.kind = OpKind::kRope,
                 .in = {x, positions},
                 .frequencies = &frequencies,
                 .heads = static_cast<int>(s[1] / head_dim),
                 .head_dim = static_cast<int>(head_dim)},
                DType::kF32, s);
}

Value Graph::attention(Value q, Value k, Value v, int heads, int64_t group, bool in_codes) {
  const Shape& s = shape(q);
  ONSIGHT_CHECK(s.rank() == 2 && s[1] % heads == 0 && s[0] % group == 0 && shape(k) == s && shape(v) == s);
  return append({.kind = OpKind::kAttention,
                 .in = {q, k, v},
                 .heads = heads,
                 .kv_heads = heads,
                 .head_dim = static_cast<int>(s[1] / heads),
                 .in_codes = in_codes,
                 .group = group},
                DType::kF32, s);
}

Value Graph::cached_attention(Value q, Value k, Value v, int heads, int kv_heads, int layer, Value at, bool in_codes) {
  const Shape& s = shape(q);
  ONSIGHT_CHECK(s.rank() == 2 && s[1] % heads == 0 && heads % kv_heads == 0);
  const int head_dim = static_cast<int>(s[1] / heads);
  const int64_t rows = shape(k)[0];
  ONSIGHT_CHECK(shape(k) == Shape({rows, int64_t{kv_heads} * head_dim}) && shape(v) == shape(k));
  ONSIGHT_CHECK(at ? shape(at) == Shape({s[0]}) && dtype(at) == DType::kI32 && s[0] <= rows : s[0] == rows);
  return append({.kind = OpKind::kCachedAttention,
                 .in = {q, k, v, at},
                 .heads = heads,
                 .kv_heads = kv_heads,
                 .head_dim = head_dim,
                 .layer = layer,
                 .in_codes = in_codes},
                DType::kF32, s);
}

Value Graph::embed(Value ids, const Tensor& table) {
  ONSIGHT_CHECK(dtype(ids) == DType::kI32 && shape(ids).rank() == 1 && table.shape.rank() == 2);
  return append({.kind = OpKind::kEmbed, .in = {ids}, .table = table}, DType::kF32, {shape(ids)[0], table.shape[1]});
}

Value Graph::embed(Value ids, const PackedMatrix& table) {
  ONSIGHT_CHECK(dtype(ids) == DType::kI32 && shape(ids).rank() == 1);
  return append({.kind = OpKind::kEmbed, .in = {ids}, .rows = &table}, DType::kF32, {shape(ids)[0], table.inputs()});
}

Value Graph::add_rows(Value x, Value ids, const Tensor& table) {
  const Shape& s = shape(x);
  ONSIGHT_CHECK(s.rank() == 2 && table.shape.rank() == 2 && s[1] == table.shape[1] && s[0] % shape(ids)[0] == 0);
  return append({.kind = OpKind::kAddRows, .in = {x, ids}, .table = table}, DType::kF32, s);
}

Value Graph::unfold_patches(Value pixels, int64_t patch) {
  const Shape& s = shape(pixels);
  ONSIGHT_CHECK(s.rank() == 4 && patch > 0 && s[2] >= patch && s[3] >= patch);
  return append({.kind = OpKind::kUnfoldPatches, .in = {pixels}, .group = patch}, DType::kF32,
                {s[0] * (s[2] / patch) * (s[3] / patch), s[1] * patch * patch});
}

Value Graph::pixel_shuffle(Value x, int64_t tiles, int64_t scale) {
  const Shape& s = shape(x);
  const int64_t side = std::llround(std::sqrt(static_cast<double>(s[0] / tiles)));
  ONSIGHT_CHECK(s.rank() == 2 && side * side * tiles == s[0] && side % scale == 0);
  return append({.kind = OpKind::kPixelShuffle, .in = {x}, .layer = static_cast<int>(tiles), .group = scale},
                DType::kF32, {s[0] / (scale * scale), s[1] * scale * scale});
}

Value Graph::replace_rows(Value x, Value at, Value rows) {
  ONSIGHT_CHECK(shape(rows) == Shape({shape(at)[0], shape(x)[1]}));
  return append({.kind = OpKind::kReplaceRows, .in = {x, at, rows}}, DType::kF32, shape(x));
}

Value Graph::gather_rows(Value x, Value at) {
  const int64_t rows = shape(at)[0];
  return append({.kind = OpKind::kGatherRows, .in = {x, at}}, dtype(x),
                shape(x).rank() == 1 ? Shape{rows} : Shape{rows, shape(x)[1]});
}

void Graph::output(std::string name, Value value) { outputs_.push_back({std::move(name), value}); }
void Graph::observe(std::string name, Value value) { observed_.push_back({std::move(name), value}); }

}  // namespace onsight::compute
