// TensorSpec: one row a tensor of an architecture, the only place where its name lives. The loader, the quantiser and
// the exporters read the same rows.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "base/result.h"
#include "compute/graph.h"
#include "formats/checkpoint.h"

namespace onsight::models {

struct TensorSpec {
  std::string name;      // in a Hugging Face checkpoint
  compute::Shape shape;  // there
  // Where its numbers go: packed for a linear layer (all axes after the first are inputs), widened to f32, or left in
  // the mapped file.
  std::variant<compute::PackedMatrix*, compute::Buffer*, compute::Tensor*> target;
  std::string gguf_name = {};  // in a GGUF file
  // Rows that RoPE turns, of so many heads: GGUF files have those of a head's two halves in turns, (0, h, 1, h + 1, …).
  int64_t rotary_heads = 0;
  // Where a row of the Hugging Face checkpoint stands in a GGUF file, and the other way.
  int64_t row_in_gguf(int64_t row) const;
  int64_t row_of_gguf(int64_t row) const;

  const std::string& name_in(const formats::Checkpoint& checkpoint) const {
    return checkpoint.gguf().empty() ? name : gguf_name;
  }
  bool vision = false;  // belongs to the vision tower
  bool kept = false;    // never in codes: what rounding it would lose, nothing makes good after it
  // Rounded like the others it would lose more: it gets 10 bits for 8, and the text model's 8 for 4.
  bool delicate = false;
  bool narrow = false;   // of a tower so narrow that roundings do not average out: 10 bits for 8
  bool rotated = false;  // Packing::rotated: few of its inputs are much larger than the others
  // Where a norm's outputs are of unlike sizes, rounding their matrices' inputs with one scale a row wastes range on
  // the small ones. The norm is divided by these factors, one a channel, and the columns of the matrices multiplied.
  // Empty: none.
  std::shared_ptr<const std::vector<float>> evening = nullptr;
  bool head = false;  // gives the logits; in 4 bits it would lose more than it saves
  bool quantisable() const { return std::holds_alternative<compute::PackedMatrix*>(target); }
  // What an op of a graph holds of a target that has its shape: the matrix, or where the numbers are.
  const void* handle() const;
};

// A row's matrix in a format; `source` has its shape, flat.
compute::PackedMatrix pack(const TensorSpec& spec, const compute::Tensor& source, compute::WeightFormat format,
                           ThreadPool& pool);

// Checks that every row is there with its shape and a weight format, and that nothing else is, but for names that
// `ignored` accepts. One sentence names the first that is wrong.
Status check_tensors(const formats::Checkpoint& checkpoint, std::span<const TensorSpec> specs, std::string_view where,
                     bool (*ignored)(std::string_view name));
// What the weights of linear layers become in memory; nothing: the format that keeps the checkpoint's numbers.
struct WeightFormats {
  // Layers of fewer inputs have little to save in 4 bits, and each costs the answers as much as one of a large model.
  static constexpr int64_t kFourBitInputs = 512;
  std::optional<compute::WeightFormat> vision, text;
  // Keys and values: f32, f16 or i8; nothing: f16 beside weights in codes, else f32.
  std::optional<compute::DType> kv = {};
  compute::WeightFormat of(const TensorSpec& spec, compute::DType source) const {
    const auto keeping = compute::PackedMatrix::keeping(source);
    const auto wanted = spec.kept ? keeping : (spec.vision ? vision : text).value_or(keeping);
    const bool is_narrow = spec.shape.elements() < kFourBitInputs * spec.shape[0];
    if (wanted == compute::WeightFormat::kQ4)
      return spec.head || is_narrow || (spec.delicate && !spec.vision) ? compute::WeightFormat::kQ8
                                                                       : compute::WeightFormat::kQ4;
    return (spec.delicate || spec.narrow) && wanted == compute::WeightFormat::kQ8 ? compute::WeightFormat::kQ10
                                                                                  : wanted;
  }
};

// The format of a checked row's matrix once it is loaded.
compute::WeightFormat loaded_format(const formats::Checkpoint& checkpoint, const TensorSpec& spec,
                                    const WeightFormats& formats);
// A checked row's tensor with its rows in the order of a Hugging Face checkpoint, each head's first half, then the
// second; in `copy` where the file has another.
compute::Tensor with_halves_apart(const formats::Checkpoint& checkpoint, const TensorSpec& spec, compute::Buffer& copy);
// What a checked row's tensor takes in memory once it is loaded.
int64_t loaded_bytes(const formats::Checkpoint& checkpoint, const TensorSpec& spec, const WeightFormats& formats);
// Fills every target. The rows must have been checked. Of a native file matrices are views, in its own formats; a table
// that it holds as a matrix only stays empty.
void load_tensors(const formats::Checkpoint& checkpoint, std::span<const TensorSpec> specs,
                  const WeightFormats& formats, ThreadPool& pool);
// Gives every target its shape and no numbers: for a network that is written down and never run.
void shape_tensors(std::span<const TensorSpec> specs);

}  // namespace onsight::models
