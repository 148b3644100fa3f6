#include "agents/broker/allow_list.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <optional>

#include "net/http.h"
#include "net/target.h"

namespace onsight::agents::broker {
namespace {

constexpr size_t kMaxHost = 253, kMaxLabel = 63;

template <class... Args>
tl::unexpected<Error> bad_target(fmt::format_string<Args...> format, Args&&... args) {
  auto out = bad_input(format, std::forward<Args>(args)...);
  out.value().reason = "bad_request";
  return out;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string lower_case(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

// Whoever reads it as an address reads this one; null where it is none.
std::optional<std::string> ipv4_of(std::string_view text) {
  in_addr address{};
  std::array<char, INET_ADDRSTRLEN> back{};
  if (::inet_pton(AF_INET, std::string(text).c_str(), &address) != 1) return {};
  return std::string(::inet_ntop(AF_INET, &address, back.data(), back.size())) == text
             ? std::optional(std::string(text))
             : std::nullopt;
}

std::optional<std::string> ipv6_of(std::string_view text) {
  in6_addr address{};
  std::array<char, INET6_ADDRSTRLEN> back{};
  if (text.find('%') != std::string_view::npos || ::inet_pton(AF_INET6, std::string(text).c_str(), &address) != 1)
    return {};
  return std::string(::inet_ntop(AF_INET6, &address, back.data(), back.size()));
}

// WHATWG: a host whose last label is a number is an address for somebody.
bool ends_in_number(std::string_view host) {
  const std::string_view last = host.substr(host.rfind('.') + 1);
  if (!last.empty() && std::all_of(last.begin(), last.end(), is_digit)) return true;
  return last.starts_with("0x");
}

Status check_labels(std::string_view host) {
  if (host.empty() || host.size() > kMaxHost)
    return bad_target("the host: expected a name of at most {} characters", kMaxHost);
  size_t begin = 0;
  for (size_t i = 0; i <= host.size(); ++i) {
    if (i < host.size() && host[i] != '.') {
      const char c = host[i];
      if (!((c >= 'a' && c <= 'z') || is_digit(c) || c == '-' || c == '_'))
        return bad_target("the host: expected letters, digits, '-', '_' and '.' alone");
      continue;
    }
    if (i == begin || i - begin > kMaxLabel) return bad_target("the host: expected names between its dots");
    begin = i + 1;
  }
  return {};
}

Result<int> parse_port(std::string_view text) {
  if (text.empty() || text.size() > 5 || !std::all_of(text.begin(), text.end(), is_digit) || text.front() == '0')
    return bad_target("the port: expected a number from 1 to 65535");
  int out = 0;
  for (const char c : text) out = out * 10 + (c - '0');
  if (out > 65535) return bad_target("the port: expected a number from 1 to 65535");
  return out;
}

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) ||
         std::string_view("-._~").find(c) != std::string_view::npos;
}

void append_encoded(std::string& out, char c) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  const auto byte = static_cast<unsigned char>(c);
  out += '%';
  out += kHex[byte >> 4];
  out += kHex[byte & 15];
}

bool host_matches(const config::AllowRule& rule, const Authority& at) {
  std::string pattern = lower_case(rule.host);
  if (pattern.size() > 2 && pattern.front() == '[' && pattern.back() == ']')
    pattern = pattern.substr(1, pattern.size() - 2);
  if (pattern.size() > 1 && pattern.back() == '.') pattern.pop_back();
  if (at.v6) {
    const auto address = ipv6_of(pattern);
    return address && *address == at.host;
  }
  // A pattern never stands for an address: "**" says "any name".
  if (at.address) return pattern == at.host;
  return matches_pattern(pattern, at.host, '.');
}

}  // namespace

std::string Authority::text(int usual_port) const {
  std::string out = v6 ? "[" + host + "]" : host;
  if (port != usual_port) out += ":" + std::to_string(port);
  return out;
}

std::string Url::target() const { return encode_path(path) + (has_query ? "?" + query : ""); }

Result<Authority> parse_authority(std::string_view text, int usual_port) {
  Authority out;
  out.port = usual_port;
  std::string_view host = text;
  size_t colon = text.rfind(':');
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    if (end == std::string_view::npos) return bad_target("the host: expected ']' behind an IPv6 address");
    const auto address = ipv6_of(text.substr(1, end - 1));
    if (!address) return bad_target("the host: expected an IPv6 address between brackets");
    out.host = *address;
    out.address = out.v6 = true;
    colon = end + 1 < text.size() ? end + 1 : std::string_view::npos;
    if (colon != std::string_view::npos && text[colon] != ':')
      return bad_target("the host: expected a port behind ']'");
  } else {
    host = text.substr(0, colon);
    std::string name = lower_case(host);
    if (name.size() > 1 && name.back() == '.') name.pop_back();
    TRY_STATUS(check_labels(name));
    out.address = ipv4_of(name).has_value();
    if (!out.address && ends_in_number(name))
      return bad_target("the host: expected a name, or an IPv4 address of four numbers");
    if (out.address && host.back() == '.') return bad_target("the host: expected no dot behind an address");
    out.host = std::move(name);
  }
  if (colon != std::string_view::npos) {
    TRY(out.port, parse_port(text.substr(colon + 1)));
  }
  if (out.port == 0) return bad_target("the host: expected a port behind it");
  return out;
}

