#include "agents/bus/request.h"

#include <algorithm>
#include <charconv>

namespace onsight::agents::bus {
namespace {

constexpr size_t kMaxNames = 100;

// Fields by which a client may try to say who it is.
bool names_sender(std::string_view field) {
  return field == "sender" || field == "from" || field == "actor" || field == "agent" || field == "as";
}

bool is_among(std::initializer_list<std::string_view> names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string listed(std::initializer_list<std::string_view> names) {
  return names.size() == 0 ? "none" : fmt::format("{}", fmt::join(names, ", "));
}

Understood<void> check_field(std::string_view where, std::string_view field,
                             std::initializer_list<std::string_view> known) {
  if (is_among(known, field)) return {};
  if (names_sender(field))
    return refuse(403, "forged_sender", "{}: who sends is known by the connection and cannot be said", field);
  return refuse(400, "bad_request", "{}: there is no such {}, expected of: {}", field, where, listed(known));
}

}  // namespace

Understood<Json> read_body(const net::HttpRequest& request, size_t max_bytes,
                           std::initializer_list<std::string_view> fields) {
  if (request.body.size() > max_bytes)
    return refuse(413, "too_large", "body: expected at most {} bytes, found {}", max_bytes, request.body.size());
  const std::string_view text = request.body.empty() ? std::string_view("{}") : std::string_view(request.body);
  auto body = parse_json_as<Json>(text, "body", kMaxNames);
  if (!body) return refuse(400, "bad_request", "{}", body.error().message);
  if (!body->is_object()) return refuse(400, "bad_request", "body: expected a JSON object");
  for (const auto& [name, value] : body->items()) {
    if (auto good = check_field("field", name, fields); !good) return tl::unexpected<Refusal>(good.error());
  }
  return std::move(*body);
}

Understood<void> check_query(const net::HttpRequest& request, std::initializer_list<std::string_view> names) {
  for (const auto& [name, value] : request.query) {
    if (auto good = check_field("parameter", name, names); !good) return good;
  }
  return {};
}

Understood<int64_t> query_number(const net::HttpRequest& request, std::string_view name, int64_t otherwise,
                                 int64_t max) {
  const std::string_view text = request.query_value(name);
  if (text.empty()) return otherwise;
  int64_t out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc() || end != text.data() + text.size() || out < 0)
    return refuse(400, "bad_request", "{}: expected a number, not negative", name);
  return std::min(out, max);
}

Understood<std::string> need_text(const Json& body, std::string_view field, size_t max_bytes) {
  const auto it = body.find(field);
  if (it == body.end() || !it->is_string() || it->get_ref<const std::string&>().empty())
    return refuse(400, "bad_request", "{}: expected a text that is not empty", field);
  if (it->get_ref<const std::string&>().size() > max_bytes)
    return refuse(413, "too_large", "{}: expected at most {} bytes", field, max_bytes);
  return it->get<std::string>();
}

Understood<std::string> text_or(const Json& body, std::string_view field, std::string_view otherwise,
                                size_t max_bytes) {
  const auto it = body.find(field);
  if (it == body.end() || it->is_null() || (it->is_string() && it->get_ref<const std::string&>().empty()))
    return std::string(otherwise);
  return need_text(body, field, max_bytes);
}

Understood<int64_t> number_or(const Json& body, std::string_view field, int64_t otherwise) {
  const auto it = body.find(field);
  if (it == body.end() || it->is_null()) return otherwise;
  constexpr int64_t kMost = int64_t{1} << 53;
  int64_t out = -1;
  if (it->is_number_integer() && (!it->is_number_unsigned() || it->get<uint64_t>() <= uint64_t{kMost})) {
    out = it->get<int64_t>();
  } else if (it->is_string()) {
    const auto& text = it->get_ref<const std::string&>();
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    if (error != std::errc() || end != text.data() + text.size()) out = -1;
  }
  if (out < 1 || out > kMost) return refuse(400, "bad_request", "{}: expected the number of a message", field);
  return out;
}

}  // namespace onsight::agents::bus
