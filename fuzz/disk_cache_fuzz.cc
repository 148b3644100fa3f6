// Whatever the bytes are, a file of the cache is refused or holds what its checksum says.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "engine/disk_cache.h"

namespace {

using namespace onsight;
using Bytes = std::vector<std::byte>;

// The payload of a file that was written for the key; nothing if it is refused.
bool read(const Bytes& file, const Digest& key, std::span<std::byte> payload) {
  const std::span<std::byte> parts[] = {payload.first(payload.size() / 3), payload.subspan(payload.size() / 3)};
  size_t at = 0;
  const bool read = engine::read_record(key, parts, [&](std::span<std::byte> out) {
    if (file.size() - at < out.size()) return false;
    std::copy_n(file.begin() + static_cast<ptrdiff_t>(at), out.size(), out.begin());
    at += out.size();
    return true;
  });
  return read && at == file.size();
}

Bytes write(const Digest& key, std::span<const std::byte> payload) {
  Bytes file;
  const std::span<const std::byte> parts[] = {payload};
  engine::write_record(key, parts, [&](std::span<const std::byte> bytes) {
    file.insert(file.end(), bytes.begin(), bytes.end());
    return true;
  });
  return file;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  Digest key{};
  constexpr size_t kKeyAt = sizeof("onsight cache 1\n") - 1;
  if (size >= kKeyAt + key.size()) std::memcpy(key.data(), data + kKeyAt, key.size());
  const auto frame = static_cast<size_t>(engine::record_bytes(0));
  Bytes payload(size > frame ? size - frame : 0);
  const Bytes file(bytes.begin(), bytes.end());
  if (read(file, key, payload) && write(key, payload) != file) std::abort();
  // The same bytes in a file come back; with one of them changed they do not.
  Bytes record = write(key, bytes);
  payload.resize(size);
  if (!read(record, key, payload) || !std::equal(payload.begin(), payload.end(), bytes.begin())) std::abort();
  record[size % record.size()] ^= std::byte{1};
  if (read(record, key, payload)) std::abort();
  return 0;
}
