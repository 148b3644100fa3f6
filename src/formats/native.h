// The native file: a safetensors file in which every matrix is one tensor of bytes, packed as the kernels read it, and
// in which the model's settings are too. Nothing in it depends on the machine, so that loading is mapping.
//
//   data         what
//   packed       U8 [bytes] each, at a multiple of 64 in the file; __metadata__ says of each "q8 [960, 960]", or
//                "q8 rotated [960, 2560]"
//   plain        norms and biases as F32, tables as the checkpoint has them
//   files/NAME   U8: the settings, byte by byte
//   checksums    U8 [1 + tensors before it, 32]: SHA-256 of the header with its length, then of each tensor in order
//
// __metadata__ also says in which number format the source had its tensors: "source_format", and "source_format/NAME"
// for each that had another. Read through Checkpoint::open_native, written by NativeWriter.
#pragma once

#include <array>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/sha256.h"
#include "compute/packed_matrix.h"
#include "compute/tensor.h"

namespace onsight::formats {

constexpr int kNativeVersion = 2;  // since 2: q10, rotated
constexpr std::string_view kNativeFormat = "onsight", kNativeExtension = ".onsight", kNativeFiles = "files/",
                           kNativeChecksums = "checksums", kNativeSourceFormat = "source_format",
                           kNativeRotated = " rotated";
constexpr int64_t kNativeAlignment = 64;

// A matrix as the kernels read it; all axes after the first are inputs.
struct PackedTensor {
  compute::WeightFormat format = compute::WeightFormat::kF32;
  compute::Shape shape;
  const std::byte* data = nullptr;
  bool rotated = false;

  compute::PackedMatrix matrix() const {
    return compute::PackedMatrix::view(format, shape[0], inputs(), data, rotated);
  }
  int64_t inputs() const { return shape.elements() / shape[0]; }
  int64_t bytes() const { return compute::PackedMatrix::packed_bytes(format, shape[0], inputs()); }
};

// The key of one tensor's source format.
std::string native_source_format(std::string_view tensor);

struct NativeContents {
  std::map<std::string, compute::Tensor, std::less<>> tensors;  // those that are not packed
  std::map<std::string, PackedTensor, std::less<>> packed;
  std::map<std::string, std::string_view, std::less<>> files;
  std::map<std::string, std::string, std::less<>> metadata;  // of the whole file
  struct Sum {
    std::string name;
    std::span<const std::byte> bytes, digest;
  };
  std::vector<Sum> sums;  // of every tensor; not compared yet
};

// Verifies the header, its checksum included, and the places and sizes of all tensors, not their values. All views
// point into `file`.
Result<NativeContents> read_native(std::span<const std::byte> file, std::string_view where);

}  // namespace onsight::formats
