#include "server/gemini/names.h"

#include <algorithm>
#include <optional>

namespace onsight::server::gemini {
namespace {

bool contains(std::initializer_list<std::string_view> names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool asks_for_nothing(const Json& value) {
  if (value.is_null() || value == false || (value.is_structured() && value.empty())) return true;
  return (value.is_number() && value.get<double>() == 0) || (value.is_string() && value.get<std::string>().empty());
}

// Whose names are the caller's own.
bool is_schema(std::string_view name) {
  return contains({"responseSchema", "responseJsonSchema", "_responseJsonSchema"}, name);
}

bool is_number(std::string_view name) {
  return contains({"temperature", "topK", "topP", "maxOutputTokens", "candidateCount", "seed", "logprobs",
                   "presencePenalty", "frequencyPenalty", "thinkingBudget", "fps"},
                  name);
}

// A field that is named both ways.
struct Twice {
  std::string place;  // ".a[0].b"
  std::string written;
};

// Its place is put together on the way back: written down at each value, long names would be copied for every one.
std::optional<Twice> rename(Json& json) {
  if (json.is_array())
    for (size_t i = 0; i < json.size(); ++i)
      if (auto twice = rename(json[i])) return Twice{item_of("", i) + twice->place, std::move(twice->written)};
  if (!json.is_object()) return {};
  Json out = Json::object();
  for (auto& [written, value] : json.items()) {
    const std::string name = camel_case(written);
    if (out.contains(name)) return Twice{"." + name, written};
    if (!is_schema(name))
      if (auto twice = rename(value)) return Twice{"." + name + twice->place, std::move(twice->written)};
    out[name] = std::move(value);
  }
  json = std::move(out);
  return {};
}

}  // namespace

std::string camel_case(std::string_view name) {
  std::string out;
  for (size_t i = 0; i < name.size(); ++i) {
    const bool joins = name[i] == '_' && i > 0 && i + 1 < name.size() && name[i + 1] >= 'a' && name[i + 1] <= 'z';
    if (!joins) {
      out += name[i];
      continue;
    }
    out += static_cast<char>(name[++i] - 'a' + 'A');
  }
  return out;
}

Status use_camel_case(Json& json) {
  const auto twice = rename(json);
  if (!twice) return {};
  return bad_input("{}: expected it once, found {} beside it", twice->place.substr(1), twice->written);
}

void unquote_numbers(Json& json) {
  if (json.is_array())
    for (Json& item : json) unquote_numbers(item);
  if (!json.is_object()) return;
  for (auto& [name, value] : json.items()) {
    if (is_number(name) && value.is_string()) {
      const std::string& text = value.get_ref<const std::string&>();
      const bool spaced = text.find_first_of(" \t\r\n") != std::string::npos;
      Json number = Json::parse(text, nullptr, false);
      if (number.is_number() && !spaced) value = std::move(number);
    } else if (!is_schema(name)) {
      unquote_numbers(value);
    }
  }
}

std::string place_of(const Fields& fields) {
  std::string place = fields.place("");
  if (place.empty()) return "the body";
  place.pop_back();  // the dot before a name
  return place;
}

Status check_names(const Fields& fields, std::initializer_list<std::string_view> handled,
                   std::initializer_list<std::string_view> ignored, std::initializer_list<std::string_view> refused) {
  for (const auto& [name, value] : fields.json().items()) {
    if (contains(handled, name) || contains(ignored, name)) continue;
    if (!contains(refused, name)) return bad_input("{}: there is no such field", fields.place(name));
    if (!asks_for_nothing(value))
      return bad_input("{}: expected nothing, this server does not support it", fields.place(name));
  }
  return {};
}

}  // namespace onsight::server::gemini
