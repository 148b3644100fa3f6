// GgufWriter: writes a GGUF file (version 3) tensor by tensor, in the order in which they were announced.
//
//   GgufValues values = {{"general.architecture", "llama"}, {"llama.block_count", 30u}};
//   TRY(GgufWriter writer, GgufWriter::create("model.gguf", values, entries));
//   for (…) TRY_STATUS(writer.append(bytes));   // of each entry, in pieces if need be
//   TRY_STATUS(writer.finish());                // until now nothing is under that name
#pragma once

#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/file.h"
#include "compute/tensor.h"

namespace onsight::formats {

using GgufValue = std::variant<bool, uint32_t, float, std::string, std::vector<int32_t>, std::vector<float>,
                               std::vector<std::string>>;
using GgufValues = std::vector<std::pair<std::string, GgufValue>>;

struct GgufEntry {
  std::string name;
  compute::DType dtype = compute::DType::kF32;
  compute::Shape shape;  // outermost first
  int64_t bytes() const { return compute::bytes_of(dtype, shape.elements()); }
};

class GgufWriter {
 public:
  static Result<GgufWriter> create(const Path& path, const GgufValues& values, std::vector<GgufEntry> entries);
  // Of one entry alone.
  Status append(std::span<const std::byte> bytes);
  Status finish();

 private:
  GgufWriter(AtomicFile file, std::vector<GgufEntry> entries) : file_(std::move(file)), entries_(std::move(entries)) {}
  AtomicFile file_;
  std::vector<GgufEntry> entries_;
  size_t next_ = 0;
  int64_t written_ = 0;  // of entry next_
};

}  // namespace onsight::formats
