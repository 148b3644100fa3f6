#include "formats/native.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "formats/safetensors.h"

namespace onsight::formats {
namespace {

using compute::Shape;
using compute::Tensor;

constexpr int64_t kDigestBytes = static_cast<int64_t>(sizeof(Digest));

std::optional<int64_t> whole_number(std::string_view text) {
  int64_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc() || end != text.data() + text.size() || text.empty() || text[0] == '-') return std::nullopt;
  return n;
}

// "q8 [960, 960]"
std::optional<PackedTensor> read_description(std::string_view text) {
  const size_t space = text.find(" [");
  if (space == std::string_view::npos || !text.ends_with(']')) return std::nullopt;
  PackedTensor out;
  std::string_view kind = text.substr(0, space);
  out.rotated = kind.ends_with(kNativeRotated);
  if (out.rotated) kind.remove_suffix(kNativeRotated.size());
  const auto format = compute::weight_format(kind);
  if (!format) return std::nullopt;
  out.format = *format;
  text = text.substr(space + 2, text.size() - space - 3);
  while (true) {
    const size_t comma = text.find(", ");
    const std::optional<int64_t> extent = whole_number(text.substr(0, comma));
    if (!extent || *extent < 1 || out.shape.rank() == compute::kMaxRank) return std::nullopt;
    out.shape.push_back(*extent);
    if (comma == std::string_view::npos) return out.shape.rank() >= 2 ? std::optional(out) : std::nullopt;
    text.remove_prefix(comma + 2);
  }
}

// No format takes less than half a byte a number, so a shape with more is wrong before anything is multiplied.
bool has_size(const PackedTensor& packed, int64_t bytes) {
  int64_t elements = 1;
  for (int i = 0; i < packed.shape.rank(); ++i)
    if (__builtin_mul_overflow(elements, packed.shape[i], &elements)) return false;
  if (packed.rotated && !compute::PackedMatrix::can_rotate(packed.format, packed.inputs())) return false;
  return elements / 2 <= bytes && packed.bytes() == bytes;
}

Status check_version(const SafetensorsHeader& header, std::string_view where) {
  const auto format = header.metadata.find("format"), version = header.metadata.find("version");
  if (format == header.metadata.end() || format->second != kNativeFormat)
    return bad_input("{}: expected a file that `onsight convert` wrote, found another safetensors file", where);
  const std::optional<int64_t> number = version == header.metadata.end() ? std::nullopt : whole_number(version->second);
  if (!number || *number < 1)
    return bad_input("{}: header: version: expected a number from 1 to {}", where, kNativeVersion);
  if (*number > kNativeVersion)
    return bad_input("{}: version {} of the native file, expected at most {}: a newer onsight wrote it", where, *number,
                     kNativeVersion);
  return {};
}

std::span<const std::byte> bytes_of(const Tensor& tensor) { return {tensor.data, static_cast<size_t>(tensor.bytes())}; }

// Takes the checksums out of the tensors and compares the header's.
Status take_sums(std::span<const std::byte> file, SafetensorsHeader& header, std::string_view where,
                 std::vector<NativeContents::Sum>& sums) {
  auto found = header.tensors.find(kNativeChecksums);
  if (found == header.tensors.end()) return bad_input("{}: tensor {} is missing", where, kNativeChecksums);
  const Tensor table = found->second;
  header.tensors.erase(found);
  const int64_t rows = static_cast<int64_t>(header.tensors.size()) + 1;
  if (table.dtype != compute::DType::kU8 || !(table.shape == Shape{rows, kDigestBytes}))
    return bad_input("{}: tensor {} has shape {}, expected u8 of shape {}", where, kNativeChecksums,
                     table.shape.to_string(), Shape{rows, kDigestBytes}.to_string());
  const std::span<const std::byte> digests = bytes_of(table);
  size_t length = 0;
  for (size_t i = 0; i < 8; ++i) length |= std::to_integer<size_t>(file[i]) << (8 * i);
  const Digest sum = Sha256::of(file.first(8 + length));
  if (!std::equal(sum.begin(), sum.end(), digests.begin()))
    return bad_input("{}: header: its checksum differs, expected the header that was written", where);
  for (const auto& [name, tensor] : header.tensors) sums.push_back({name, bytes_of(tensor), {}});
  // Of those at one place, the empty ones were written first.
  std::sort(sums.begin(), sums.end(), [](const auto& a, const auto& b) {
    return std::pair(a.bytes.data(), a.bytes.size()) < std::pair(b.bytes.data(), b.bytes.size());
  });
  for (size_t i = 0; i < sums.size(); ++i) sums[i].digest = digests.subspan((i + 1) * kDigestBytes, kDigestBytes);
  return {};
}

}  // namespace

std::string native_source_format(std::string_view tensor) { return fmt::format("{}/{}", kNativeSourceFormat, tensor); }

Result<NativeContents> read_native(std::span<const std::byte> file, std::string_view where) {
  TRY(SafetensorsHeader header, read_safetensors(file, where));
  TRY_STATUS(check_version(header, where));
  NativeContents out;
  TRY_STATUS(take_sums(file, header, where, out.sums));
  for (auto& [name, tensor] : header.tensors) {
    const bool is_bytes = tensor.dtype == compute::DType::kU8 && tensor.shape.rank() == 1;
    if (const auto row = header.metadata.find(name); row != header.metadata.end()) {
      std::optional<PackedTensor> packed = read_description(row->second);
      if (!packed)
        return bad_input("{}: header: {}: expected a format and a shape, as q8 [960, 960], found {}", where,
                         in_quotes(name), in_quotes(row->second));
      if (!is_bytes || !has_size(*packed, tensor.bytes()))
        return bad_input("{}: tensor {} has {} bytes, expected another number of bytes for {}", where, in_quotes(name),
                         tensor.bytes(), in_quotes(row->second));
      if ((tensor.data - file.data()) % kNativeAlignment != 0)
        return bad_input("{}: tensor {} begins at byte {}, expected a multiple of {}", where, in_quotes(name),
                         tensor.data - file.data(), kNativeAlignment);
      packed->data = tensor.data;
      out.packed.emplace(name, *packed);
    } else if (name.starts_with(kNativeFiles)) {
      if (!is_bytes) return bad_input("{}: tensor {}: expected bytes, as the file has them", where, in_quotes(name));
      out.files.emplace(name.substr(kNativeFiles.size()), std::string_view(reinterpret_cast<const char*>(tensor.data),
                                                                           static_cast<size_t>(tensor.bytes())));
    } else {
      out.tensors.emplace(name, tensor);
    }
  }
  out.metadata = std::move(header.metadata);
  return out;
}

}  // namespace onsight::formats
