// What an agent sends to the broker: a head, its target, its body in pieces, and the greeting of a tunnel. Whatever is
// accepted is the same when it has been written and read again.
#include <cstdlib>
#include <string>
#include <string_view>

#include "agents/broker/allow_list.h"
#include "agents/broker/conversation.h"
#include "agents/broker/credentials.h"
#include "agents/broker/head.h"

namespace onsight::agents::broker {
namespace {

constexpr std::string_view kPlaceholder = "sk-placeholder";

void expect(bool good) {
  if (!good) std::abort();
}

void judge(const Url& url) {
  expect(!url.at.host.empty() && url.at.port > 0 && url.at.port < 65536);
  expect(url.at.host.find_first_of("@/%?#\\ \r\n") == std::string::npos);
  expect((url.path + "/").find("/../") == std::string::npos && url.path.starts_with('/'));
  const std::string target = url.target();
  expect(target.find_first_of(" \r\n") == std::string::npos);
  const auto again = parse_url(url.scheme + "://" + url.at.text(url.usual_port()) + target);
  expect(again && again->at == url.at && again->path == url.path && again->target() == target);
  config::AllowRule rule;
  rule.host = "*.example.org";
  rule.path = "/a/*";
  if (allowed_by({rule}, "GET", url)) {
    expect(url.at.host.ends_with(".example.org") && !url.at.address && url.path.starts_with("/a/"));
    expect(url.path.find('/', 3) == std::string::npos && url.path.find("%2F") == std::string::npos);
  }
}

void talk(std::string_view bytes) {
  const size_t end = head_end(bytes);
  if (end == 0) return;
  const auto head = parse_request_head(bytes.substr(0, end));
  (void)parse_response_head(bytes.substr(0, end), false);
  if (!head) return;
  const int lengths = head->headers.count("Content-Length"), codings = head->headers.count("Transfer-Encoding");
  expect(lengths + codings <= 1 && head->headers.count("Host") == 1);
  for (const auto& [name, value] : head->headers.fields)
    expect((name + value).find_first_of("\r\n") == std::string::npos);
  if (check_credentials(head->headers, "", kPlaceholder))
    for (const auto& [name, value] : head->headers.fields)
      expect(!is_credential(name) || value.find(kPlaceholder) != std::string::npos);
  for (const auto& [name, value] : forwarded_headers(head->headers, false).fields)
    expect(!is_credential(name) && !net::equal_ignoring_case(name, "Host") && !is_hop_by_hop(name, head->headers));
  // In one piece and byte by byte a body is the same.
  bytes.remove_prefix(end);
  std::string whole, pieces;
  BodyReader at_once(head->body, head->length), slowly(head->body, head->length);
  const auto used = at_once.feed(bytes, whole);
  std::string held;
  bool failed = false;
  size_t taken = 0;
  for (size_t i = 0; i < bytes.size() && !slowly.done() && !failed; ++i) {
    held += bytes[i];
    const auto n = slowly.feed(held, pieces);
    failed = !n;
    if (n) held.erase(0, *n);
    if (n) taken += *n;
  }
  expect(failed == !used);
  if (used) expect(whole == pieces && taken == *used && at_once.done() == slowly.done());
  expect(whole.size() <= bytes.size());
}

}  // namespace
}  // namespace onsight::agents::broker

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace onsight::agents::broker;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (size > (64 << 10)) return 0;
  talk(bytes);
  if (const auto url = parse_url(bytes)) judge(*url);
  (void)parse_authority(bytes, 443);
  if (const auto query = upstream_query(bytes, "gemini")) expect(query->find("key=") == std::string::npos);
  if (const auto name = server_name_of(bytes); name && *name) expect((*name)->size() < size);
  return 0;
}
