#include "models/tensor_spec.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "base/memory.h"

namespace onsight::models {

using compute::Buffer;
using compute::PackedMatrix;
using compute::Tensor;

namespace {

// A tied checkpoint names its table in two rows, of which one is a matrix.
bool is_table_of(std::span<const TensorSpec> specs, std::string_view name) {
  bool matrix = false, table = false;
  for (const TensorSpec& spec : specs) {
    if (spec.name != name) continue;
    (spec.quantisable() ? matrix : table) = true;
  }
  return matrix && table;
}

}  // namespace

int64_t TensorSpec::row_in_gguf(int64_t row) const {
  if (rotary_heads == 0) return row;
  const int64_t half = shape[0] / rotary_heads / 2, which = row / (2 * half), part = row / half % 2;
  return which * 2 * half + 2 * (row % half) + part;
}

int64_t TensorSpec::row_of_gguf(int64_t row) const {
  if (rotary_heads == 0) return row;
  const int64_t half = shape[0] / rotary_heads / 2, which = row / (2 * half), within = row % (2 * half);
  return which * 2 * half + within % 2 * half + within / 2;
}

const void* TensorSpec::handle() const {
  if (const auto* matrix = std::get_if<PackedMatrix*>(&target)) return *matrix;
  if (const auto* buffer = std::get_if<Buffer*>(&target)) return (*buffer)->data();
  return std::get<Tensor*>(target)->data;
}

PackedMatrix pack(const TensorSpec& spec, const Tensor& source, compute::WeightFormat format, ThreadPool& pool) {
  return PackedMatrix::pack(
      source, format,
      {.input_scale = spec.evening ? spec.evening->data() : nullptr, .rotated = spec.rotated, .pool = &pool});
}

Status check_tensors(const formats::Checkpoint& checkpoint, std::span<const TensorSpec> specs, std::string_view where,
                     bool (*ignored)(std::string_view name)) {
  std::set<std::string_view> known;
  const std::string_view settings = checkpoint.gguf().empty() ? "config.json" : "its metadata";
  for (const TensorSpec& spec : specs) {
    const std::string& name = spec.name_in(checkpoint);
    known.insert(name);
    const Tensor* tensor = checkpoint.find(name);
    const formats::PackedTensor* packed = checkpoint.find_packed(name);
    if (!tensor && !packed)
      return bad_input("{}: tensor {} is missing, expected one of shape {}", where, name, spec.shape.to_string());
    const compute::Shape& shape = packed ? packed->shape : tensor->shape;
    if (!(shape == spec.shape))
      return bad_input("{}: tensor {} has shape {}, expected {} from {}", where, name, shape.to_string(),
                       spec.shape.to_string(), settings);
    if (checkpoint.is_native() && (packed != nullptr) != spec.quantisable() && !is_table_of(specs, name))
      return bad_input("{}: tensor {} is {}, expected {}", where, name, packed ? "a matrix" : "no matrix",
                       packed ? "none" : "one");
    if (packed && packed->rotated && !spec.rotated)
      return bad_input("{}: tensor {} is rotated, expected one whose inputs are", where, name);
    if (packed) continue;
    if (!compute::info(tensor->dtype).is_weight)
      return bad_input("{}: tensor {} has type {}, expected f32, f16 or bf16", where, name,
                       compute::info(tensor->dtype).name);
  }
  const auto unexpected = [&](std::string_view name) { return !known.contains(name) && !ignored(name); };
  std::string_view found;
  for (const auto& [name, packed] : checkpoint.packed())
    if (found.empty() && unexpected(name)) found = name;
  for (const auto& [name, tensor] : checkpoint.tensors())
    if (found.empty() && unexpected(name)) found = name;
  if (found.empty()) return {};
  return bad_input("{}: unexpected tensor {}, {} describes a model without it", where, found, settings);
}

compute::WeightFormat loaded_format(const formats::Checkpoint& checkpoint, const TensorSpec& spec,
                                    const WeightFormats& formats) {
  const std::string_view name = spec.name_in(checkpoint);
  const formats::PackedTensor* packed = checkpoint.find_packed(name);
  return packed ? packed->format : formats.of(spec, checkpoint.find(name)->dtype);
}

Tensor with_halves_apart(const formats::Checkpoint& checkpoint, const TensorSpec& spec, Buffer& copy) {
  Tensor source = *checkpoint.find(spec.name_in(checkpoint));
  if (spec.rotary_heads == 0 || checkpoint.gguf().empty()) return source;
  const int64_t rows = source.shape[0], row_bytes = source.bytes() / rows;
  copy = Buffer(static_cast<size_t>(source.bytes()));
  for (int64_t row = 0; row < rows; ++row)
    std::memcpy(copy.data() + row * row_bytes, source.data + spec.row_in_gguf(row) * row_bytes,
                static_cast<size_t>(row_bytes));
  source.data = copy.data();
  return source;
}

int64_t loaded_bytes(const formats::Checkpoint& checkpoint, const TensorSpec& spec, const WeightFormats& formats) {
  const int64_t elements = spec.shape.elements();
  if (const formats::PackedTensor* packed = checkpoint.find_packed(spec.name_in(checkpoint)))
    return spec.quantisable() ? packed->bytes() : 0;
  const Tensor& tensor = *checkpoint.find(spec.name_in(checkpoint));
  if (spec.quantisable())
    return PackedMatrix::packed_bytes(formats.of(spec, tensor.dtype), spec.shape[0], elements / spec.shape[0]);
  return std::holds_alternative<Buffer*>(spec.target) ? elements * 4 : tensor.bytes();
}

void load_tensors(const formats::Checkpoint& checkpoint, std::span<const TensorSpec> specs,
                  const WeightFormats& formats, ThreadPool& pool) {
  const std::byte *first = nullptr, *last = nullptr;  // of what is mapped and read for every token
  for (const auto& [name, packed] : checkpoint.packed()) {
    if (!first || packed.data < first) first = packed.data;
    last = std::max(last, packed.data + packed.bytes());
  }
  prefer_huge_pages({first, last});
  for (const TensorSpec& spec : specs) {
    if (const formats::PackedTensor* packed = checkpoint.find_packed(spec.name_in(checkpoint))) {
      if (auto* matrix = std::get_if<PackedMatrix*>(&spec.target)) **matrix = packed->matrix();
      continue;
    }
    const Tensor& stored = *checkpoint.find(spec.name_in(checkpoint));
    Buffer reordered;
    const Tensor source = with_halves_apart(checkpoint, spec, reordered);
    const int64_t elements = source.shape.elements();
    if (auto* matrix = std::get_if<PackedMatrix*>(&spec.target)) {
      Tensor flat = source;
      flat.shape = {source.shape[0], elements / source.shape[0]};
      **matrix = pack(spec, flat, formats.of(spec, source.dtype), pool);
      release_pages({stored.data, static_cast<size_t>(stored.bytes())});  // the packed copy is what is read from now on
    } else if (auto* buffer = std::get_if<Buffer*>(&spec.target)) {
      **buffer = Buffer(static_cast<size_t>(elements) * sizeof(float));
      compute::to_f32(source.dtype, source.data, (*buffer)->f32(), elements);
      for (size_t i = 0; spec.evening && i < spec.evening->size(); ++i) (*buffer)->f32()[i] /= (*spec.evening)[i];
    } else {
      *std::get<Tensor*>(spec.target) = source;
    }
  }
}

void shape_tensors(std::span<const TensorSpec> specs) {
  for (const TensorSpec& spec : specs) {
    const int64_t elements = spec.shape.elements(), rows = spec.shape[0];
    if (auto* matrix = std::get_if<PackedMatrix*>(&spec.target))
      **matrix = PackedMatrix::view(compute::WeightFormat::kF32, rows, elements / rows, nullptr);
    else if (auto* buffer = std::get_if<Buffer*>(&spec.target))
      **buffer = Buffer(static_cast<size_t>(elements) * sizeof(float));
    else  // nobody reads them; the address tells one table from another
      *std::get<Tensor*>(spec.target) = {compute::DType::kF32, spec.shape, reinterpret_cast<const std::byte*>(&spec)};
  }
}

}  // namespace onsight::models
