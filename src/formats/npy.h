// NumPy's .npy files (C order, little endian): written by `onsight trace`, read by `onsight trace --compare`.
#pragma once

#include "base/file.h"
#include "compute/tensor.h"

namespace onsight::formats {

// Writes any type that NumPy knows (all but bf16) atomically; an error (a full disk, say) leaves no file.
Status write_npy(const Path& path, const compute::Tensor& tensor);

struct NpyArray {
  compute::DType dtype = compute::DType::kF32;
  compute::Shape shape;
  MappedFile file;
  compute::Tensor tensor() const;
  size_t offset = 0;  // of the first value in the file
};
// Refuses other types, and a size that is not exactly what the shape says; the values are aligned for their type.
Result<NpyArray> read_npy(const Path& path);

}  // namespace onsight::formats
