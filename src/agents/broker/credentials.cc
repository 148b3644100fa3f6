#include "agents/broker/credentials.h"

#include <sodium.h>

#include <algorithm>
#include <array>

#include "net/target.h"

namespace onsight::agents::broker {
namespace {

constexpr std::array<std::string_view, 13> kCredentialHeaders = {"Authorization",
                                                                 "X-Api-Key",
                                                                 "X-Goog-Api-Key",
                                                                 "Api-Key",
                                                                 "Cookie",
                                                                 "Cookie2",
                                                                 "Proxy-Authorization",
                                                                 "X-Auth-Token",
                                                                 "X-Goog-Iam-Authorization-Token",
                                                                 "X-Amz-Security-Token",
                                                                 "X-Access-Token",
                                                                 "X-Csrf-Token",
                                                                 "X-Goog-AuthUser"};
constexpr std::array<std::string_view, 6> kCredentialNames = {"key",     "api_key",      "apikey",
                                                              "api-key", "access_token", "token"};
// They would make a request of a kind that nobody judged, bill another project, or lead elsewhere.
constexpr std::array<std::string_view, 6> kRefusedHeaders = {"X-HTTP-Method-Override", "X-HTTP-Method",
                                                             "X-Method-Override",      "X-Goog-User-Project",
                                                             "X-Original-URL",         "X-Rewrite-URL"};
constexpr std::array<std::string_view, 9> kDroppedHeaders = {
    "Host", "Content-Length",  "Expect",           "Accept-Encoding",  "Forwarded",
    "Via",  "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"};
constexpr std::array<std::string_view, 6> kDroppedFromAnswers = {
    "Content-Length", "Alt-Svc", "Strict-Transport-Security", "Public-Key-Pins", "Clear-Site-Data", "NEL"};

template <size_t N>
bool is_one_of(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::any_of(names.begin(), names.end(),
                     [&](std::string_view other) { return net::equal_ignoring_case(name, other); });
}

tl::unexpected<Error> refused_as(std::string_view reason, std::string message) {
  return tl::unexpected<Error>(Error{ErrorCode::kBadInput, std::move(message), {}, reason});
}

bool same_text(std::string_view a, std::string_view b) {
  return a.size() == b.size() && !a.empty() && sodium_memcmp(a.data(), b.data(), a.size()) == 0;
}

bool is_placeholder(std::string_view value, std::string_view placeholder) {
  constexpr std::string_view kBearer = "Bearer ";
  if (net::equal_ignoring_case(value.substr(0, kBearer.size()), kBearer)) value.remove_prefix(kBearer.size());
  return same_text(value, placeholder);
}

}  // namespace

bool is_credential(std::string_view header) { return is_one_of(kCredentialHeaders, header); }

Status check_credentials(const net::Headers& headers, std::string_view query, std::string_view placeholder) {
  for (const auto& [name, value] : headers.fields) {
    if (is_credential(name) && !is_placeholder(value, placeholder))
      return refused_as("placeholder",
                        fmt::format("the field {}: expected this agent's placeholder, found something else", name));
    if (is_one_of(kRefusedHeaders, name))
      return refused_as("not_allowed", fmt::format("the field {} is not let through", name));
  }
  const auto target = net::parse_target("/?" + std::string(query));
  if (!target) return refused_as("bad_request", "the query of the request: expected percent-encoded UTF-8");
  for (const auto& [name, value] : target->query)
    if (is_one_of(kCredentialNames, name) && !same_text(value, placeholder))
      return refused_as("placeholder", "the key in the query: expected this agent's placeholder, found something else");
  return {};
}

Status check_no_placeholder(const RequestHead& head, std::string_view placeholder) {
  if (placeholder.empty()) return {};
  const auto holds = [&](std::string_view text) { return text.find(placeholder) != std::string_view::npos; };
  bool found = holds(head.target);
  for (const auto& [name, value] : head.headers.fields)
    found = found || ((holds(value) || holds(name)) && !net::equal_ignoring_case(name, "Proxy-Authorization"));
  if (const auto target = net::parse_target(head.target); target)
    for (const auto& [name, value] : target->query) found = found || holds(name) || holds(value);
  if (found)
    return refused_as("placeholder", "the agent's placeholder is for its model alone, and goes to no other host");
  return {};
}

net::Headers forwarded_headers(const net::Headers& headers, bool credentials) {
  net::Headers out;
  for (const auto& [name, value] : headers.fields) {
    if (is_hop_by_hop(name, headers) || is_one_of(kDroppedHeaders, name) || (!credentials && is_credential(name)))
      continue;
    out.add(name, value);
  }
  return out;
}

net::Headers returned_headers(const net::Headers& headers, bool cookies) {
  net::Headers out;
  for (const auto& [name, value] : headers.fields) {
    const bool cookie = net::equal_ignoring_case(name, "Set-Cookie") || net::equal_ignoring_case(name, "Set-Cookie2");
    if (is_hop_by_hop(name, headers) || is_one_of(kDroppedFromAnswers, name) || (cookie && !cookies)) continue;
    out.add(name, value);
  }
  return out;
}

Result<std::string> upstream_query(std::string_view query, std::string_view protocol) {
  // Google's servers take whole headers and methods from a query, and leave out of an answer what `fields` does not
  // name.
  constexpr std::array<std::string_view, 5> kGeminiNames = {"alt", "pageSize", "pageToken", "prettyPrint", "key"};
  const auto target = net::parse_target("/?" + std::string(query));
  if (!target) return refused_as("bad_request", "the query of the request: expected percent-encoded UTF-8");
  std::string out;
  for (const auto& [name, value] : target->query) {
    if (protocol == "gemini" && std::find(kGeminiNames.begin(), kGeminiNames.end(), name) == kGeminiNames.end())
      return refused_as("not_allowed", "the query of the request has a name that is not let through");
    if (is_one_of(kCredentialNames, name)) continue;
    out += (out.empty() ? "" : "&") + encode_query(name) + "=" + encode_query(value);
  }
  return out;
}

}  // namespace onsight::agents::broker
