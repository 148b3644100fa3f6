#include "text/tokenizer.h"

#include <algorithm>

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/byte_alphabet.h"
#include "text/pretokenizer.h"
#include "text/string_table.h"
#include "text/tokenizer_file.h"
#include "text/utf8.h"

namespace onsight::text {

struct Tokenizer::Data {
  StringTable vocabulary;
  Pretokenizer pretokenizer;
  Bpe bpe;
  AddedTokens added;
  std::string bytes;             // of all tokens, in order of id
  std::vector<uint32_t> starts;  // of each id in `bytes`, and one more; an id without a token has none
  size_t longest = 0;            // bytes of a text that one token takes in; 0: any number
  std::vector<bool> special;
  std::vector<int32_t> before, after;  // what the post-processor puts around a text

  static Result<std::shared_ptr<Data>> make(TokenizerFile file, std::string_view where,
                                            const SpecialTokenFiles& others);
  Status read_model(const JsonView& model, TokenizerFile& file);
  Status read_added(const JsonView& root, const SpecialTokenFiles& others);
  Status read_post_processor(const JsonView& view, int depth);
  Status make_bytes(std::string_view where);
  std::vector<int32_t> encode(std::string_view text, SpecialTokens special, std::span<const ByteRange> literal) const;
};

namespace {

// Remembers where in the ids of this call a piece of text was encoded before.
class PieceCache {
 public:
  struct Entry {
    const char* text = nullptr;
    uint32_t size = 0, count = 0;
    size_t first = 0;  // in the ids
  };
  // The entry of `piece`; its text is null if it is new: then the caller fills it in. Null once the cache is full.
  Entry* at(std::string_view piece) {
    if ((used_ + 1) * 2 > entries_.size()) {
      if (entries_.size() >= kMaxEntries) return find(piece)->text ? find(piece) : nullptr;
      std::vector<Entry> old(std::max<size_t>(entries_.size() * 2, 256));
      old.swap(entries_);
      for (const Entry& e : old)
        if (e.text) *find({e.text, e.size}) = e;
    }
    Entry* entry = find(piece);
    if (!entry->text) ++used_;
    return entry;
  }

