// UTF-8: repair what came from outside, then walk it without further checks.
//
//   std::string text = replace_invalid_utf8(bytes);
//   for (const char* p = text.data(); p < text.data() + text.size();) use(next_code_point(p));
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace onsight::text {

// Length of the well-formed sequence at the start of `bytes` (not empty), or minus the length of the ill-formed part
// that one U+FFFD stands for (a lead byte and the continuation bytes that could follow it, as Python and Rust count
// them).
int utf8_sequence(std::string_view bytes);

bool is_utf8(std::string_view bytes);
std::string replace_invalid_utf8(std::string_view bytes);

void append_utf8(std::string& out, uint32_t code);

// Reads the code point at p of valid UTF-8 and moves p behind it.
inline uint32_t next_code_point(const char*& p) {
  auto byte = [&](int i) { return static_cast<uint32_t>(static_cast<unsigned char>(p[i])); };
  uint32_t code = byte(0);
  if (code < 0x80) {
    p += 1;
  } else if (code < 0xe0) {
    code = (code & 0x1f) << 6 | (byte(1) & 0x3f);
    p += 2;
  } else if (code < 0xf0) {
    code = (code & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f);
    p += 3;
  } else {
    code = (code & 0x07) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f);
    p += 4;
  }
  return code;
}

// Reads the code point that ends at p of valid UTF-8; `begin` < p is where the text starts.
inline uint32_t previous_code_point(const char* begin, const char* p) {
  do --p;
  while (p > begin && (static_cast<unsigned char>(*p) & 0xc0) == 0x80);
  return next_code_point(p);
}

}  // namespace onsight::text
