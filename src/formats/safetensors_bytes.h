// Files for the tests of readers.
#pragma once

#include <string>
#include <string_view>

namespace onsight::formats {

// A safetensors file of this header, right or wrong, and this data.
inline std::string safetensors_bytes(std::string_view header, std::string_view data) {
  std::string out(8, '\0');
  for (size_t i = 0; i < 8; ++i) out[i] = static_cast<char>(header.size() >> (8 * i));
  return out.append(header).append(data);
}

}  // namespace onsight::formats
