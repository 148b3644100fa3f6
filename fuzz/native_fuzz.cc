// Whatever the bytes are, reading a native file ends in views that lie inside them or in an error.
#include <algorithm>
#include <cstdlib>
#include <vector>

#include "formats/native.h"
#include "formats/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace onsight;
  std::vector<std::byte> file(size);
  std::transform(data, data + size, file.begin(), [](uint8_t byte) { return static_cast<std::byte>(byte); });
  // The fuzzer cannot guess the header's checksum.
  if (auto header = formats::read_safetensors(file, "fuzz"); header)
    if (auto sums = header->tensors.find(formats::kNativeChecksums); sums != header->tensors.end()) {
      size_t length = 0;
      for (size_t i = 0; i < 8; ++i) length |= static_cast<size_t>(data[i]) << (8 * i);
      const Digest digest = Sha256::of(std::span(file).first(8 + length));
      const size_t room = std::min(digest.size(), static_cast<size_t>(sums->second.bytes()));
      std::copy_n(digest.begin(), room, file.begin() + (sums->second.data - file.data()));
    }
  Result<formats::NativeContents> contents = formats::read_native(file, "fuzz");
  if (!contents) return 0;
  unsigned sum = 0;
  const auto read = [&sum](const std::byte* bytes, size_t n) {
    for (size_t i = 0; i < n; ++i) sum += std::to_integer<unsigned>(bytes[i]);  // the sanitizer watches
  };
  for (const auto& [name, tensor] : contents->tensors) read(tensor.data, static_cast<size_t>(tensor.bytes()));
  for (const auto& [name, packed] : contents->packed) {
    read(packed.data, static_cast<size_t>(packed.bytes()));
    const auto matrix = compute::PackedMatrix::view(packed.format, packed.shape[0], packed.inputs(), packed.data);
    if ((packed.data - file.data()) % 64 == 0 && matrix.bytes() != packed.bytes()) std::abort();
  }
  for (const auto& [name, bytes] : contents->files)
    read(reinterpret_cast<const std::byte*>(bytes.data()), bytes.size());
  for (const auto& row : contents->sums) read(row.digest.data(), row.digest.size());
  if (sum == 1) std::abort();  // so that the reads stay
  return 0;
}
