// The alphabet in which byte-level vocabularies are written: one printable character for each byte.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "text/utf8.h"

namespace onsight::text {

struct ByteAlphabet {
  std::array<uint32_t, 256> code{};   // of each byte
  std::array<int16_t, 0x144> byte{};  // of each code point, or -1

  constexpr ByteAlphabet() {
    for (auto& b : byte) b = -1;
    uint32_t next = 0x100;  // bytes without a printable character of their own take these in order
    for (uint32_t b = 0; b < 256; ++b) {
      bool printable = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
      code[b] = printable ? b : next++;
      byte[code[b]] = static_cast<int16_t>(b);
    }
  }
};
inline constexpr ByteAlphabet kByteAlphabet;

inline void append_alphabet_char(std::string& out, unsigned char byte) { append_utf8(out, kByteAlphabet.code[byte]); }

// Appends the bytes that a token (valid UTF-8) stands for: the token itself if one of its characters is not in the
// alphabet.
inline void append_token_bytes(std::string& out, std::string_view token) {
  size_t start = out.size();
  for (const char* p = token.data(); p < token.data() + token.size();) {
    uint32_t code = next_code_point(p);
    int byte = code < kByteAlphabet.byte.size() ? kByteAlphabet.byte[code] : -1;
    if (byte < 0) {
      out.resize(start);
      out.append(token);
      return;
    }
    out.push_back(static_cast<char>(byte));
  }
}

}  // namespace onsight::text
