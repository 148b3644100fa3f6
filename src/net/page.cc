#include "net/page.h"

#include <fmt/format.h>

#include "base/sha256.h"
#include "net/base64.h"

namespace onsight::net {
namespace {

std::string script_hashes(std::string_view page) {
  std::string out;
  for (size_t at = page.find("<script"); at != std::string_view::npos; at = page.find("<script", at)) {
    const size_t begin = page.find('>', at);
    const size_t end = page.find("</script", at);
    if (begin == std::string_view::npos || end == std::string_view::npos || begin > end) break;
    const Digest digest = sha256(page.substr(begin + 1, end - begin - 1));
    out += fmt::format(" 'sha256-{}'", base64_encode({reinterpret_cast<const char*>(digest.data()), digest.size()}));
    at = end;
  }
  return out.empty() ? " 'none'" : out;
}

}  // namespace

std::string content_security_policy(std::string_view page) {
  return "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src" + script_hashes(page) +
         "; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
}

Page::Page(std::string_view bytes)
    : bytes_(bytes), policy_(content_security_policy(bytes)), tag_(fmt::format("\"{:.32}\"", to_hex(sha256(bytes)))) {}

HttpResponse Page::respond(const HttpRequest& request) const {
  Headers headers = {{"Content-Type", "text/html; charset=utf-8"},
                     {"Content-Security-Policy", policy_},
                     {"Cache-Control", "no-cache"},
                     {"ETag", tag_},
                     {"Referrer-Policy", "no-referrer"}};
  if (request.headers.get("If-None-Match").find(tag_) != std::string_view::npos) return {304, std::move(headers), {}};
  return {200, std::move(headers), std::string(bytes_)};
}

}  // namespace onsight::net
