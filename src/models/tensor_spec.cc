#include "models/tensor_spec.h"

#include <set>

namespace onsight::models {

using compute::Buffer;
using compute::PackedMatrix;
using compute::Tensor;

Status check_tensors(const formats::Checkpoint& checkpoint, std::span<const TensorSpec> specs, std::string_view where,
                     bool (*ignored)(std::string_view name)) {
  std::set<std::string_view> known;
  for (const TensorSpec& spec : specs) {
    known.insert(spec.name);
    const Tensor* tensor = checkpoint.find(spec.name);
    if (!tensor)
      return bad_input("{}: tensor {} is missing, expected one of shape {}", where, spec.name, spec.shape.to_string());
    if (!(tensor->shape == spec.shape))
      return bad_input("{}: tensor {} has shape {}, expected {} from config.json", where, spec.name,
                       tensor->shape.to_string(), spec.shape.to_string());
    if (!compute::info(tensor->dtype).is_weight)
      return bad_input("{}: tensor {} has type {}, expected f32, f16 or bf16", where, spec.name,
                       compute::info(tensor->dtype).name);
  }
  for (const auto& [name, tensor] : checkpoint.tensors())
    if (!known.contains(name) && !ignored(name))
      return bad_input("{}: unexpected tensor {}, config.json describes a model without it", where, name);
  return {};
}

void load_tensors(const formats::Checkpoint& checkpoint, std::span<const TensorSpec> specs,
                  const WeightFormats& formats, ThreadPool& pool) {
  for (const TensorSpec& spec : specs) {
    const Tensor& source = *checkpoint.find(spec.name);
    const int64_t elements = source.shape.elements();
    if (auto* matrix = std::get_if<PackedMatrix*>(&spec.target)) {
      Tensor flat = source;
      flat.shape = {source.shape[0], elements / source.shape[0]};
      **matrix = PackedMatrix::pack(flat, formats.of(spec, source.dtype), nullptr, &pool);
      release_pages({source.data, static_cast<size_t>(source.bytes())});  // the packed copy is what is read from now on
    } else if (auto* buffer = std::get_if<Buffer*>(&spec.target)) {
      **buffer = Buffer(static_cast<size_t>(elements) * sizeof(float));
      compute::to_f32(source.dtype, source.data, (*buffer)->f32(), elements);
    } else {
      *std::get<Tensor*>(spec.target) = source;
    }
  }
}

}  // namespace onsight::models
