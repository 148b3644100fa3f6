// NativeWriter: writes a native file tensor by tensor, in the order in which they were announced.
//
//   TRY(NativeWriter writer, NativeWriter::create("model.onsight", {{"program", "0.1.0"}}, entries));
//   for (…) TRY_STATUS(writer.append(bytes));   // of each entry
//   TRY_STATUS(writer.finish());                // until now nothing is under that name
//   TRY_STATUS(verify_native("model.onsight", pool));
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/sha256.h"
#include "base/thread_pool.h"
#include "compute/packed_matrix.h"
#include "compute/tensor.h"

namespace onsight::formats {

struct NativeEntry {
  std::string name;
  compute::Shape shape;
  compute::DType dtype = compute::DType::kU8;        // of a plain tensor
  std::optional<compute::WeightFormat> packed = {};  // of a matrix, which goes before all that is plain
  bool rotated = false;                              // likewise
  int64_t bytes() const;
};

class NativeWriter {
 public:
  static Result<NativeWriter> create(const Path& path, const std::map<std::string, std::string>& metadata,
                                     std::vector<NativeEntry> entries);
  Status append(std::span<const std::byte> bytes);
  // `check` sees the whole file before it replaces one of its name.
  Status finish(const std::function<Status(const Path& written)>& check = nullptr);

 private:
  NativeWriter(AtomicFile file, std::vector<NativeEntry> entries)
      : file_(std::move(file)), entries_(std::move(entries)) {}
  // Writes whole huge pages at a time, which a system that can keeps in its cache, and maps, as such.
  Status put(std::span<const std::byte> bytes);
  Status put_waiting();
  AtomicFile file_;
  std::string waiting_;  // less than a huge page
  std::vector<NativeEntry> entries_;
  std::vector<std::byte> digests_;
  size_t next_ = 0;
};

// Compares every byte of a native file with its checksums. `progress` gets bytes done and in all; false ends it.
using VerifyProgress = std::function<bool(int64_t done, int64_t total)>;
Status verify_native(const Path& path, ThreadPool& pool, const VerifyProgress& progress = nullptr);

// The name of a settings file's tensor.
std::string native_file_name(std::string_view file);
// Whether a path is named as a native file.
bool is_native_name(const Path& path);

}  // namespace onsight::formats
