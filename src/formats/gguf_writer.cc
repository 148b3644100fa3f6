#include "formats/gguf_writer.h"

#include <bit>
#include <cstring>

#include "base/check.h"
#include "formats/gguf.h"
#include "formats/padding.h"

namespace onsight::formats {
namespace {

constexpr size_t kGgufAlignment = 32;  // the format's default
constexpr uint32_t kVersion = 3;

template <class T>
void put(std::string& out, T value) {
  static_assert(std::endian::native == std::endian::little);
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  out.append(bytes, sizeof value);
}

void put(std::string& out, const std::string& text) {
  put(out, static_cast<uint64_t>(text.size()));
  out += text;
}

constexpr GgufType type_of(bool) { return GgufType::kBool; }
constexpr GgufType type_of(uint32_t) { return GgufType::kU32; }
constexpr GgufType type_of(int32_t) { return GgufType::kI32; }
constexpr GgufType type_of(float) { return GgufType::kF32; }
GgufType type_of(const std::string&) { return GgufType::kString; }

template <class T>
void put_value(std::string& out, const T& value) {
  put(out, static_cast<uint32_t>(type_of(value)));
  put(out, value);
}

template <class T>
void put_value(std::string& out, const std::vector<T>& values) {
  put(out, static_cast<uint32_t>(GgufType::kArray));
  put(out, static_cast<uint32_t>(type_of(T())));
  put(out, static_cast<uint64_t>(values.size()));
  for (const T& value : values) put(out, value);
}

std::string make_header(const GgufValues& values, const std::vector<GgufEntry>& entries) {
  std::string out = "GGUF";
  put(out, kVersion);
  put(out, static_cast<uint64_t>(entries.size()));
  put(out, static_cast<uint64_t>(values.size()));
  for (const auto& [key, value] : values) {
    put(out, key);
    std::visit([&](const auto& v) { put_value(out, v); }, value);
  }
  uint64_t at = 0;
  for (const GgufEntry& entry : entries) {
    put(out, entry.name);
    put(out, static_cast<uint32_t>(entry.shape.rank()));
    for (int i = entry.shape.rank() - 1; i >= 0; --i) put(out, static_cast<uint64_t>(entry.shape[i]));
    put(out, static_cast<uint32_t>(compute::info(entry.dtype).gguf));
    put(out, at);
    const auto size = static_cast<size_t>(entry.bytes());
    at += size + padding(size, kGgufAlignment);
  }
  out.append(padding(out.size(), kGgufAlignment), '\0');
  return out;
}

}  // namespace

Result<GgufWriter> GgufWriter::create(const Path& path, const GgufValues& values, std::vector<GgufEntry> entries) {
  TRY(AtomicFile file, AtomicFile::create(path));
  TRY_STATUS(file.append(make_header(values, entries)));
  return GgufWriter(std::move(file), std::move(entries));
}

Status GgufWriter::append(std::span<const std::byte> bytes) {
  ONSIGHT_CHECK(next_ < entries_.size());
  const int64_t size = entries_[next_].bytes();
  written_ += static_cast<int64_t>(bytes.size());
  ONSIGHT_CHECK(written_ <= size);
  TRY_STATUS(file_.append({reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
  if (written_ < size) return {};
  ++next_;
  written_ = 0;
  return file_.append(std::string(padding(static_cast<uint64_t>(size), kGgufAlignment), '\0'));
}

Status GgufWriter::finish() {
  ONSIGHT_CHECK(next_ == entries_.size());
  return file_.commit();
}

}  // namespace onsight::formats
