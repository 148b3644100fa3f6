// What the bus understands of a request: bodies with known fields alone, and refusals.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "base/json.h"
#include "net/http.h"

namespace onsight::agents::bus {

struct Refusal {
  int status = 400;
  std::string_view reason;  // a literal
  std::string message;
  int64_t retry_after_ms = 0;
};
template <class T>
using Understood = tl::expected<T, Refusal>;

struct Answer {
  int status = 200;
  Json body = Json::object();
};

template <class... Args>
tl::unexpected<Refusal> refuse(int status, std::string_view reason, fmt::format_string<Args...> format,
                               Args&&... args) {
  return tl::unexpected<Refusal>(Refusal{status, reason, fmt::format(format, std::forward<Args>(args)...)});
}

// An object with these fields and no others; one that names a sender is a forgery.
Understood<Json> read_body(const net::HttpRequest& request, size_t max_bytes,
                           std::initializer_list<std::string_view> fields);
Understood<void> check_query(const net::HttpRequest& request, std::initializer_list<std::string_view> names);
// A number of the query; `otherwise` without it.
Understood<int64_t> query_number(const net::HttpRequest& request, std::string_view name, int64_t otherwise,
                                 int64_t max);

Understood<std::string> need_text(const Json& body, std::string_view field, size_t max_bytes);
Understood<std::string> text_or(const Json& body, std::string_view field, std::string_view otherwise, size_t max_bytes);
// An integer, or one in a text.
Understood<int64_t> number_or(const Json& body, std::string_view field, int64_t otherwise);

}  // namespace onsight::agents::bus

// As TRY, for Understood.
#define UNDERSTAND(decl, ...) ONSIGHT_UNDERSTAND_(ONSIGHT_CONCAT(understood_, __COUNTER__), decl, __VA_ARGS__)
#define ONSIGHT_UNDERSTAND_(tmp, decl, ...)                                        \
  auto tmp = (__VA_ARGS__);                                                        \
  if (!tmp) return ::tl::unexpected<::onsight::agents::bus::Refusal>(tmp.error()); \
  decl = std::move(tmp).value()
