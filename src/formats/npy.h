// NumPy's .npy files (format 1.0 and 2.0, C order, little endian): written by `onsight trace`, read by `onsight trace --compare`.
#pragma once

#include "base/file.h"
#include "compute/tensor.h"

namespace onsight::formats {

// Writes f32, i32, i64 or u8 values atomically; an error (a full disk, say) leaves no file.
Status write_npy(const Path& path, const compute::Tensor& tensor);

struct NpyArray {
  compute::DType dtype = compute::DType::kF32;
  compute::Shape shape;
  MappedFile file;
  compute::Tensor tensor() const;
  size_t offset = 0;  // of the first value in the file
};
Result<NpyArray> read_npy(const Path& path);

}  // namespace onsight::formats
