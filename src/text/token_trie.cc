#include "text/token_trie.h"

#include <algorithm>
#include <numeric>

#include "text/byte_grammar.h"

namespace onsight::text {

TokenTrie::TokenTrie(const Tokenizer& tokenizer, int32_t vocabulary_size, std::span<const int32_t> end_tokens)
    : vocabulary_size_(vocabulary_size), end_tokens_(end_tokens.begin(), end_tokens.end()) {
  missing_.set();
  spellings_.resize(static_cast<size_t>(vocabulary_size));
  std::vector<int32_t> order;
  for (int32_t id = 0; id < std::min(vocabulary_size, tokenizer.vocabulary_size()); ++id) {
    const std::string_view bytes = tokenizer.token_bytes(id);
    const bool ends = std::find(end_tokens.begin(), end_tokens.end(), id) != end_tokens.end();
    if (bytes.empty() || bytes.size() > ByteGrammar::kSight || tokenizer.is_special(id) || ends) continue;
    spellings_[static_cast<size_t>(id)] = bytes;
    order.push_back(id);
    if (bytes.size() == 1) missing_.reset(static_cast<uint8_t>(bytes[0]));
  }
  std::sort(order.begin(), order.end(), [this](int32_t a, int32_t b) {
    const int compared = bytes_of(a).compare(bytes_of(b));  // as unsigned bytes
    return compared < 0 || (compared == 0 && a < b);
  });
  std::vector<size_t> open;  // the nodes of the last token's bytes
  const auto close_to = [&](size_t depth) {
    for (; open.size() > depth; open.pop_back()) nodes_[open.back()].end = static_cast<int32_t>(nodes_.size());
  };
  std::string_view last;
  for (const int32_t id : order) {
    const std::string_view bytes = bytes_of(id);
    const auto common = std::mismatch(last.begin(), last.end(), bytes.begin(), bytes.end()).first - last.begin();
    close_to(static_cast<size_t>(common));
    for (size_t depth = static_cast<size_t>(common); depth < bytes.size(); ++depth) {
      open.push_back(nodes_.size());
      nodes_.push_back({0, static_cast<int32_t>(tokens_.size()), vocabulary_size, static_cast<uint8_t>(depth),
                        static_cast<uint8_t>(bytes[depth])});
    }
    int32_t& first = nodes_[open.back()].token;
    first = std::min(first, id);
    tokens_.push_back(id);
    last = bytes;
  }
  close_to(0);
  nodes_.push_back({0, static_cast<int32_t>(tokens_.size()), vocabulary_size, 0, 0});
}

}  // namespace onsight::text
