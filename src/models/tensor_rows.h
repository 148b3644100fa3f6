// TensorRows: the numbers of a checked row of specs, whatever container holds them, as a Hugging Face checkpoint has
// them.
//
//   const TensorRows rows(checkpoint, spec);
//   rows.read(0, rows.count(), out);   // as f32
#pragma once

#include <vector>

#include "models/tensor_spec.h"

namespace onsight::models {

class TensorRows {
 public:
  // Both stay alive as long as this does.
  TensorRows(const formats::Checkpoint& checkpoint, const TensorSpec& spec);
  int64_t count() const { return spec_->shape[0]; }
  int64_t width() const { return spec_->shape.elements() / count(); }
  // The format of the checkpoint, or of the one that a native file was made from: f32, f16 or bf16, in which no number
  // is rounded. Of blocks it is f32.
  compute::DType dtype() const { return dtype_; }
  // Rows [first, first + n) as f32: out [n, width].
  void read(int64_t first, int64_t n, float* out) const;
  // They will not be read again soon.
  void release() const;

 private:
  const TensorSpec* spec_;
  const formats::PackedTensor* packed_;
  compute::Tensor plain_;
  bool reordered_ = false;      // rows as GGUF has them
  std::vector<float> widened_;  // a vector in blocks has no rows of whole ones
  compute::DType dtype_;
};

// The first matrix that is rounded to codes, whose numbers no other file could give back; nullptr if there is none.
const std::string* find_rounded(const formats::Checkpoint& checkpoint);

}  // namespace onsight::models
