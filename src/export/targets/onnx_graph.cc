#include "export/targets/onnx_graph.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"

namespace onsight::exports {
namespace {

using compute::Activation;
using compute::DType;
using compute::Op;
using compute::OpKind;
using compute::Shape;
using compute::WeightFormat;
using models::TensorSpec;

constexpr int64_t kOpset = 23;           // the first with Attention, RotaryEmbedding and RMSNormalization
enum OnnxType : int64_t { kFloat = 1 };  // of Cast

int64_t same(int64_t n) { return n; }
template <DType dtype>
void pack_plain(std::span<const float> row, std::byte* out) {
  compute::from_f32(dtype, row.data(), out, static_cast<int64_t>(row.size()));
}

constexpr int64_t kBlock = 32;         // weights that share a scale in 4 bits
constexpr int64_t kInputsInCodes = 4;  // inputs are rounded to 8 bits, in blocks too: three times as fast, and as exact

float largest(std::span<const float> values) {  // with its sign
  return *std::max_element(values.begin(), values.end(), [](float a, float b) { return std::fabs(a) < std::fabs(b); });
}

float scale8(std::span<const float> row) { return std::fabs(largest(row)) / 127; }

void pack8(std::span<const float> row, std::byte* out) {
  const float scale = scale8(row);
  for (const float w : row)
    *out++ =
        static_cast<std::byte>(static_cast<int8_t>(scale == 0 ? 0 : std::clamp(std::round(w / scale), -127.f, 127.f)));
}

// A block's largest weight is -8 times the scale; codes are those of -8 to 7, from 0 on, the first in the lower half.
float scale4(std::span<const float> block) { return largest(block) / -8; }

void pack4(std::span<const float> row, std::byte* out) {
  for (size_t at = 0; at < row.size(); at += kBlock) {
    const auto block = row.subspan(at, std::min<size_t>(kBlock, row.size() - at));
    const float scale = scale4(block);
    const auto code = [&](size_t i) {
      const float w = i < block.size() && scale != 0 ? block[i] / scale : 0;
      return static_cast<uint8_t>(std::clamp(std::round(w) + 8, 0.f, 15.f));
    };
    for (size_t i = 0; i < kBlock; i += 2) *out++ = static_cast<std::byte>(code(i) | code(i + 1) << 4);
  }
}

void pack_scale8(std::span<const float> row, std::byte* out) {
  const float scale = scale8(row);
  std::memcpy(out, &scale, sizeof scale);
}

void pack_scales4(std::span<const float> row, std::byte* out) {
  for (size_t at = 0; at < row.size(); at += kBlock, out += sizeof(float)) {
    const float scale = scale4(row.subspan(at, std::min<size_t>(kBlock, row.size() - at)));
    std::memcpy(out, &scale, sizeof scale);
  }
}

int64_t blocks_of(int64_t n) { return (n + kBlock - 1) / kBlock; }

constexpr OnnxPacking kRows = {DType::kF32, "", false, same, pack_plain<DType::kF32>};
constexpr OnnxPacking kHalfRows = {DType::kF16, "", false, same, pack_plain<DType::kF16>};
constexpr OnnxPacking kColumns = {DType::kF32, "", true, same, pack_plain<DType::kF32>};
constexpr OnnxPacking kHalfColumns = {DType::kF16, "", true, same, pack_plain<DType::kF16>};
constexpr OnnxPacking kCodes8 = {DType::kI8, "", false, same, pack8};
constexpr OnnxPacking kCodes8Columns = {DType::kI8, "", true, same, pack8};
constexpr OnnxPacking kScales8 = {DType::kF32, ".scales", false, [](int64_t) { return int64_t{1}; }, pack_scale8};
constexpr OnnxPacking kCodes4 = {DType::kU8, "", false, [](int64_t n) { return blocks_of(n) * kBlock / 2; }, pack4};
constexpr OnnxPacking kScales4 = {DType::kF32, ".scales", false, blocks_of, pack_scales4};

}  // namespace

OnnxGraph::OnnxGraph(Job& job, models::WeightFormats formats, DType plain)
    : job_(job), formats_(formats), plain_(plain), model_{.program = job.request.program, .opset = kOpset} {
  for (const TensorSpec& spec : job.outline.specs) specs_.emplace(spec.handle(), &spec);
}

std::string OnnxGraph::input(std::string name, DType dtype, Extents shape) {
  model_.inputs.push_back({name, dtype, std::move(shape)});
  return name;
}

void OnnxGraph::output(std::string name, DType dtype, Extents shape) {
  model_.outputs.push_back({std::move(name), dtype, std::move(shape)});
}

std::string OnnxGraph::add(std::string op, std::vector<std::string> inputs, Attributes attributes, std::string output) {
  if (output.empty()) output = fmt::format("{}_{}", op, model_.nodes.size());
  model_.nodes.push_back({std::move(op), std::move(inputs), {output}, std::move(attributes)});
  return output;
}

std::string OnnxGraph::constant(DType dtype, std::vector<int64_t> shape, const void* data, size_t bytes) {
  std::string name = fmt::format("constant_{}", model_.constants.size());
  model_.constants.push_back({name, dtype, std::move(shape), {static_cast<const char*>(data), bytes}});
  return name;
}

std::string OnnxGraph::ints(const std::vector<int64_t>& values) {
  std::string& name = made_[fmt::format("[{}]", fmt::join(values, ", "))];
  if (name.empty())
    name =
        constant(DType::kI64, {static_cast<int64_t>(values.size())}, values.data(), values.size() * sizeof values[0]);
  return name;
}

std::string OnnxGraph::integer(int64_t value) { return constant(DType::kI64, {}, &value, sizeof value); }
std::string OnnxGraph::number(float value) { return constant(DType::kF32, {}, &value, sizeof value); }

const TensorSpec& OnnxGraph::spec_of(const void* handle) const {
  const auto found = specs_.find(handle);
  ONSIGHT_CHECK(found != specs_.end());
  return *found->second;
}

std::string OnnxGraph::weight(const TensorSpec& spec, const OnnxPacking& packing, std::vector<int64_t> shape) {
  std::string name = spec.name + std::string(packing.suffix);
  if (!made_.emplace(name, name).second) return name;
  const int64_t rows = spec.shape[0], width = packing.width(spec.shape.elements() / rows);
  if (shape.empty()) shape = packing.columns ? std::vector{width, rows} : std::vector{rows, width};
  model_.weights.push_back({name, packing.dtype, std::move(shape)});
  sources_.push_back({&spec, &packing});
  return name;
}

std::string OnnxGraph::vector(const void* handle) {
  const TensorSpec& spec = spec_of(handle);
  return weight(spec, kRows, {spec.shape[0]});
}

std::string OnnxGraph::widened(const std::string& x) { return add("Cast", {x}, {{"to", kFloat}}); }

std::string OnnxGraph::rows_at(const TensorSpec& table, const std::string& ids, bool in_codes) {
  if (in_codes) {
    const std::string scales = add("Gather", {weight(table, kScales8, {table.shape[0], 1}), ids});
    return add("Mul",
               {widened(add("Gather", {weight(table, kCodes8, {table.shape[0], table.shape[1]}), ids})), scales});
  }
  if (plain_ == DType::kF16) return widened(add("Gather", {weight(table, kHalfRows), ids}));
  return add("Gather", {weight(table, kRows), ids});
}

// Codes of 8 bits are written as what they stand for: onnxruntime multiplies with them as they are.
std::string OnnxGraph::product(const std::string& x, const TensorSpec& spec) {
  const int64_t outputs = spec.shape[0], inputs = spec.shape.elements() / outputs;
  const WeightFormat format = formats_.of(spec, models::TensorRows(job_.checkpoint, spec).dtype());
  if (format == WeightFormat::kQ8 || format == WeightFormat::kQ10)
    return add("MatMul", {x, add("DequantizeLinear", {weight(spec, kCodes8Columns), weight(spec, kScales8, {outputs})},
                                 {{"axis", int64_t{1}}})});
  if (format == WeightFormat::kQ4) {
    const int64_t blocks = blocks_of(inputs);
    model_.microsoft = 1;
    const std::string codes = weight(spec, kCodes4, {outputs, blocks, kBlock / 2});
    std::string y = add("MatMulNBits", {x, codes, weight(spec, kScales4, {outputs * blocks})},
                        {{"K", inputs},
                         {"N", outputs},
                         {"bits", int64_t{4}},
                         {"block_size", kBlock},
                         {"accuracy_level", kInputsInCodes}});
    model_.nodes.back().domain = "com.microsoft";
    return y;
  }
  return add("MatMul", {x, plain_ == DType::kF16 ? widened(weight(spec, kHalfColumns)) : weight(spec, kColumns)});
}

std::string OnnxGraph::activated(const std::string& x, Activation activation) {
  switch (activation) {
    case Activation::kGeluTanh:
      return add("Gelu", {x}, {{"approximate", "tanh"}});
    case Activation::kGelu:
      return add("Gelu", {x});
    case Activation::kSilu:
      return add("Mul", {x, add("Sigmoid", {x})});
    case Activation::kNone:
      break;
  }
  return x;
}

// Angles are made of the positions and not looked up, so that none is too far.
std::string OnnxGraph::turned(const std::string& x, const std::string& positions, const Op& op) {
  const std::string which = fmt::format("{} {}", positions, fmt::ptr(op.frequencies));
  std::string& cos = made_["cos " + which];
  std::string& sin = made_["sin " + which];
  if (cos.empty()) {
    const int64_t half = op.head_dim / 2;
    const std::string frequencies =
        constant(DType::kF32, {half}, op.frequencies->data(), op.frequencies->size() * sizeof(float));
    const std::string angles = add("Mul", {add("Unsqueeze", {widened(positions), ints({2})}), frequencies});
    cos = add("Cos", {angles});
    sin = add("Sin", {angles});
  }
  return add("RotaryEmbedding", {x, cos, sin}, {{"num_heads", int64_t{op.heads}}});
}

std::string OnnxGraph::attention(const Op& op, std::vector<std::string> in, const std::string& bias) {
  const Attributes heads = {{"q_num_heads", int64_t{op.heads}}, {"kv_num_heads", int64_t{op.kv_heads}}};
  if (op.kind == OpKind::kAttention) return add("Attention", std::move(in), heads);
  ONSIGHT_CHECK(in[3].empty());  // a decoder that is exported answers for all positions
  in[3] = bias;
  std::string out = fmt::format("attention_{}", op.layer);
  std::vector<std::string> outputs = {out};
  for (const std::string_view part : {"key", "value"}) {
    const auto cache = [&](std::string_view extent) {
      return Extents{"batch_size", int64_t{op.kv_heads}, std::string(extent), int64_t{op.head_dim}};
    };
    const std::string before = fmt::format("past_key_values.{}.{}", op.layer, part);
    in.push_back(input(before, DType::kF32, cache("past_sequence_length")));
    outputs.push_back(fmt::format("present.{}.{}", op.layer, part));
    output(outputs.back(), DType::kF32, cache("total_sequence_length"));
  }
  model_.nodes.push_back({"Attention", std::move(in), std::move(outputs), heads});
  return out;
}

std::string OnnxGraph::unfolded(const std::string& pixels, const Shape& shape, int64_t patch) {
  const int64_t channels = shape[1], height = shape[2] / patch, width = shape[3] / patch;
  std::string x = pixels;
  if (shape[2] % patch != 0 || shape[3] % patch != 0)
    x = add("Slice", {x, ints({0, 0}), ints({height * patch, width * patch}), ints({2, 3})});
  x = add("Reshape", {x, ints({0, channels, height, patch, width, patch})});
  x = add("Transpose", {x}, {{"perm", std::vector<int64_t>{0, 2, 4, 1, 3, 5}}});
  return add("Reshape", {x, ints({0, height * width, channels * patch * patch})});
}

std::string OnnxGraph::shuffled(const std::string& x, const Shape& shape, const Op& op) {
  const int64_t scale = op.group, width = shape[1], tiles = op.layer;
  const int64_t side = std::llround(std::sqrt(static_cast<double>(shape[0] / tiles))), less = side / scale;
  std::string y = add("Reshape", {x, ints({0, less, scale, less, scale * width})});
  y = add("Transpose", {y}, {{"perm", std::vector<int64_t>{0, 1, 3, 2, 4}}});
  return add("Reshape", {y, ints({0, less * less, scale * scale * width})});
}

std::string OnnxGraph::lowered(const compute::Graph& graph, const Op& op, const std::vector<std::string>& in,
                               const std::string& bias) {
  switch (op.kind) {
    case OpKind::kConstant:
      return constant(op.table.dtype, {op.table.shape[0]}, op.table.data, static_cast<size_t>(op.table.bytes()));
    case OpKind::kLinear: {
      std::string y = product(in[0], spec_of(&op.linear->weight));
      if (op.linear->bias.bytes() != 0) y = add("Add", {y, vector(op.linear->bias.data())});
      y = activated(y, op.activation);
      return in[1].empty() ? y : add("Add", {y, in[1]});
    }
    case OpKind::kLayerNorm:
      return add("LayerNormalization", {in[0], vector(op.weight), vector(op.bias)}, {{"epsilon", op.epsilon}});
    case OpKind::kRmsNorm:
      return add("RMSNormalization", {in[0], vector(op.weight)}, {{"epsilon", op.epsilon}});
    case OpKind::kAdd:
      return add("Add", {in[0], in[1]});
    case OpKind::kSwiglu:
      return add("Mul", {activated(in[0], Activation::kSilu), in[1]});
    case OpKind::kRope:
      return turned(in[0], in[1], op);
    case OpKind::kAttention:
    case OpKind::kCachedAttention:
      return attention(op, in, bias);
    case OpKind::kEmbed:
      return rows_at(spec_of(op.rows ? static_cast<const void*>(op.rows) : op.table.data), in[0],
                     formats_.text.has_value());
    case OpKind::kAddRows:
      return add("Add", {in[0], rows_at(spec_of(op.table.data), in[1], false)});
    case OpKind::kUnfoldPatches:
      return unfolded(in[0], graph.shape(op.in[0]), op.group);
    case OpKind::kPixelShuffle:
      return shuffled(in[0], graph.shape(op.in[0]), op);
    case OpKind::kInput:
    case OpKind::kReplaceRows:  // what the caller does between the parts of a network
    case OpKind::kGatherRows:
      break;
  }
  ONSIGHT_CHECK(false);
  return {};
}

void OnnxGraph::lower(const compute::Graph& graph, const std::string& bias) {
  std::vector<std::string> names(graph.values());
  const auto name_of = [&](compute::Value v) -> std::string& { return names[static_cast<size_t>(v.id)]; };
  for (const auto& [name, value] : graph.inputs()) name_of(value) = name;
  for (const Op& op : graph.ops()) {
    if (op.kind == OpKind::kInput) continue;
    std::vector<std::string> in;
    for (const compute::Value v : op.in) in.push_back(v ? name_of(v) : "");
    name_of(op.output) = lowered(graph, op, in, bias);
  }
  for (const auto& [name, value] : graph.outputs()) add("Identity", {name_of(value)}, {}, name);
}

int64_t OnnxGraph::bytes() const {
  uint64_t out = 0;
  for (const formats::OnnxTensor& tensor : model_.weights) out += tensor.bytes();
  return static_cast<int64_t>(out);
}

Status OnnxGraph::append(formats::OnnxWriter& writer, const Source& source) const {
  const models::TensorRows rows(job_.checkpoint, *source.spec);
  const OnnxPacking& packing = *source.packing;
  const auto size = static_cast<size_t>(compute::bytes_of(packing.dtype, 1));
  const auto width = static_cast<size_t>(packing.width(rows.width())), count = static_cast<size_t>(rows.count());
  const auto put = [&](const std::vector<std::byte>& bytes) -> Status {
    TRY_STATUS(writer.append(bytes));
    return job_.advance(static_cast<int64_t>(bytes.size()));
  };
  // Of a matrix that is written the other way round, as many columns at a time as fit in memory.
  constexpr size_t kMost = size_t{64} << 20;
  const size_t most = packing.columns ? std::clamp<size_t>(kMost / (count * size), 1, width) : width;
  std::vector<std::byte> row(width * size), out;
  for (size_t first = 0; first < width; first += most) {
    const size_t n = std::min(most, width - first);
    if (packing.columns) out.assign(n * count * size, std::byte{});
    size_t at = 0;  // of the rows
    const auto use = [&](std::span<const float> piece) -> Status {
      const auto inputs = static_cast<size_t>(rows.width());
      if (!packing.columns) out.clear();
      for (size_t begin = 0; begin < piece.size(); begin += inputs, ++at) {
        packing.pack(piece.subspan(begin, inputs), row.data());
        if (!packing.columns) out.insert(out.end(), row.begin(), row.end());
        for (size_t i = 0; packing.columns && i < n; ++i)
          std::memcpy(out.data() + (i * count + at) * size, row.data() + (first + i) * size, size);
      }
      return packing.columns ? Status() : put(out);
    };
    TRY_STATUS(for_each_piece(rows, use));
    if (packing.columns) TRY_STATUS(put(out));
  }
  return {};
}

Result<bool> OnnxGraph::write(const std::string& file, const std::string& what) const {
  const Path path = job_.folder / file;
  std::error_code ignored;
  std::filesystem::create_directories(path.parent_path(), ignored);
  TRY(auto writer, formats::OnnxWriter::create(path, model_));
  job_.files.emplace_back(file, what);
  if (writer.has_data_file()) job_.files.emplace_back(file + "_data", "its weights");
  for (const Source& source : sources_) TRY_STATUS(append(writer, source));
  TRY_STATUS(writer.finish());
  return writer.has_data_file();
}

}  // namespace onsight::exports