Status parse_path(std::string_view target, Url& out) {
  if (!std::all_of(target.begin(), target.end(), [](char c) { return c > 0x20 && c < 0x7f; }))
    return bad_target("the target: expected printable ASCII");
  if (target.find('#') != std::string_view::npos) return bad_target("the target: expected no fragment");
  const size_t mark = target.find('?');
  const auto parsed = net::parse_target(target);
  if (!parsed) {
    Error error = parsed.error();
    error.reason = "bad_request";
    return tl::unexpected<Error>(std::move(error));
  }
  if (!parsed->path.starts_with('/')) return bad_target("the target: expected a path");
  out.path = parsed->path;
  out.has_query = mark != std::string_view::npos;
  out.query = out.has_query ? std::string(target.substr(mark + 1)) : std::string();
  return {};
}

Result<Url> parse_url(std::string_view text) {
  Url out;
  const size_t colon = text.find("://");
  if (colon == std::string_view::npos) return bad_target("the target: expected a URL");
  out.scheme = lower_case(text.substr(0, colon));
  if (out.scheme != "http" && out.scheme != "https") return bad_target("the target: expected http or https");
  text.remove_prefix(colon + 3);
  const size_t slash = std::min(text.find_first_of("/?#\\"), text.size());
  const std::string_view authority = text.substr(0, slash);
  if (authority.find('@') != std::string_view::npos) return bad_target("the target: expected no user in a URL");
  TRY(out.at, parse_authority(authority, out.usual_port()));
  text.remove_prefix(slash);
  const std::string path = text.starts_with('/') ? std::string(text) : "/" + std::string(text);
  TRY_STATUS(parse_path(path, out));
  return out;
}

std::string encode_path(std::string_view decoded) {
  std::string out;
  for (size_t i = 0; i < decoded.size(); ++i) {
    const char c = decoded[i];
    const bool slash = decoded.substr(i, net::kEncodedSlash.size()) == net::kEncodedSlash;
    if (is_plain(c) || slash || std::string_view("/!$&'()*+,;=:@").find(c) != std::string_view::npos)
      out += c;
    else
      append_encoded(out, c);
  }
  return out;
}

std::string encode_query(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (is_plain(c))
      out += c;
    else
      append_encoded(out, c);
  }
  return out;
}

bool matches_pattern(std::string_view pattern, std::string_view text, char stop) {
  // reached[i]: the pattern so far stands for the first i characters of the text.
  std::vector<char> reached(text.size() + 1, 0);
  reached[0] = 1;
  for (size_t p = 0; p < pattern.size(); ++p) {
    if (pattern[p] != '*') {
      for (size_t i = text.size(); i > 0; --i)
        reached[i] = static_cast<char>(reached[i - 1] && text[i - 1] == pattern[p]);
      reached[0] = 0;
      continue;
    }
    const bool any = p + 1 < pattern.size() && pattern[p + 1] == '*';
    if (any) ++p;
    // An encoded slash is one for some servers: `*` does not stand for it either.
    for (size_t i = 1; i <= text.size(); ++i)
      if (reached[i - 1] && (any || (text[i - 1] != stop && !text.substr(i - 1).starts_with(net::kEncodedSlash))))
        reached[i] = 1;
  }
  return reached[text.size()] != 0;
}

const config::AllowRule* allowed_by(const std::vector<config::AllowRule>& rules, std::string_view method,
                                    const Url& url) {
  if (method == "CONNECT" || method == "TRACE" || method == "TRACK") return nullptr;
  for (const config::AllowRule& rule : rules) {
    if (!rule.method.empty() && rule.method != method) continue;
    if (url.at.port != (rule.port == 0 ? url.usual_port() : rule.port) || !host_matches(rule, url.at)) continue;
    if (rule.path.empty() || matches_pattern(rule.path, url.path, '/')) return &rule;
  }
  return nullptr;
}

const config::AllowRule* tunnel_allowed_by(const std::vector<config::AllowRule>& rules, const Authority& to) {
  for (const config::AllowRule& rule : rules)
    if (rule.method == "CONNECT" && to.port == (rule.port == 0 ? 443 : rule.port) && host_matches(rule, to))
      return &rule;
  return nullptr;
}

bool names_private_host(std::string_view host) {
  const auto parsed =
      parse_authority(host.find(':') != std::string_view::npos && !host.starts_with('[') ? "[" + std::string(host) + "]"
                                                                                         : std::string(host),
                      80);
  return parsed && (parsed->address || parsed->host == "localhost");
}

}  // namespace onsight::agents::broker
