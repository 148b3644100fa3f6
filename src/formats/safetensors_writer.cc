#include "formats/safetensors_writer.h"

#include <algorithm>

#include "base/check.h"
#include "formats/padding.h"

namespace onsight::formats {
namespace {

using compute::DType;

constexpr size_t kHeaderAlignment = 8;

// The reference's order; those that are not here come last.
size_t rank(DType dtype) {
  constexpr DType kOrder[] = {DType::kI64, DType::kF32, DType::kU32, DType::kI32, DType::kBF16,
                              DType::kF16, DType::kI8,  DType::kU8,  DType::kBool};
  return static_cast<size_t>(std::find(std::begin(kOrder), std::end(kOrder), dtype) - std::begin(kOrder));
}

}  // namespace

std::string safetensors_prefix(const nlohmann::ordered_json& header, size_t alignment) {
  std::string json = header.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  json.append(padding(8 + json.size(), alignment), ' ');
  std::string out;
  for (int i = 0; i < 8; ++i) out += static_cast<char>(json.size() >> (8 * i) & 0xff);
  return out + json;
}

SafetensorsWriter::SafetensorsWriter(AtomicFile file, std::vector<SafetensorsEntry> entries)
    : file_(std::move(file)), entries_(std::move(entries)) {
  for (const SafetensorsEntry& entry : entries_) missing_ += entry.bytes();
}

Result<SafetensorsWriter> SafetensorsWriter::create(const Path& path,
                                                    const std::map<std::string, std::string>& metadata,
                                                    std::vector<SafetensorsEntry> entries) {
  std::sort(entries.begin(), entries.end(), [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
    return std::pair(rank(a.dtype), std::string_view(a.name)) < std::pair(rank(b.dtype), std::string_view(b.name));
  });
  nlohmann::ordered_json header;
  header["__metadata__"] = metadata;
  int64_t at = 0;
  for (const SafetensorsEntry& entry : entries) {
    std::vector<int64_t> shape;
    for (int i = 0; i < entry.shape.rank(); ++i) shape.push_back(entry.shape[i]);
    const int64_t end = at + entry.bytes();
    header[entry.name] = {
        {"dtype", compute::info(entry.dtype).safetensors}, {"shape", shape}, {"data_offsets", {at, end}}};
    at = end;
  }
  TRY(AtomicFile file, AtomicFile::create(path));
  TRY_STATUS(file.append(safetensors_prefix(header, kHeaderAlignment)));
  return SafetensorsWriter(std::move(file), std::move(entries));
}

Status SafetensorsWriter::append(std::span<const std::byte> bytes) {
  missing_ -= static_cast<int64_t>(bytes.size());
  ONSIGHT_CHECK(missing_ >= 0);
  return file_.append({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

Status SafetensorsWriter::finish() {
  ONSIGHT_CHECK(missing_ == 0);
  return file_.commit();
}

}  // namespace onsight::formats
