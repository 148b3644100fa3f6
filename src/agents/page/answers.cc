#include "agents/page/answers.h"

#include <algorithm>

namespace onsight::agents::page {
namespace {

int status_of_error(const Error& error) {
  if (error.reason == kNotFound) return 404;
  if (error.reason == kNotJson) return 415;
  switch (error.code) {
    case ErrorCode::kUsage:
      return 400;
    case ErrorCode::kBadInput:
      return 409;
    case ErrorCode::kBusy:
      return 503;
    default:
      return 500;
  }
}

Json error_json(const std::string& message) { return {{"error", {{"message", message}}}}; }

}  // namespace

std::string text_of(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

net::HttpResponse json_answer(const Json& json, int status) {
  return {status, {{"Content-Type", "application/json"}, {"Cache-Control", "no-store"}}, text_of(json)};
}

net::HttpResponse error_answer(const Error& error) {
  return json_answer(error_json(error.message), status_of_error(error));
}

net::HttpResponse refusal(const net::HttpRequest& head, int status, const std::string& message) {
  if (head.path.starts_with("/api/")) return json_answer(error_json(message), status);
  return {status, {{"Content-Type", "text/plain; charset=utf-8"}, {"Cache-Control", "no-store"}}, message + "\n"};
}

tl::unexpected<Error> with_status(std::string_view reason, std::string message) {
  return tl::unexpected<Error>(
      Error{.code = ErrorCode::kUsage, .message = std::move(message), .field = {}, .reason = reason});
}

Result<Json> body_of(const net::HttpRequest& request, std::initializer_list<std::string_view> fields) {
  if (request.body.empty()) return Json::object();
  const std::string_view type = request.headers.get("Content-Type");
  if (!net::equal_ignoring_case(type.substr(0, type.find(';')), "application/json"))
    return with_status(kNotJson, fmt::format("Content-Type: expected application/json, found '{}'", type));
  auto json = parse_json(request.body, "the body");
  if (!json) return make_error(ErrorCode::kUsage, "{}", json.error().message);
  if (!json->is_object()) return make_error(ErrorCode::kUsage, "the body: expected an object");
  for (const auto& [name, value] : json->items())
    if (std::find(fields.begin(), fields.end(), name) == fields.end())
      return make_error(ErrorCode::kUsage, "the body: '{}': there is no such field, expected one of {}", name,
                        fmt::join(fields, ", "));
  return std::move(*json);
}

Result<int64_t> number_of(const net::HttpRequest& request, std::string_view name, int64_t otherwise, int64_t most) {
  const std::string_view text = request.query_value(name);
  if (text.empty()) return otherwise;
  int64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9' || value > most / 10)
      return make_error(ErrorCode::kUsage, "{}: expected a number from 0 to {}, found '{}'", name, most, text);
    value = value * 10 + (c - '0');
  }
  if (value > most) return make_error(ErrorCode::kUsage, "{}: expected at most {}, found {}", name, most, value);
  return value;
}

}  // namespace onsight::agents::page
