#include "models/gguf_tokenizer.h"

#include <algorithm>

#include "base/json.h"
#include "models/gguf_pre_tokenizers.h"
#include "text/tokenizer_file.h"
#include "text/utf8.h"

namespace onsight::models {
namespace {

using formats::GgufMetadata;

constexpr size_t kMaxAddedTokens = 65'536;
constexpr uint64_t kMaxTextBytes = uint64_t{64} << 20;  // as tokenizer.json

constexpr std::string_view kTypes = "tokenizer.ggml.token_type", kChatTemplate = "tokenizer.chat_template";

Result<const GgufPreTokenizer*> find_pre_tokenizer(const GgufMetadata& metadata) {
  TRY(std::string_view model, metadata.string("tokenizer.ggml.model"));
  if (model != "gpt2")
    return bad_input("{}: tokenizer.ggml.model: expected gpt2, which is byte-level BPE, found '{:.100}'",
                     metadata.where(), model);
  TRY(std::string_view name, metadata.string("tokenizer.ggml.pre"));
  for (const GgufPreTokenizer& known : kGgufPreTokenizers)
    if (known.name == name) return &known;
  return bad_input("{}: tokenizer.ggml.pre: expected smollm, gpt-2 or llama-bpe, found '{:.100}'", metadata.where(),
                   name);
}

Result<std::vector<std::string_view>> read_texts(const GgufMetadata& metadata, std::string_view key) {
  TRY(std::vector<std::string_view> texts, metadata.strings(key));
  uint64_t bytes = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    bytes += texts[i].size();
    if (!text::is_utf8(texts[i])) return bad_input("{}: {}[{}]: expected UTF-8", metadata.where(), key, i);
  }
  if (bytes > kMaxTextBytes) return bad_input("{}: {}: larger than {} MiB", metadata.where(), key, kMaxTextBytes >> 20);
  return texts;
}

Status read_merges(const GgufMetadata& metadata, text::TokenizerFile& file) {
  constexpr std::string_view kKey = "tokenizer.ggml.merges";
  TRY(std::vector<std::string_view> merges, read_texts(metadata, kKey));
  for (size_t i = 0; i < merges.size(); ++i) {
    const size_t space = merges[i].find(' ');
    if (space == std::string_view::npos || merges[i].find(' ', space + 1) != std::string_view::npos)
      return bad_input("{}: {}[{}]: expected two tokens with a space between them, found '{:.100}'", metadata.where(),
                       kKey, i, merges[i]);
    const std::string_view left = merges[i].substr(0, space), right = merges[i].substr(space + 1);
    file.merge_text.append(left).append(right);
    file.merges.push_back({static_cast<uint32_t>(left.size()), static_cast<uint32_t>(right.size())});
  }
  file.has_merges = true;
  return {};
}

// The vocabulary, and the added tokens as tokenizer.json lists them.
Result<Json> read_tokens(const GgufMetadata& metadata, text::TokenizerFile& file) {
  constexpr std::string_view kKey = "tokenizer.ggml.tokens";
  TRY(std::vector<std::string_view> tokens, read_texts(metadata, kKey));
  TRY(std::vector<int64_t> types, metadata.integers(kTypes));
  if (tokens.empty() || tokens.size() >= static_cast<size_t>(text::kMaxTokenId))
    return bad_input("{}: {}: expected 1 to {} tokens, found {}", metadata.where(), kKey, text::kMaxTokenId - 1,
                     tokens.size());
  if (types.size() != tokens.size())
    return bad_input("{}: {}: expected one for each of {} tokens, found {}", metadata.where(), kTypes, tokens.size(),
                     types.size());
  const auto is_added = [&](size_t id) { return types[id] == kGgufControl || types[id] == kGgufUserDefined; };
  // Those behind the last plain token are added only, as in tokenizer.json: no merge and no whole word may give one.
  size_t plain = tokens.size();
  while (plain > 0 && (is_added(plain - 1) || types[plain - 1] == kGgufUnused)) --plain;
  file.vocabulary.reserve(tokens.size());
  Json added = Json::array();
  for (size_t id = 0; id < tokens.size(); ++id) {
    if (types[id] == kGgufUnused) continue;
    if (is_added(id)) {
      if (added.size() == kMaxAddedTokens)
        return bad_input("{}: {}: expected at most {} added tokens", metadata.where(), kTypes, kMaxAddedTokens);
      added.push_back({{"id", id},
                       {"content", tokens[id]},
                       {"special", types[id] == kGgufControl},
                       {"normalized", false},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false}});
    }
    if (id < plain && !file.vocabulary.insert(tokens[id], static_cast<int32_t>(id)))
      return bad_input("{}: {}[{}]: token '{:.100}' occurs twice", metadata.where(), kKey, id, tokens[id]);
  }
  file.has_vocabulary = true;
  return added;
}

// What stands before a text, in the form of tokenizer.json's "post_processor".
Json template_with(std::string_view token, int64_t id) {
  const Json first = {{"SpecialToken", {{"id", token}, {"type_id", 0}}}};
  const Json rest = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const Json second = {{"Sequence", {{"id", "B"}, {"type_id", 1}}}};
  return {{"type", "TemplateProcessing"},
          {"single", Json::array({first, rest})},
          {"pair", Json::array({first, rest, second})},
          {"special_tokens", {{token, {{"id", token}, {"ids", Json::array({id})}, {"tokens", Json::array({token})}}}}}};
}

