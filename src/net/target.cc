#include "net/target.h"

#include <algorithm>
#include <optional>

namespace onsight::net {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<std::string> decoded(std::string_view text, bool plus_is_space) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
      if (high < 0 || low < 0) return {};
      out += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      out += plus_is_space && text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

// Well-formed UTF-8 without control characters.
bool is_clean(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x20 || byte == 0x7f) return false;
    const size_t length = byte < 0x80                   ? 1
                          : byte >= 0xc2 && byte < 0xe0 ? 2
                          : byte >= 0xe0 && byte < 0xf0 ? 3
                          : byte >= 0xf0 && byte < 0xf5 ? 4
                                                        : 0;
    if (length == 0 || i + length > text.size()) return false;
    uint32_t code = length == 1 ? byte : byte & (0x7f >> length);
    for (size_t k = 1; k < length; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if ((next & 0xc0) != 0x80) return false;
      code = code << 6 | (next & 0x3f);
    }
    constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
    if (code < kLeast[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return false;
    i += length;
  }
  return true;
}

bool is_name(std::string_view text) {
  return !text.empty() && text != "." && text != ".." && text.find('\\') == std::string_view::npos;
}

// Where the first encoded slash stands; npos without one.
size_t find_slash(std::string_view segment) { return std::min(segment.find("%2F"), segment.find("%2f")); }

// A segment of a path, in which encoded slashes stay what they are: nobody takes what is around them for segments.
// Between them are names too.
Status append_segment(std::string_view raw, bool last, std::string& path) {
  path += '/';
  if (raw.empty() && last) return {};
  for (;;) {
    const size_t slash = find_slash(raw);
    const auto name = decoded(raw.substr(0, slash), /*plus_is_space=*/false);
    if (!name || !is_clean(*name)) return bad_input("the path of the request: expected percent-encoded UTF-8");
    // Encoded twice, it would be an encoded slash now.
    if (!is_name(*name) || find_slash(*name) != std::string::npos)
      return bad_input("the path of the request: expected names between slashes, found '{}'", *name);
    path += *name;
    if (slash == std::string_view::npos) return {};
    path += kEncodedSlash;
    raw.remove_prefix(slash + kEncodedSlash.size());
  }
}

// Leaves what was understood in `path`: whole segments.
Status read_path(std::string_view raw, std::string& path) {
  while (!raw.empty()) {
    raw.remove_prefix(1);  // the slash
    const size_t end = raw.find('/'), begin = path.size();
    const bool last = end == std::string_view::npos;
    if (Status read = append_segment(raw.substr(0, end), last, path); !read) {
      path.resize(begin + 1);
      return read;
    }
    raw = last ? std::string_view() : raw.substr(end);
  }
  return {};
}

}  // namespace

Result<Target> parse_target(std::string_view target) {
  Target out;
  TRY_STATUS(read_target(target, out));
  return out;
}

Result<Authority> parse_authority(std::string_view text, std::string_view scheme) {
  constexpr size_t kMaxHostBytes = 253;
  const auto refused = [&] {
    return bad_input("the host of the request: expected HOST or HOST:PORT, found '{}'", text);
  };
  Authority out;
  out.port = scheme == "http" ? 80 : scheme == "https" ? 443 : 0;
  std::string_view host = text, port;
  bool has_port = false;
  const bool v6 = text.starts_with('[');
  const size_t close = v6 ? text.find(']') : 0;
  if (close == std::string_view::npos) return refused();
  if (const size_t colon = text.find(':', close); colon != std::string_view::npos) {
    if (v6 && colon != close + 1) return refused();
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    has_port = true;
  }
  if (v6) {
    if (host.size() != close + 1) return refused();
    host = host.substr(1, close - 1);
    if (host.find(':') == std::string_view::npos) return refused();
  }
  if (host.empty() || host.size() > kMaxHostBytes) return refused();
  for (const char c : host) {
    const char low = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    const bool digit = low >= '0' && low <= '9', letter = low >= 'a' && low <= 'z';
    const bool fits = v6 ? digit || (low >= 'a' && low <= 'f') || low == ':' || low == '.'
                         : digit || letter || low == '-' || low == '.' || low == '_';
    if (!fits) return refused();
    out.host += low;
  }
  if (!v6 && (out.host.front() == '.' || out.host.find("..") != std::string::npos)) return refused();
  if (!has_port) return out;
  if (port.empty() || port.size() > 5) return refused();
  out.port = 0;
  for (const char c : port) {
    if (c < '0' || c > '9') return refused();
    out.port = out.port * 10 + (c - '0');
  }
  if (out.port < 1 || out.port > 65535) return refused();
  return out;
}

Status read_target(std::string_view target, Target& out) {
  out = {};
  if (target == "*") {
    out.path = target;
    return {};
  }
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!target.starts_with(scheme)) continue;
    const size_t slash = target.find_first_of("/?", scheme.size());
    target = slash == std::string_view::npos ? std::string_view("/") : target.substr(slash);
  }
  const size_t mark = target.find('?');
  const std::string_view raw = target.substr(0, mark);
  if (!raw.starts_with('/')) return bad_input("the target of the request: expected a path that begins with /");
  TRY_STATUS(read_path(raw, out.path));
  std::string_view rest = mark == std::string_view::npos ? std::string_view() : target.substr(mark + 1);
  rest = rest.substr(0, rest.find('#'));
  while (!rest.empty()) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
    if (pair.empty()) continue;
    const size_t equals = pair.find('=');
    const auto key = decoded(pair.substr(0, equals), true);
    const auto value = decoded(equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1), true);
    if (!key || !value || !is_clean(*key) || !is_clean(*value))
      return bad_input("the query of the request: expected percent-encoded UTF-8");
    out.query.emplace_back(*key, *value);
  }
  return {};
}

}  // namespace onsight::net
