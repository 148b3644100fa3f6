#include "outside_json.h"

namespace onsight::guest {

Result<Json> parse_outside(std::string_view text, std::string_view where) {
  constexpr int kMaxDepth = 64;
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') in_string = !in_string;
    if (in_string) {
      if (c == '\\') ++i;
    } else if ((c == '{' || c == '[') && ++depth > kMaxDepth) {
      return bad_input("{}: nested deeper than {} levels", where, kMaxDepth);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  Json out = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (out.is_discarded()) return bad_input("{}: expected valid JSON", where);
  return out;
}

std::string to_text(const Json& value, int indent) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

std::string string_of(const Json& object, std::string_view key) {
  if (!object.is_object()) return {};
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::string printable(std::string_view text, bool lines) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    // C1 controls, which some terminals obey, are C2 80 to C2 9F in UTF-8.
    const bool c1 = c == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if (c1) ++i;
    if (c1 || c == 0x7F || (c < 0x20 && !(lines && (c == '\n' || c == '\t'))))
      out += "\xEF\xBF\xBD";
    else
      out += text[i];
  }
  return out;
}

}  // namespace onsight::guest