Result<text::TokenizerFile> read_tokenizer(const GgufMetadata& metadata) {
  TRY(const GgufPreTokenizer* pre, find_pre_tokenizer(metadata));
  text::TokenizerFile file;
  TRY(Json added, read_tokens(metadata, file));
  TRY_STATUS(read_merges(metadata, file));
  TRY(Json pre_tokenizer, parse_json(pre->json, "pre-tokenizer"));
  file.rest = {
      {"version", "1.0"},
      {"model", {{"type", "BPE"}, {"ignore_merges", pre->whole_words}}},
      {"normalizer", nullptr},
      {"pre_tokenizer", std::move(pre_tokenizer)},
      {"decoder", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}}},
      {"added_tokens", std::move(added)}};
  TRY(bool add_bos, metadata.boolean_or("tokenizer.ggml.add_bos_token", pre->adds_bos));
  if (add_bos) {
    TRY(std::vector<std::string_view> tokens, metadata.strings("tokenizer.ggml.tokens"));
    TRY(int64_t bos, metadata.integer("tokenizer.ggml.bos_token_id", 0, static_cast<int64_t>(tokens.size()) - 1));
    file.rest["post_processor"] = template_with(tokens[static_cast<size_t>(bos)], bos);
  }
  return file;
}

std::string place_of(const GgufMetadata& metadata, std::string_view key) {
  return fmt::format("{}: {}", metadata.where(), key);
}

Result<std::string_view> read_chat_template(const GgufMetadata& metadata) {
  TRY(std::string_view source, metadata.string_or(kChatTemplate, text::ChatTemplate::built_in_source()));
  if (!text::is_utf8(source)) return bad_input("{}: expected UTF-8", place_of(metadata, kChatTemplate));
  return source;
}

// The tokens that a template knows by name.
struct Variable {
  std::string_view name, key;
  int32_t id;
};
Result<std::vector<Variable>> read_variables(const GgufMetadata& metadata, const text::Tokenizer& tokenizer) {
  std::vector<Variable> out;
  for (auto [name, key] : {std::pair<std::string_view, std::string_view>{"bos_token", "tokenizer.ggml.bos_token_id"},
                           {"eos_token", "tokenizer.ggml.eos_token_id"},
                           {"unk_token", "tokenizer.ggml.unknown_token_id"},
                           {"pad_token", "tokenizer.ggml.padding_token_id"}}) {
    if (!metadata.has(key)) continue;
    TRY(int64_t id, metadata.integer(key, 0, tokenizer.vocabulary_size() - 1));
    out.push_back({name, key, static_cast<int32_t>(id)});
  }
  return out;
}

// tokenizer.json
std::string to_json(text::TokenizerFile file) {
  Json vocabulary = Json::object(), merges = Json::array();
  for (size_t i = 0; i < file.vocabulary.size(); ++i)
    vocabulary[std::string(file.vocabulary.string(i))] = file.vocabulary.id(i);
  std::string_view rest = file.merge_text;
  for (const auto [left, right] : file.merges) {
    merges.push_back(Json::array({rest.substr(0, left), rest.substr(left, right)}));
    rest.remove_prefix(left + right);
  }
  file.rest["model"]["vocab"] = std::move(vocabulary);
  file.rest["model"]["merges"] = std::move(merges);
  return file.rest.dump();
}

}  // namespace

Result<text::Tokenizer> gguf_tokenizer(const GgufMetadata& metadata) {
  TRY(text::TokenizerFile file, read_tokenizer(metadata));
  return text::Tokenizer::from_file(std::move(file), metadata.where() + ": tokenizer");
}

Result<text::ChatTemplate> gguf_chat_template(const GgufMetadata& metadata, const text::Tokenizer& tokenizer) {
  if (!metadata.has(kChatTemplate)) return text::ChatTemplate::built_in();
  TRY(std::string_view source, read_chat_template(metadata));
  TRY(std::vector<Variable> known, read_variables(metadata, tokenizer));
  std::vector<std::pair<std::string, std::string>> variables;
  for (const Variable& variable : known) variables.emplace_back(variable.name, tokenizer.token_bytes(variable.id));
  return text::ChatTemplate::parse(source, place_of(metadata, kChatTemplate), variables);
}

Result<std::map<std::string, std::string>> gguf_tokenizer_files(const GgufMetadata& metadata,
                                                                const text::Tokenizer& tokenizer) {
  TRY(text::TokenizerFile file, read_tokenizer(metadata));
  TRY(std::string_view chat, read_chat_template(metadata));
  TRY(std::vector<Variable> variables, read_variables(metadata, tokenizer));
  TRY(std::vector<int64_t> types, metadata.integers(kTypes));
  Json config = {{"tokenizer_class", "PreTrainedTokenizerFast"}};
  for (const Variable& variable : variables) {
    // A folder's named tokens are added ones: another can be named only where nobody asks for it.
    const int64_t type = types[static_cast<size_t>(variable.id)];
    if (type != kGgufControl && type != kGgufUserDefined) {
      if (chat.find(variable.name) == std::string_view::npos) continue;
      return bad_input("{}: expected a control token, as which a native file would keep it",
                       place_of(metadata, variable.key));
    }
    config[std::string(variable.name)] = tokenizer.token_bytes(variable.id);
  }
  return std::map<std::string, std::string>{{"tokenizer.json", to_json(std::move(file))},
                                            {"tokenizer_config.json", config.dump()},
                                            {"chat_template.jinja", std::string(chat)}};
}

}  // namespace onsight::models
