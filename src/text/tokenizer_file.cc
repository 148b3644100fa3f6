#include "text/tokenizer_file.h"

#include <algorithm>

namespace onsight::text {
namespace {

constexpr size_t kMaxBytes = size_t{64} << 20;
constexpr size_t kMaxAddedTokenBytes = 1024;
constexpr size_t kMaxJsonDepth = 64;

// Receives the document piece by piece. Returns false to stop, with `error` set.
class Reader final : public nlohmann::json_sax<Json> {
 public:
  Reader(TokenizerFile& file, std::string_view where) : file_(file), where_(where) {}
  std::string error;

  bool null() override { return scalar(nullptr, "null"); }
  bool boolean(bool value) override { return scalar(value, "boolean"); }
  bool number_integer(number_integer_t value) override {
    if (mode_ == Mode::kVocabulary) return fail("model.vocab: token '{}' has the negative id {}", key_, value);
    return scalar(value, "number");
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (mode_ != Mode::kVocabulary) return scalar(value, "number");
    if (value >= kMaxTokenId)
      return fail("model.vocab: token '{}' has the id {}, expected less than {}", key_, value, kMaxTokenId);
    if (!file_.vocabulary.insert(key_, static_cast<int32_t>(value)))
      return fail("model.vocab: token '{}' occurs twice", key_);
    return true;
  }
  bool number_float(number_float_t value, const string_t&) override { return scalar(value, "number"); }
  bool binary(binary_t&) override { return false; }

  bool string(string_t& value) override {
    switch (mode_) {
      case Mode::kMerges: {
        size_t space = value.find(' ');
        if (space == std::string::npos || value.find(' ', space + 1) != std::string::npos)
          return fail("model.merges[{}]: expected two tokens with a space between them, found '{}'",
                      file_.merges.size(), value);
        return add_merge(std::string_view(value).substr(0, space), std::string_view(value).substr(space + 1));
      }
      case Mode::kMergePair:
        if (pair_size_ == 2) return bad_pair();
        pair_[pair_size_++] = value;
        return true;
      default:
        return scalar(std::move(value), "string");
    }
  }
  bool key(string_t& value) override {
    key_ = value;
    return true;
  }
  bool start_object(size_t) override {
    if (at_model_key("vocab")) {
      if (file_.has_vocabulary) return fail("model.vocab: occurs twice");
      file_.has_vocabulary = true;
      mode_ = Mode::kVocabulary;
      return true;
    }
    return start(Json::object(), "object");
  }
  bool end_object() override {
    if (mode_ == Mode::kVocabulary)
      mode_ = Mode::kOther;
    else
      open_.pop_back();
    return true;
  }
  bool start_array(size_t) override {
    if (mode_ == Mode::kMerges) {
      mode_ = Mode::kMergePair;
      pair_size_ = 0;
      return true;
    }
    if (at_model_key("merges")) {
      if (file_.has_merges) return fail("model.merges: occurs twice");
      file_.has_merges = true;
      mode_ = Mode::kMerges;
      return true;
    }
    return start(Json::array(), "array");
  }
  bool end_array() override {
    if (mode_ == Mode::kMergePair) {
      mode_ = Mode::kMerges;
      return pair_size_ == 2 ? add_merge(pair_[0], pair_[1]) : bad_pair();
    }
    if (mode_ == Mode::kMerges)
      mode_ = Mode::kOther;
    else
      open_.pop_back();
    return true;
  }
  bool parse_error(size_t position, const std::string&, const Json::exception&) override {
    return fail("expected valid JSON, found an error at byte {}", position);
  }

 private:
  enum class Mode { kOther, kVocabulary, kMerges, kMergePair };
  struct Open {
    Json* value;
    bool is_model;  // the object under the document's "model"
  };

  template <class... Args>
  bool fail(fmt::format_string<Args...> format, Args&&... args) {
    error = fmt::format("{}: {}", where_, fmt::format(format, std::forward<Args>(args)...));
    return false;
  }
  bool bad_pair() { return fail("model.merges[{}]: expected a pair of tokens", file_.merges.size()); }
  bool at_model_key(std::string_view key) const {
    return mode_ == Mode::kOther && !open_.empty() && open_.back().is_model && key_ == key;
  }
  bool add_merge(std::string_view left, std::string_view right) {
    file_.merge_text.append(left).append(right);
    file_.merges.push_back({static_cast<uint32_t>(left.size()), static_cast<uint32_t>(right.size())});
    return true;
  }
  bool expected_other(std::string_view kind) {
    if (mode_ == Mode::kVocabulary)
      return fail("model.vocab: token '{}' has no whole number as its id, found {}", key_, kind);
    if (mode_ == Mode::kMerges)
      return fail("model.merges[{}]: expected a string or a pair, found {}", file_.merges.size(), kind);
    return bad_pair();
  }
  Json* place(Json&& value) {
    if (open_.empty()) {
      file_.rest = std::move(value);
      return &file_.rest;
    }
    Json& parent = *open_.back().value;
    if (parent.is_object()) return &(parent[key_] = std::move(value));
    parent.push_back(std::move(value));
    return &parent.back();
  }
  template <class T>
  bool scalar(T&& value, std::string_view kind) {
    if (mode_ != Mode::kOther) return expected_other(kind);
    place(Json(std::forward<T>(value)));
    return true;
  }
  bool start(Json&& value, std::string_view kind) {
    if (mode_ != Mode::kOther) return expected_other(kind);
    if (open_.size() >= kMaxJsonDepth) return fail("nested deeper than {} levels", kMaxJsonDepth);
    bool is_model = open_.size() == 1 && open_[0].value->is_object() && key_ == "model" && value.is_object();
    open_.push_back({place(std::move(value)), is_model});
    return true;
  }

