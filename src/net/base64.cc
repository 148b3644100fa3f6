#include "net/base64.h"

#include <array>

#include "net/http.h"

namespace onsight::net {
namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr int8_t kNone = -1, kBlank = -2;

constexpr std::array<int8_t, 256> make_values() {
  std::array<int8_t, 256> values{};
  for (auto& value : values) value = kNone;
  for (size_t i = 0; i < kAlphabet.size(); ++i)
    values[static_cast<unsigned char>(kAlphabet[i])] = static_cast<int8_t>(i);
  values['-'] = 62;
  values['_'] = 63;
  for (const char blank : {' ', '\t', '\r', '\n'}) values[static_cast<unsigned char>(blank)] = kBlank;
  return values;
}
constexpr std::array<int8_t, 256> kValues = make_values();

}  // namespace

std::string base64_encode(std::string_view bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t n = std::min<size_t>(3, bytes.size() - i);
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k) group = group << 8 | (k < n ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (size_t k = 0; k < 4; ++k) out += k <= n ? kAlphabet[group >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

Result<std::string> base64_decode(std::string_view text, std::string_view where) {
  std::string out;
  out.reserve(text.size() / 4 * 3 + 3);
  uint32_t bits = 0;
  int held = 0;
  size_t digits = 0, i = 0;
  for (; i < text.size() && text[i] != '='; ++i) {
    const int8_t value = kValues[static_cast<unsigned char>(text[i])];
    if (value == kBlank) continue;
    if (value == kNone) return bad_input("{}: expected base64, found another character at {}", where, i);
    bits = bits << 6 | static_cast<uint32_t>(value);
    held += 6;
    ++digits;
    if (held >= 8) {
      held -= 8;
      out += static_cast<char>(bits >> held & 0xff);
    }
  }
  size_t padding = 0;
  for (; i < text.size(); ++i) {
    if (text[i] == '=')
      ++padding;
    else if (kValues[static_cast<unsigned char>(text[i])] != kBlank)
      return bad_input("{}: expected nothing behind the '=' of base64, found a character at {}", where, i);
  }
  if (digits % 4 == 1 || (padding != 0 && (digits + padding) % 4 != 0) || padding > 2)
    return bad_input("{}: expected base64, found one that is cut off", where);
  return out;
}

bool is_data_url(std::string_view url) { return equal_ignoring_case(url.substr(0, 5), "data:"); }

Result<DataUrl> parse_data_url(std::string_view url, std::string_view where) {
  if (!is_data_url(url)) return bad_input("{}: expected a data: URL", where);
  url.remove_prefix(5);
  const size_t comma = url.find(',');
  if (comma == std::string_view::npos) return bad_input("{}: expected a comma in the data: URL", where);
  const std::string_view head = url.substr(0, comma);
  constexpr std::string_view kBase64 = ";base64";
  if (head.size() < kBase64.size() || !equal_ignoring_case(head.substr(head.size() - kBase64.size()), kBase64))
    return bad_input("{}: expected a data: URL in base64, as data:image/png;base64,…", where);
  DataUrl out;
  out.type = head.substr(0, head.find(';'));
  TRY(out.bytes, base64_decode(url.substr(comma + 1), where));
  return out;
}

}  // namespace onsight::net
