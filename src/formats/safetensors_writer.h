// SafetensorsWriter: writes a safetensors file tensor by tensor, with the bytes that the reference's writer gives it.
//
//   TRY(SafetensorsWriter writer, SafetensorsWriter::create("model.safetensors", {{"format", "pt"}}, entries));
//   for (const SafetensorsEntry& entry : writer.entries()) TRY_STATUS(writer.append(bytes));   // in pieces, if need be
//   TRY_STATUS(writer.finish());                // until now nothing is under that name
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "compute/tensor.h"

namespace onsight::formats {

struct SafetensorsEntry {
  std::string name;
  compute::DType dtype = compute::DType::kF32;
  compute::Shape shape;
  int64_t bytes() const { return compute::bytes_of(dtype, shape.elements()); }
};

class SafetensorsWriter {
 public:
  static Result<SafetensorsWriter> create(const Path& path, const std::map<std::string, std::string>& metadata,
                                          std::vector<SafetensorsEntry> entries);
  // In the order in which their bytes are expected: wide formats first, then by name.
  const std::vector<SafetensorsEntry>& entries() const { return entries_; }
  Status append(std::span<const std::byte> bytes);
  Status finish();

 private:
  SafetensorsWriter(AtomicFile file, std::vector<SafetensorsEntry> entries);
  AtomicFile file_;
  std::vector<SafetensorsEntry> entries_;
  int64_t missing_ = 0;  // bytes
};

// What comes before the tensors' bytes: eight bytes of length and `header`, filled up with spaces to a multiple of
// `alignment`.
std::string safetensors_prefix(const nlohmann::ordered_json& header, size_t alignment);

}  // namespace onsight::formats
