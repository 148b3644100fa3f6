// GGUF: the container of llama.cpp, metadata and tensors in one file; versions 2 and 3, little endian.
//
//   TRY(GgufFile file, read_gguf(mapped.bytes(), "model.gguf"));
//   TRY(int64_t width, file.metadata.integer("llama.embedding_length", 1, 1 << 16));
//   TRY(std::vector<std::string_view> tokens, file.metadata.strings("tokenizer.ggml.tokens"));
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "compute/tensor.h"

namespace onsight::formats {

enum class GgufType : uint32_t { kU8, kI8, kU16, kI16, kU32, kI32, kF32, kBool, kString, kArray, kU64, kI64, kF64 };

// The keys of a file and their values, which stay in the file's bytes: strings are views of them. Every reader names
// file and key in its error; one without "_or" refuses a key that is missing.
class GgufMetadata {
 public:
  const std::string& where() const { return where_; }
  bool has(std::string_view key) const { return values_.contains(key); }
  size_t size() const { return values_.size(); }

  Result<int64_t> integer(std::string_view key, int64_t min, int64_t max) const;
  Result<int64_t> integer_or(std::string_view key, int64_t otherwise, int64_t min, int64_t max) const;
  Result<double> number(std::string_view key) const;
  Result<double> number_or(std::string_view key, double otherwise) const;
  Result<bool> boolean_or(std::string_view key, bool otherwise) const;
  // Strings are any bytes.
  Result<std::string_view> string(std::string_view key) const;
  Result<std::string_view> string_or(std::string_view key, std::string_view otherwise) const;

  // Arrays: of whole numbers, of any numbers, of strings.
  Result<std::vector<int64_t>> integers(std::string_view key) const;
  Result<std::vector<double>> numbers(std::string_view key) const;
  Result<std::vector<std::string_view>> strings(std::string_view key) const;

 private:
  friend class GgufReader;
  struct Value {
    GgufType type{}, element{};  // element: of an array
    uint64_t count = 0;          // elements of an array
    std::span<const std::byte> bytes;
  };
  Result<const Value*> find(std::string_view key, std::string_view expected) const;
  Result<const Value*> find_array(std::string_view key, std::string_view expected) const;
  tl::unexpected<Error> refuse(std::string_view key, std::string_view expected, const Value& found) const;

  std::string where_;
  std::map<std::string, Value, std::less<>> values_;
};

struct GgufFile {
  GgufMetadata metadata;
  std::map<std::string, compute::Tensor, std::less<>> tensors;  // extents outermost first; point into the file's bytes
};

// Refuses what does not begin as a GGUF file; nothing behind that is looked at.
Status expect_gguf(std::span<const std::byte> file, std::string_view where);

// Verifies a whole file in memory before it returns: every length and offset inside the file, no key or tensor twice,
// no two tensors that share bytes, known types, whole blocks in each row. `where` names the file in errors.
Result<GgufFile> read_gguf(std::span<const std::byte> file, std::string_view where);

}  // namespace onsight::formats
