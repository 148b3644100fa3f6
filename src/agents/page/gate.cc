#include "agents/page/gate.h"

#include <sys/random.h>

#include <array>
#include <cerrno>

#include "agents/page/answers.h"
#include "base/check.h"

namespace onsight::agents::page {
namespace {

constexpr std::string_view kBearerPrefix = "Bearer ";

std::string_view cookie_of(const net::HttpRequest& head, std::string_view name) {
  std::string_view rest = head.headers.get("Cookie");
  while (!rest.empty()) {
    std::string_view one = rest.substr(0, rest.find(';'));
    rest.remove_prefix(std::min(rest.size(), one.size() + 1));
    while (one.starts_with(' ')) one.remove_prefix(1);
    if (one.size() > name.size() && one.starts_with(name) && one[name.size()] == '=')
      return one.substr(name.size() + 1);
  }
  return {};
}

std::string_view bearer_of(const net::HttpRequest& head) {
  const std::string_view field = head.headers.get("Authorization");
  return net::equal_ignoring_case(field.substr(0, kBearerPrefix.size()), kBearerPrefix)
             ? field.substr(kBearerPrefix.size())
             : std::string_view();
}

}  // namespace

std::string random_token() {
  std::array<std::byte, 32> bytes{};
  for (size_t got = 0; got < bytes.size();) {
    const ssize_t n = ::getrandom(bytes.data() + got, bytes.size() - got, 0);
    ONSIGHT_CHECK(n > 0 || errno == EINTR);
    if (n > 0) got += static_cast<size_t>(n);
  }
  return to_hex(bytes);
}

std::string Gate::url() const { return fmt::format("http://127.0.0.1:{}/?token={}", port_, token_); }

// Cookies know no ports: the name tells two servers of one machine apart.
std::string Gate::cookie_name() const { return fmt::format("onsight_agents_{}", port_); }

bool Gate::is_own_host(std::string_view host) const {
  for (const std::string_view name : {"127.0.0.1", "localhost"}) {
    if (net::equal_ignoring_case(host, fmt::format("{}:{}", name, port_))) return true;
    if (port_ == 80 && net::equal_ignoring_case(host, name)) return true;
  }
  return false;
}

// In a time that says nothing of how much of it was right.
bool Gate::is_token(std::string_view text) const {
  const Digest digest = sha256(text);
  unsigned difference = 0;
  for (size_t i = 0; i < digest.size(); ++i) difference |= std::to_integer<unsigned>(digest[i] ^ wanted_[i]);
  return difference == 0;
}

bool Gate::is_login(const net::HttpRequest& head) const {
  return head.method == "GET" && head.path == "/" && is_token(head.query_value("token"));
}

std::string Gate::cookie() const {
  return fmt::format("{}={}; Path=/; HttpOnly; SameSite=Strict", cookie_name(), token_);
}

std::optional<net::HttpResponse> Gate::refuse(const net::HttpRequest& head) const {
  const std::string_view host = head.headers.get("Host");
  // Another site's name that was made to lead here.
  if (head.headers.count("Host") != 1 || !is_own_host(host))
    return refusal(head, 403,
                   fmt::format("Host: expected 127.0.0.1:{} or localhost:{}, found '{}'", port_, port_, host));
  const std::string* origin = head.headers.find("Origin");
  if (origin && !net::equal_ignoring_case(*origin, fmt::format("http://{}", host)))
    return refusal(head, 403, fmt::format("Origin: expected http://{}, found '{}'", host, *origin));
  const std::string_view site = head.headers.get("Sec-Fetch-Site");
  if (head.path != "/" && !site.empty() && site != "same-origin" && site != "none")
    return refusal(head, 403, fmt::format("Sec-Fetch-Site: expected same-origin, found '{}'", site));

  if (is_login(head)) return {};
  const std::string_view bearer = bearer_of(head);
  const bool by_header = !bearer.empty() && is_token(bearer);
  if (!by_header && !is_token(cookie_of(head, cookie_name())))
    return refusal(head, 401, "expected the address that `onsight agents serve` printed, with its token");
  // A page of another port of this machine is of the same site to a cookie, but not of the same origin.
  if (!by_header && !origin && head.method != "GET" && head.method != "HEAD")
    return refusal(head, 403, "Origin: expected that of this page, found none");
  return {};
}

}  // namespace onsight::agents::page
