#include <algorithm>

#include "base/json.h"
#include "models/gguf_pre_tokenizers.h"
#include "models/gguf_tokenizer.h"
#include "models/settings_files.h"
#include "text/added_tokens.h"
#include "text/tokenizer_file.h"

namespace onsight::models {
namespace {

using formats::GgufValues;

// Offsets are no part of the ids.
void drop_offsets(Json& json) {
  if (json.is_object()) json.erase("trim_offsets");
  if (json.is_structured())
    for (Json& inner : json) drop_offsets(inner);
}

// Without merges every cut gives the same single bytes.
Result<std::string_view> pre_tokenizer_name(const text::TokenizerFile& file, const std::string& where) {
  Json found = file.rest.contains("pre_tokenizer") ? file.rest["pre_tokenizer"] : Json();
  drop_offsets(found);
  const JsonView root(file.rest, where);
  TRY(const bool whole_words, root.at("model").boolean_or("ignore_merges", false));
  std::string known;
  for (const GgufPreTokenizer& row : kGgufPreTokenizers) {
    TRY(Json json, parse_json(row.json, "pre-tokenizer"));
    drop_offsets(json);
    if (row.whole_words == whole_words && (json == found || (file.merges.empty() && !whole_words))) return row.name;
    known += (known.empty() ? "" : ", ") + std::string(row.name);
  }
  return bad_input("{}: pre_tokenizer: expected one that GGUF files can name ({}), found {:.200}", where, known,
                   found.dump());
}

std::vector<std::string> added_contents(const text::TokenizerFile& file, const text::SpecialTokenFiles& special) {
  std::vector<std::string> out;
  if (const auto added = file.rest.find("added_tokens"); added != file.rest.end())
    for (const Json& token : *added) out.push_back(token.value("content", ""));
  for (const auto* tokens : {&special.added, &special.if_missing})
    for (const text::AddedToken& token : *tokens) out.push_back(token.content);
  return out;
}

Status add_tokens(GgufValues& out, const text::TokenizerFile& file, const text::SpecialTokenFiles& special,
                  const text::Tokenizer& tokenizer, int64_t vocabulary, const std::string& where) {
  if (tokenizer.vocabulary_size() > vocabulary)
    return bad_input("{}: {} tokens, expected at most {}, the rows of the embedding", where,
                     tokenizer.vocabulary_size(), vocabulary);
  std::vector<std::string> tokens(static_cast<size_t>(vocabulary));
  std::vector<int32_t> types(tokens.size(), kGgufUnused);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = fmt::format("[PAD{}]", i);
  const auto set = [&](int32_t id, std::string_view token, int32_t type) {
    tokens[static_cast<size_t>(id)] = token;
    types[static_cast<size_t>(id)] = type;
  };
  for (size_t i = 0; i < file.vocabulary.size(); ++i)
    set(file.vocabulary.id(i), file.vocabulary.string(i), kGgufNormal);
  for (const std::string& content : added_contents(file, special))
    if (const auto id = tokenizer.token_to_id(content))
      set(*id, content, tokenizer.is_special(*id) ? kGgufControl : kGgufUserDefined);
  out.emplace_back("tokenizer.ggml.tokens", std::move(tokens));
  out.emplace_back("tokenizer.ggml.token_type", std::move(types));
  return {};
}

void add_merges(GgufValues& out, const text::TokenizerFile& file) {
  std::vector<std::string> merges;
  std::string_view rest = file.merge_text;
  for (const auto [left, right] : file.merges) {
    merges.push_back(fmt::format("{} {}", rest.substr(0, left), rest.substr(left, right)));
    rest.remove_prefix(left + right);
  }
  out.emplace_back("tokenizer.ggml.merges", std::move(merges));
}

// The tokens that files name, then the ends of an answer: a file has keys for three.
Status add_ids(GgufValues& out, const text::SpecialTokenFiles& special, const text::Tokenizer& tokenizer,
               std::vector<int32_t> ends, const std::string& where) {
  const auto id_of = [&](std::string_view name) -> std::optional<int32_t> {
    for (const auto& [known, content] : special.named)
      if (known == name) return tokenizer.token_to_id(content);
    return {};
  };
  const auto add = [&](std::string_view key, int32_t id) {
    out.emplace_back(fmt::format("tokenizer.ggml.{}_token_id", key), static_cast<uint32_t>(id));
  };
  for (auto [name, key] : {std::pair<std::string_view, std::string_view>{"bos_token", "bos"},
                           {"unk_token", "unknown"},
                           {"pad_token", "padding"}})
    if (const auto id = id_of(name)) add(key, *id);
  // The one that the tokenizer calls so comes first.
  if (const auto end = id_of("eos_token")) {
    const auto found = std::find(ends.begin(), ends.end(), *end);
    if (found != ends.end())
      std::rotate(ends.begin(), found, found + 1);
    else if (ends.empty())
      ends.push_back(*end);
  }
  constexpr std::string_view kKeys[] = {"eos", "eot", "eom"};
  if (ends.size() > std::size(kKeys))
    return bad_input("{}: {} tokens end an answer, expected at most {}, for which GGUF files have keys", where,
                     ends.size(), std::size(kKeys));
  for (size_t i = 0; i < ends.size(); ++i) add(kKeys[i], ends[i]);
  return {};
}

}  // namespace

Result<GgufValues> gguf_tokenizer_values(const FileSource& files, const text::Tokenizer& tokenizer, int64_t vocabulary,
                                         std::vector<int32_t> ends) {
  const std::string where = files.place("tokenizer.json");
  TRY(const std::string json, files.read("tokenizer.json", kMaxSettingsBytes));
  TRY(const text::TokenizerFile file, text::TokenizerFile::parse(json, where));
  TRY(const text::SpecialTokenFiles special, text::SpecialTokenFiles::load(files));
  TRY(const std::string_view pre, pre_tokenizer_name(file, where));
  TRY(const std::string chat, text::ChatTemplate::source(files));
  GgufValues out = {{"tokenizer.ggml.model", std::string("gpt2")}, {"tokenizer.ggml.pre", std::string(pre)}};
  TRY_STATUS(add_tokens(out, file, special, tokenizer, vocabulary, where));
  add_merges(out, file);
  TRY_STATUS(add_ids(out, special, tokenizer, std::move(ends), where));
  out.emplace_back("tokenizer.ggml.add_bos_token", !tokenizer.tokens_before().empty());
  out.emplace_back("tokenizer.chat_template", chat);
  return out;
}

}  // namespace onsight::models
