// Whatever the bytes are, reading a container ends in tensors that lie inside them or in an error.
#include <cstdlib>

#include "formats/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace onsight;
  std::span<const std::byte> file(reinterpret_cast<const std::byte*>(data), size);
  if (Result<formats::SafetensorsHeader> header = formats::read_safetensors(file, "fuzz"); header) {
    unsigned sum = 0;
    for (const auto& [name, tensor] : header->tensors)
      for (int64_t i = 0; i < tensor.bytes(); ++i)
        sum += std::to_integer<unsigned>(tensor.data[i]);  // the sanitizer watches
    if (sum == 1) std::abort();                            // so that the reads stay
  }
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (auto map = formats::read_safetensors_index(text, "fuzz"); map)
    for (const auto& [name, shard] : *map)
      if (shard.empty() || shard == ".." || shard.find('/') != std::string::npos) std::abort();
  return 0;
}
