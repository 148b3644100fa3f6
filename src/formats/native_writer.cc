#include "formats/native_writer.h"

#include <strings.h>

#include <algorithm>
#include <atomic>

#include "base/check.h"
#include "base/json.h"
#include "base/memory.h"
#include "formats/native.h"
#include "formats/safetensors_writer.h"

namespace onsight::formats {
namespace {

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void add(std::vector<std::byte>& digests, std::span<const std::byte> bytes) {
  const Digest digest = Sha256::of(bytes);
  digests.insert(digests.end(), digest.begin(), digest.end());
}

// Eight bytes of length and the header, filled up with spaces so that the data begins at a multiple of 64.
std::string make_header(const std::map<std::string, std::string>& metadata, const std::vector<NativeEntry>& entries) {
  nlohmann::ordered_json header, about;
  about["format"] = kNativeFormat;
  about["version"] = std::to_string(kNativeVersion);
  for (const auto& [key, value] : metadata) about[key] = value;
  for (const NativeEntry& entry : entries)
    if (entry.packed)
      about[entry.name] = fmt::format("{}{} {}", to_string(*entry.packed), entry.rotated ? kNativeRotated : "",
                                      entry.shape.to_string());
  header["__metadata__"] = std::move(about);
  int64_t at = 0;
  const auto add_row = [&](const std::string& name, std::string_view dtype, const std::vector<int64_t>& shape,
                           int64_t bytes) {
    header[name] = {{"dtype", dtype}, {"shape", shape}, {"data_offsets", {at, at + bytes}}};
    at += bytes;
  };
  for (const NativeEntry& entry : entries) {
    std::vector<int64_t> shape;
    if (entry.packed) {
      ONSIGHT_CHECK(at % kNativeAlignment == 0);
      shape = {entry.bytes()};
    } else {
      for (int i = 0; i < entry.shape.rank(); ++i) shape.push_back(entry.shape[i]);
    }
    add_row(entry.name, compute::info(entry.packed ? compute::DType::kU8 : entry.dtype).safetensors, shape,
            entry.bytes());
  }
  const auto rows = static_cast<int64_t>(entries.size()) + 1, width = static_cast<int64_t>(sizeof(Digest));
  add_row(std::string(kNativeChecksums), "U8", {rows, width}, rows * width);
  return safetensors_prefix(header, kNativeAlignment);
}

}  // namespace

int64_t NativeEntry::bytes() const {
  return packed ? compute::PackedMatrix::packed_bytes(*packed, shape[0], shape.elements() / shape[0])
                : compute::bytes_of(dtype, shape.elements());
}

Result<NativeWriter> NativeWriter::create(const Path& path, const std::map<std::string, std::string>& metadata,
                                          std::vector<NativeEntry> entries) {
  const std::string header = make_header(metadata, entries);
  TRY(AtomicFile file, AtomicFile::create(path));
  NativeWriter writer(std::move(file), std::move(entries));
  TRY_STATUS(writer.put(std::as_bytes(std::span(header))));
  add(writer.digests_, std::as_bytes(std::span(header)));
  return writer;
}

Status NativeWriter::append(std::span<const std::byte> bytes) {
  ONSIGHT_CHECK(next_ < entries_.size() && static_cast<int64_t>(bytes.size()) == entries_[next_].bytes());
  ++next_;
  add(digests_, bytes);
  return put(bytes);
}

Status NativeWriter::put(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const size_t n = std::min(bytes.size(), kHugePage - waiting_.size());
    waiting_.append(text_of(bytes.first(n)));
    bytes = bytes.subspan(n);
    if (waiting_.size() == kHugePage) TRY_STATUS(put_waiting());
  }
  return {};
}

Status NativeWriter::put_waiting() {
  TRY_STATUS(file_.append(waiting_));
  waiting_.clear();
  return {};
}

Status NativeWriter::finish(const std::function<Status(const Path& written)>& check) {
  ONSIGHT_CHECK(next_ == entries_.size());
  TRY_STATUS(put(digests_));
  TRY_STATUS(put_waiting());
  if (check) TRY_STATUS(check(file_.temporary()));
  return file_.commit();
}

Status verify_native(const Path& path, ThreadPool& pool, const VerifyProgress& progress) {
  TRY(MappedFile file, MappedFile::open(path));
  TRY(NativeContents contents, read_native(file.bytes(), path.string()));
  const auto total = static_cast<int64_t>(file.bytes().size());
  int64_t done = 0;
  // A few tensors at a time, so that the caller hears of it.
  const size_t step = static_cast<size_t>(pool.threads()) * 4;
  for (size_t begin = 0; begin < contents.sums.size(); begin += step) {
    if (progress && !progress(done, total)) return make_error(ErrorCode::kInterrupted, "interrupted");
    const size_t n = std::min(step, contents.sums.size() - begin);
    std::vector<char> wrong(n);
    pool.run(static_cast<int64_t>(n), [&](int64_t i, int) {
      const NativeContents::Sum& sum = contents.sums[begin + static_cast<size_t>(i)];
      const Digest found = Sha256::of(sum.bytes);
      wrong[static_cast<size_t>(i)] = !std::equal(found.begin(), found.end(), sum.digest.begin());
    });
    for (size_t i = 0; i < n; ++i) {
      const NativeContents::Sum& sum = contents.sums[begin + i];
      if (wrong[i])
        return bad_input("{}: tensor '{}': its checksum differs, expected the bytes that were written", path.string(),
                         sum.name);
      done += static_cast<int64_t>(sum.bytes.size());
    }
  }
  if (progress) progress(total, total);
  return {};
}

std::string native_file_name(std::string_view file) { return std::string(kNativeFiles) + std::string(file); }

bool is_native_name(const Path& path) {
  return strcasecmp(path.extension().c_str(), std::string(kNativeExtension).c_str()) == 0;
}

}  // namespace onsight::formats
