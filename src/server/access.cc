#include "server/access.h"

#include <algorithm>
#include <array>

namespace onsight::server {
namespace {

std::string_view without_port(std::string_view host) {
  if (host.starts_with('[')) {
    const size_t close = host.find(']');
    return close == std::string_view::npos ? host : host.substr(1, close - 1);
  }
  return host.substr(0, host.find(':'));
}

bool ends_ignoring_case(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && net::equal_ignoring_case(text.substr(text.size() - end.size()), end);
}

constexpr std::string_view kBearer = "Bearer ";

// In the order of ApiKey::opens; empty where there is none.
std::array<std::string_view, 4> keys_of(const net::HttpRequest& request) {
  std::string_view bearer = request.headers.get("Authorization");
  bearer = net::equal_ignoring_case(bearer.substr(0, kBearer.size()), kBearer) ? bearer.substr(kBearer.size())
                                                                               : std::string_view();
  return {bearer, request.headers.get("x-api-key"), request.headers.get("x-goog-api-key"), request.query_value("key")};
}

}  // namespace

bool has_key(const net::HttpRequest& request) {
  const auto keys = keys_of(request);
  return std::any_of(keys.begin(), keys.end(), [](std::string_view key) { return !key.empty(); });
}

bool ApiKey::equals(std::string_view key) const {
  const Digest digest = sha256(key);
  unsigned difference = 0;
  for (size_t i = 0; i < digest.size(); ++i) difference |= std::to_integer<unsigned>(digest[i] ^ wanted_[i]);
  return difference == 0;
}

bool ApiKey::opens(const net::HttpRequest& request) const {
  bool open = false;
  for (const std::string_view key : keys_of(request)) open |= equals(key);
  return open;
}

bool is_loopback(std::string_view address) {
  if (address == "localhost" || address == "::1") return true;
  return address.starts_with("127.") && address.find_first_not_of("0123456789.") == std::string_view::npos;
}

bool names_this_machine(std::string_view field, std::string_view host) {
  const std::string_view name = without_port(field);
  return is_loopback(name) || net::equal_ignoring_case(name, "localhost") || ends_ignoring_case(name, ".localhost") ||
         net::equal_ignoring_case(name, host);
}

bool same_origin(std::string_view origin, std::string_view host) {
  const size_t scheme = origin.find("://");
  return scheme != std::string_view::npos && net::equal_ignoring_case(origin.substr(scheme + 3), host);
}

}  // namespace onsight::server
