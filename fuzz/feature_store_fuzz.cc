// Whatever the bytes are, a file of the feature cache is refused or holds what its checksum says.
#include <cstdlib>
#include <cstring>

#include "engine/feature_store.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace onsight;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  Digest key{};
  constexpr size_t kKeyAt = sizeof("onsight features 1\n") - 1;
  if (size >= kKeyAt + key.size()) std::memcpy(key.data(), data + kKeyAt, key.size());
  Result<std::string_view> payload = engine::read_record(bytes, key);
  if (payload && engine::make_record(key, *payload) != bytes) std::abort();
  // The same bytes in a record come back; with one of them changed they do not.
  std::string record = engine::make_record(key, bytes);
  payload = engine::read_record(record, key);
  if (!payload || *payload != bytes) std::abort();
  record[size % record.size()] ^= 1;
  if (engine::read_record(record, key)) std::abort();
  return 0;
}