  TokenizerFile& file_;
  std::string_view where_;
  Mode mode_ = Mode::kOther;
  std::vector<Open> open_;
  std::string key_;
  std::string pair_[2];
  int pair_size_ = 0;
};

constexpr std::string_view kNamed[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                       "pad_token", "cls_token", "mask_token"};

bool is_named(std::string_view key) { return std::find(std::begin(kNamed), std::end(kNamed), key) != std::end(kNamed); }

// A token written as a string or as an object; null gives an empty content.
Result<AddedToken> read_token(const JsonView& parent, std::string_view key) {
  JsonView view = parent.at(key);
  AddedToken token;
  if (!parent.has(key)) return token;
  if (view.json().is_string()) {
    token.content = view.json().get<std::string>();
  } else if (view.json().is_object()) {
    TRY(token, read_added_token(view, false));
  } else {
    return bad_input("{}: expected a string or an object", view.where());
  }
  token.special = true;
  return token;
}

Status read_extra(const JsonView& parent, std::string_view key, std::vector<AddedToken>& out) {
  if (!parent.has(key)) return {};
  JsonView list = parent.at(key);
  if (!list.json().is_array() && !list.json().is_object())
    return bad_input("{}: expected an array or an object", list.where());
  for (const auto& [name, value] : list.json().items()) {
    Json holder = Json::object({{name, value}});
    TRY(AddedToken token, read_token(JsonView(holder, list.where()), name));
    if (!token.content.empty()) out.push_back(std::move(token));
  }
  return {};
}

}  // namespace

Result<TokenizerFile> TokenizerFile::parse(std::string_view json, std::string_view where) {
  if (json.size() > kMaxBytes) return bad_input("{}: larger than {} MiB", where, kMaxBytes >> 20);
  TokenizerFile file;
  file.vocabulary.reserve(json.size() / 48);  // a token and its merge take about that much
  Reader reader(file, where);
  if (!Json::sax_parse(json.data(), json.data() + json.size(), &reader)) return bad_input("{}", reader.error);
  if (!file.rest.is_object()) return bad_input("{}: expected a JSON object", where);
  return file;
}

Result<AddedToken> read_added_token(const JsonView& view, bool with_id) {
  if (!view.json().is_object()) return bad_input("{}: expected an object", view.where());
  AddedToken token;
  TRY(token.content, view.string("content"));
  if (token.content.empty() || token.content.size() > kMaxAddedTokenBytes)
    return bad_input("{}: content has {} bytes, expected 1 to {}", view.where(), token.content.size(),
                     kMaxAddedTokenBytes);
  TRY(token.special, view.boolean_or("special", false));
  TRY(token.single_word, view.boolean_or("single_word", false));
  TRY(token.lstrip, view.boolean_or("lstrip", false));
  TRY(token.rstrip, view.boolean_or("rstrip", false));
  TRY(token.normalized, view.boolean_or("normalized", !token.special));
  if (with_id) {
    TRY(int64_t id, view.integer("id", 0, kMaxTokenId - 1));
    token.id = static_cast<int32_t>(id);
  }
  return token;
}

Result<SpecialTokenFiles> SpecialTokenFiles::load(const FileSource& files) {
  SpecialTokenFiles out;
  constexpr std::string_view kConfig = "tokenizer_config.json", kMap = "special_tokens_map.json";
  Json config = Json::object();
  if (files.has(kConfig)) {
    TRY(config, load_json(files, kConfig));
    if (!config.is_object()) return bad_input("{}: expected a JSON object", files.place(kConfig));
  }
  bool has_decoder = config.contains("added_tokens_decoder");
  JsonView view(config, files.place(kConfig));
  // The older file counts only where the newer list is missing.
  Json map = Json::object();
  if (!has_decoder && files.has(kMap)) {
    TRY(map, load_json(files, kMap));
    if (!map.is_object()) return bad_input("{}: expected a JSON object", files.place(kMap));
  }
  JsonView map_view(map, files.place(kMap));

  if (has_decoder) {
    JsonView decoder = view.at("added_tokens_decoder");
    if (!decoder.json().is_object()) return bad_input("{}: expected an object", decoder.where());
    for (const auto& [name, value] : decoder.json().items()) {
      TRY(AddedToken token, read_added_token(JsonView(value, fmt::format("{}.{}", decoder.where(), name)), false));
      if (name.empty() || name.size() > 8 || name.find_first_not_of("0123456789") != std::string::npos)
        return bad_input("{}: expected ids as keys, found '{}'", decoder.where(), name);
      token.id = static_cast<int32_t>(std::stol(name));
      out.added.push_back(std::move(token));
    }
    std::sort(out.added.begin(), out.added.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  }

  for (std::string_view key : kNamed) {
    TRY(AddedToken token, map.contains(key) ? read_token(map_view, key) : read_token(view, key));
    if (token.content.empty()) continue;
    out.named.emplace_back(key, token.content);
    out.if_missing.push_back(std::move(token));
  }
  // Names of a model's own, such as image_token.
  for (const JsonView* source : {&view, &map_view})
    for (const auto& [key, value] : source->json().items()) {
      if (is_named(key) || !std::string_view(key).ends_with("_token") || !(value.is_string() || value.is_object()))
        continue;
      TRY(AddedToken token, read_token(*source, key));
      if (!token.content.empty()) out.if_missing.push_back(std::move(token));
    }
  for (std::string_view key : {"extra_special_tokens", "additional_special_tokens"}) {
    TRY_STATUS(read_extra(view, key, out.if_missing));
    TRY_STATUS(read_extra(map_view, key, out.if_missing));
  }
  return out;
}

}  // namespace onsight::text