 private:
  static constexpr size_t kMaxEntries = size_t{1} << 17;
  Entry* find(std::string_view piece) {
    size_t at = std::hash<std::string_view>()(piece) & (entries_.size() - 1);
    while (entries_[at].text && std::string_view(entries_[at].text, entries_[at].size) != piece)
      at = (at + 1) & (entries_.size() - 1);
    return &entries_[at];
  }
  std::vector<Entry> entries_;
  size_t used_ = 0;
};

constexpr size_t kMaxCachedPiece = 48;

// Repairs the text and moves the ranges along with it.
std::string repair(std::string_view text, std::span<const ByteRange> ranges, std::vector<ByteRange>& moved) {
  std::string out;
  size_t done = 0;
  auto advance = [&](size_t to) {
    out += replace_invalid_utf8(text.substr(done, to - done));
    done = to;
    return out.size();
  };
  for (const ByteRange& r : ranges) {
    size_t begin = advance(std::clamp(r.begin, done, text.size()));
    moved.push_back({begin, advance(std::clamp(r.end, done, text.size()))});
  }
  advance(text.size());
  return out;
}

}  // namespace

Result<std::shared_ptr<Tokenizer::Data>> Tokenizer::Data::make(TokenizerFile file, std::string_view where,
                                                               const SpecialTokenFiles& others) {
  auto data = std::make_shared<Data>();
  JsonView root(file.rest, std::string(where));
  for (std::string_view key : {"model", "pre_tokenizer", "decoder"})
    if (!root.at(key).json().is_object() || !root.has(key))
      return bad_input("{}: expected an object", root.at(key).where());
  TRY_STATUS(data->read_model(root.at("model"), file));
  if (root.has("normalizer")) {
    JsonView normalizer = root.at("normalizer");
    TRY(std::string type, normalizer.string("type"));
    bool empty = type == "Sequence" && normalizer.at("normalizers").json().empty();
    if (!empty) return bad_input("{}: normalizer '{}' is not supported, expected none", normalizer.where(), type);
  }
  TRY(data->pretokenizer, Pretokenizer::from_json(root.at("pre_tokenizer")));
  if (root.has("post_processor")) TRY_STATUS(data->read_post_processor(root.at("post_processor"), 0));
  JsonView decoder = root.at("decoder");
  TRY(std::string type, decoder.string("type"));
  if (type == "Sequence" && decoder.at("decoders").json().is_array() && decoder.at("decoders").json().size() == 1) {
    JsonView only(decoder.at("decoders").json()[0], fmt::format("{}.decoders[0]", decoder.where()));
    TRY(type, only.string("type"));
  }
  if (type != "ByteLevel")
    return bad_input("{}: decoder '{}' is not supported, expected ByteLevel", decoder.where(), type);
  TRY_STATUS(data->read_added(root, others));
  TRY_STATUS(data->make_bytes(where));
  return data;
}

Status Tokenizer::Data::read_model(const JsonView& model, TokenizerFile& file) {
  TRY(std::string type, model.string_or("type", "BPE"));
  if (type != "BPE") return bad_input("{}: model '{}' is not supported, expected BPE", model.where(), type);
  if (!file.has_vocabulary) return bad_input("{}.vocab: expected an object of tokens and ids", model.where());
  if (!file.has_merges) return bad_input("{}.merges: expected an array", model.where());
  for (std::string_view key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    TRY(std::string text, model.string_or(key, ""));
    if (!text.empty()) return bad_input("{}.{}: '{}' is not supported, expected none", model.where(), key, text);
  }
  TRY(bool byte_fallback, model.boolean_or("byte_fallback", false));
  if (byte_fallback) return bad_input("{}.byte_fallback: true is not supported, expected false", model.where());
  TRY(double dropout, model.number_or("dropout", 0.0));
  if (dropout != 0.0) return bad_input("{}.dropout: {} is not supported, expected none", model.where(), dropout);
  TRY(bool fuse_unknown, model.boolean_or("fuse_unk", false));
  TRY(bool ignore_merges, model.boolean_or("ignore_merges", false));

  vocabulary = std::move(file.vocabulary);
  if (vocabulary.size() == 0) return bad_input("{}.vocab: expected at least one token", model.where());
  std::string text;
  for (int byte = 0; byte < 256; ++byte) {
    text.clear();
    append_alphabet_char(text, static_cast<unsigned char>(byte));
    if (auto id = vocabulary.find(text)) bpe.set_byte(static_cast<unsigned char>(byte), *id);
  }
  if (model.has("unk_token")) {
    TRY(std::string unknown, model.string("unk_token"));
    auto id = vocabulary.find(unknown);
    if (!id) return bad_input("{}.unk_token: '{}' is not in the vocabulary", model.where(), unknown);
    bpe.set_unknown(*id, fuse_unknown);
  }
  if (ignore_merges) bpe.set_whole_words(&vocabulary);

  bpe.reserve_merges(file.merges.size());
  size_t at = 0;
  for (size_t i = 0; i < file.merges.size(); ++i) {
    std::string_view both =
        std::string_view(file.merge_text).substr(at, file.merges[i].left_size + file.merges[i].right_size);
    std::string_view left = both.substr(0, file.merges[i].left_size), right = both.substr(left.size());
    at += both.size();
    auto left_id = vocabulary.find(left), right_id = vocabulary.find(right), result_id = vocabulary.find(both);
    if (!left_id || !right_id || !result_id)
      return bad_input("{}.merges[{}]: token '{}' is not in the vocabulary", model.where(), i,
                       !left_id    ? left
                       : !right_id ? right
                                   : both);
    bpe.add_merge(*left_id, *right_id, *result_id);
  }
  return {};
}

Status Tokenizer::Data::read_added(const JsonView& root, const SpecialTokenFiles& others) {
  std::vector<AddedToken> tokens;
  StringTable index;  // content → place in `tokens`
  int64_t largest = -1;
  // The package gives ids itself and passes over those of the file, so a file whose ids differ cannot be meant.
  auto add = [&](AddedToken token, std::optional<int32_t> written, const std::string& where) -> Status {
    std::string content = token.content;
    if (auto known = index.find(content)) {
      AddedToken& old = tokens[static_cast<size_t>(*known)];
      token.id = old.id;
      old = std::move(token);
    } else {
      auto in_vocabulary = vocabulary.find(content);
      int64_t size = static_cast<int64_t>(vocabulary.size());
      token.id = in_vocabulary ? *in_vocabulary : static_cast<int32_t>(largest >= size ? largest + 1 : size);
      largest = std::max<int64_t>(largest, token.id);
      index.insert(content, static_cast<int32_t>(tokens.size()));
      tokens.push_back(std::move(token));
    }
    int32_t id = tokens[static_cast<size_t>(*index.find(content))].id;
    if (written && id != *written)
      return bad_input("{}: token '{}' has the id {}, expected {} from the vocabulary and the tokens before it", where,
                       content, *written, id);
    return {};
  };

  if (root.has("added_tokens")) {
    JsonView list = root.at("added_tokens");
    if (!list.json().is_array()) return bad_input("{}: expected an array", list.where());
    for (size_t i = 0; i < list.json().size(); ++i) {
      JsonView item(list.json()[i], fmt::format("{}[{}]", list.where(), i));
      TRY(AddedToken token, read_added_token(item, true));
      if (index.find(token.content)) return bad_input("{}: token '{}' occurs twice", item.where(), token.content);
      int32_t id = token.id;
      TRY_STATUS(add(std::move(token), id, item.where()));
    }
  }
  for (const AddedToken& token : others.added) {
    int32_t id = token.id;
    TRY_STATUS(add(token, id, "tokenizer_config.json: added_tokens_decoder"));
  }
  for (const AddedToken& token : others.if_missing)
    if (!index.find(token.content)) TRY_STATUS(add(token, std::nullopt, "tokenizer_config.json"));
  added = AddedTokens(std::move(tokens));
  return {};
}

Status Tokenizer::Data::read_post_processor(const JsonView& view, int depth) {
  TRY(std::string type, view.string("type"));
  if (type == "ByteLevel") return {};  // moves offsets only
  if (type == "Sequence" && depth < 4) {
    JsonView list = view.at("processors");
    if (!list.json().is_array()) return bad_input("{}: expected an array", list.where());
    for (size_t i = 0; i < list.json().size(); ++i)
      TRY_STATUS(read_post_processor(JsonView(list.json()[i], fmt::format("{}[{}]", list.where(), i)), depth + 1));
    return {};
  }
  if (type != "TemplateProcessing")
    return bad_input("{}: post-processor '{}' is not supported, expected ByteLevel, TemplateProcessing or Sequence",
                     view.where(), type);
  if (!before.empty() || !after.empty())
    return bad_input("{}: expected one TemplateProcessing, found two", view.where());
  JsonView single = view.at("single");
  if (!single.json().is_array()) return bad_input("{}: expected an array", single.where());
  bool seen = false;
  for (size_t i = 0; i < single.json().size(); ++i) {
    JsonView item(single.json()[i], fmt::format("{}[{}]", single.where(), i));
    if (item.has("Sequence") && !seen) {
      seen = true;
      continue;
    }
    TRY(std::string name, item.at("SpecialToken").string("id"));
    JsonView ids = view.at("special_tokens").at(name);
    const Json& list = ids.at("ids").json();
    if (!list.is_array()) return bad_input("{}: ids: expected an array", ids.where());
    for (const Json& id : list) {
      if (!id.is_number_integer() || id < 0 || id >= kMaxTokenId)
        return bad_input("{}: ids: expected token ids", ids.where());
      (seen ? after : before).push_back(id.get<int32_t>());
    }
  }
  if (!seen) return bad_input("{}: expected a Sequence", single.where());
  return {};
}

Status Tokenizer::Data::make_bytes(std::string_view where) {
  int32_t largest = 0;
  for (size_t i = 0; i < vocabulary.size(); ++i) largest = std::max(largest, vocabulary.id(i));
  for (const AddedToken& token : added.all()) largest = std::max(largest, token.id);
  size_t count = static_cast<size_t>(largest) + 1;
  constexpr uint32_t kNone = ~uint32_t{0};
  std::vector<uint32_t> entry(count, kNone);
  for (uint32_t i = 0; i < vocabulary.size(); ++i) {
    uint32_t& e = entry[static_cast<size_t>(vocabulary.id(i))];
    if (e != kNone)
      return bad_input("{}: model.vocab: tokens '{}' and '{}' have the same id {}", where, vocabulary.string(e),
                       vocabulary.string(i), vocabulary.id(i));
    e = i;
  }
  for (auto* list : {&before, &after})
    for (int32_t id : *list)
      if (id > largest) return bad_input("{}: post_processor: the id {} is not a token's", where, id);

  special.resize(count);
  starts.reserve(count + 1);
  starts.push_back(0);
  for (size_t id = 0; id < count; ++id) {
    const AddedToken* token = added.by_id(static_cast<int32_t>(id));
    if (token || entry[id] != kNone)
      append_token_bytes(bytes, token ? std::string_view(token->content) : vocabulary.string(entry[id]));
    special[id] = token && token->special;
    longest = std::max(longest, bytes.size() - starts.back());
    starts.push_back(static_cast<uint32_t>(bytes.size()));
  }
  // White space that a special token takes in has no end, and what no token stands for is passed over.
  const auto strips = [](const AddedToken& token) { return token.lstrip || token.rstrip; };
  if (!bpe.has_all_bytes() || std::any_of(added.all().begin(), added.all().end(), strips)) longest = 0;
  return {};
}

std::vector<int32_t> Tokenizer::Data::encode(std::string_view text, SpecialTokens mode,
                                             std::span<const ByteRange> literal) const {
  std::string repaired;
  std::vector<ByteRange> moved;
  if (!is_utf8(text)) {
    repaired = repair(text, literal, moved);
    text = repaired;
    literal = moved;
  }
  std::vector<int32_t> ids;
  PieceCache cache;
  Bpe::Work work;
  auto piece = [&](std::string_view p, bool stable) {
    if (!stable || p.size() > kMaxCachedPiece) return bpe.encode(p, work, ids);
    PieceCache::Entry* entry = cache.at(p);
    size_t first = ids.size();
    if (entry && entry->text) {
      ids.resize(first + entry->count);
      std::copy_n(ids.begin() + static_cast<ptrdiff_t>(entry->first), entry->count,
                  ids.begin() + static_cast<ptrdiff_t>(first));
      return;
    }
    bpe.encode(p, work, ids);
    if (entry) *entry = {p.data(), static_cast<uint32_t>(p.size()), static_cast<uint32_t>(ids.size() - first), first};
  };
  size_t gap = 0;
  for (const AddedTokens::Match& match : added.find(text, mode, literal)) {
    if (gap < match.begin) pretokenizer.split(text.substr(gap, match.begin - gap), piece);
    ids.push_back(match.id);
    gap = match.end;
  }
  if (gap < text.size()) pretokenizer.split(text.substr(gap), piece);
  return ids;
}

Result<Tokenizer> Tokenizer::load(const FileSource& files) {
  TRY(std::string json, files.read("tokenizer.json", uint64_t{1} << 30));
  TRY(SpecialTokenFiles others, SpecialTokenFiles::load(files));
  const std::string where = files.place("tokenizer.json");
  TRY(TokenizerFile parsed, TokenizerFile::parse(json, where));
  Tokenizer out;
  TRY(out.data_, Data::make(std::move(parsed), where, others));
  return out;
}

Result<Tokenizer> Tokenizer::from_json(std::string_view tokenizer_json, std::string_view where) {
  TRY(TokenizerFile parsed, TokenizerFile::parse(tokenizer_json, where));
  Tokenizer out;
  TRY(out.data_, Data::make(std::move(parsed), where, {}));
  return out;
}

Result<Tokenizer> Tokenizer::from_file(TokenizerFile file, std::string_view where) {
  Tokenizer out;
  TRY(out.data_, Data::make(std::move(file), where, {}));
  return out;
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, SpecialTokens special) const {
  return data_->encode(text, special, {});
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, std::span<const ByteRange> literal) const {
  return data_->encode(text, SpecialTokens::kParse, literal);
}

std::span<const int32_t> Tokenizer::tokens_before() const { return data_->before; }
std::span<const int32_t> Tokenizer::tokens_after() const { return data_->after; }

std::string_view Tokenizer::token_bytes(int32_t id) const {
  if (id < 0 || id >= vocabulary_size()) return {};
  size_t i = static_cast<size_t>(id);
  return std::string_view(data_->bytes).substr(data_->starts[i], data_->starts[i + 1] - data_->starts[i]);
}

bool Tokenizer::is_special(int32_t id) const {
  return id >= 0 && id < vocabulary_size() && data_->special[static_cast<size_t>(id)];
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string bytes;
  for (int32_t id : ids)
    if (!(skip_special && is_special(id))) bytes += token_bytes(id);
  return is_utf8(bytes) ? bytes : replace_invalid_utf8(bytes);
}

std::optional<int32_t> Tokenizer::token_to_id(std::string_view token) const {
  if (const AddedToken* added = data_->added.by_content(token)) return added->id;
  return data_->vocabulary.find(token);
}

size_t Tokenizer::longest_token() const { return data_->longest; }
int32_t Tokenizer::vocabulary_size() const { return static_cast<int32_t>(data_->starts.size()) - 1; }

}  // namespace onsight::text
