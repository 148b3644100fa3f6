#include "text/chat_template.h"

#include <algorithm>

#include "base/check.h"
#include "base/json.h"
#include "text/template_interpreter.h"
#include "text/template_parser.h"
#include "text/tokenizer_file.h"
#include "text/utf8.h"

namespace onsight::text {

struct ChatTemplate::Data {
  NodePtr root;
  Dict variables;  // bos_token and the like
};

namespace {

constexpr std::string_view kBuiltIn =
    "<|im_start|>{% for message in messages %}{{ message.role | capitalize }}"
    "{{ ':' if message.content[0].type == 'image' else ': ' }}"
    "{% for part in message.content %}{{ part.text if part.type == 'text' else '<' ~ part.type ~ '>' }}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}{{ 'Assistant:' if add_generation_prompt }}";

struct Source {
  std::string text;
  std::string where;
};

// A template, or several with names, of which "default" counts.
Result<Source> choose(const JsonView& view) {
  const Json& json = view.json();
  if (json.is_string()) return Source{json.get<std::string>(), view.where()};
  if (json.is_object()) {
    TRY(std::string text, view.string("default"));
    return Source{std::move(text), view.where() + ".default"};
  }
  if (!json.is_array()) return bad_input("{}: expected a string", view.where());
  for (size_t i = 0; i < json.size(); ++i) {
    JsonView item(json[i], fmt::format("{}[{}]", view.where(), i));
    TRY(std::string name, item.string("name"));
    if (name != "default") continue;
    TRY(std::string text, item.string("template"));
    return Source{std::move(text), item.where()};
  }
  return bad_input("{}: expected a template named 'default'", view.where());
}

// The "chat_template" of a JSON file, if there is one.
Result<std::optional<Source>> from_json_file(const FileSource& files, std::string_view name, bool required) {
  if (!files.has(name)) return std::nullopt;
  TRY(Json json, load_json(files, name));
  JsonView view(json, files.place(name));
  if (!json.is_object()) return bad_input("{}: expected a JSON object", files.place(name));
  if (!view.has("chat_template")) {
    if (!required) return std::nullopt;
    return bad_input("{}: expected a string", view.at("chat_template").where());
  }
  TRY(Source source, choose(view.at("chat_template")));
  return std::optional<Source>(std::move(source));
}

Result<Source> find_source(const FileSource& files) {
  TRY(std::optional<Source> source, from_json_file(files, "processor_config.json", false));
  if (source) return *std::move(source);
  TRY(source, from_json_file(files, "chat_template.json", true));
  if (source && files.has_any("additional_chat_templates", ".jinja"))
    return bad_input("{}: stands beside additional_chat_templates, expected one or the other",
                     files.place("chat_template.json"));
  if (source) return *std::move(source);
  for (std::string_view jinja : {"chat_template.jinja", "additional_chat_templates/default.jinja"})
    if (files.has(jinja)) {
      TRY(std::string text, files.read(jinja, uint64_t{16} << 20));
      return Source{std::move(text), files.place(jinja)};
    }
  TRY(source, from_json_file(files, "tokenizer_config.json", false));
  if (source) return *std::move(source);
  return bad_input("{}: no chat template, expected chat_template.jinja or chat_template.json", files.where());
}

Status check_role(std::string_view role) {
  auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  };
  if (role.empty() || !std::all_of(role.begin(), role.end(), fits))
    return bad_input("message: the role '{}' is not a name, expected 'user', 'assistant' or 'system'", role);
  return {};
}

Value to_value(const ChatPart& part) {
  switch (part.kind) {
    case ChatPart::Kind::kImage:
      return Value::mapping({{"type", Value::string("image")}});
    case ChatPart::Kind::kVideo:
      return Value::mapping({{"type", Value::string("video")}});
    default:
      return Value::mapping({{"type", Value::string("text")},
                             {"text", Value::string(MarkedText(replace_invalid_utf8(part.text), /*from_user=*/true))}});
  }
}

std::vector<ByteRange> user_ranges(const MarkedText& text) {
  std::vector<ByteRange> out;
  for (size_t i = 0; i < text.user.size(); ++i) {
    if (!text.user[i]) continue;
    if (!out.empty() && out.back().end == i)
      ++out.back().end;
    else
      out.push_back({i, i + 1});
  }
  return out;
}

}  // namespace

Result<ChatTemplate> ChatTemplate::load(const FileSource& files) {
  TRY(Source source, find_source(files));
  TRY(SpecialTokenFiles tokens, SpecialTokenFiles::load(files));
  return parse(source.text, source.where, tokens.named);
}

Result<std::string> ChatTemplate::source(const FileSource& files) {
  TRY(Source source, find_source(files));
  return std::move(source.text);
}

Result<ChatTemplate> ChatTemplate::parse(std::string_view source, std::string_view where,
                                         const std::vector<std::pair<std::string, std::string>>& variables) {
  auto data = std::make_shared<Data>();
  TRY(data->root, parse_template(source, where));
  for (const auto& [name, content] : variables) data->variables.emplace_back(name, Value::string(content));
  ChatTemplate out;
  out.data_ = std::move(data);
  return out;
}

ChatTemplate ChatTemplate::built_in() {
  auto parsed = parse(kBuiltIn, "built-in chat template");
  ONSIGHT_CHECK(parsed.has_value());
  return *std::move(parsed);
}

std::string_view ChatTemplate::built_in_source() { return kBuiltIn; }

Result<RenderedPrompt> ChatTemplate::render(const std::vector<ChatMessage>& messages,
                                            bool add_generation_prompt) const {
  List list;
  for (const ChatMessage& message : messages) {
    TRY_STATUS(check_role(message.role));
    List content;
    for (const ChatPart& part : message.content) content.push_back(to_value(part));
    list.push_back(
        Value::mapping({{"role", Value::string(message.role)}, {"content", Value::sequence(std::move(content))}}));
  }
  Dict variables = data_->variables;
  variables.emplace_back("messages", Value::sequence(std::move(list)));
  variables.emplace_back("tools", Value::none());
  variables.emplace_back("documents", Value::none());
  variables.emplace_back("add_generation_prompt", Value::boolean(add_generation_prompt));
  // Without the file's path: who asks may be a client of a server.
  TRY(MarkedText text, run_template(*data_->root, std::move(variables), "chat template"));
  RenderedPrompt out;
  out.user_text = user_ranges(text);
  out.text = std::move(text.bytes);
  return out;
}

}  // namespace onsight::text
