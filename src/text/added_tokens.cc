#include "text/added_tokens.h"

#include <algorithm>
#include <numeric>

#include "text/unicode.h"
#include "text/utf8.h"

namespace onsight::text {
namespace {

unsigned byte_at(std::string_view s, size_t i) { return static_cast<unsigned char>(s[i]); }

bool starts_with_word(const char* p, const char* end) {
  return p < end && (char_classes()[next_code_point(p)] & kWord) != 0;
}
bool ends_with_word(const char* begin, const char* p) {
  return p > begin && (char_classes()[previous_code_point(begin, p)] & kWord) != 0;
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  by_content_.resize(tokens_.size());
  std::iota(by_content_.begin(), by_content_.end(), 0u);
  by_id_ = by_content_;
  auto less = [&](uint32_t a, uint32_t b) { return tokens_[a].content < tokens_[b].content; };
  std::sort(by_content_.begin(), by_content_.end(), less);
  std::stable_sort(by_id_.begin(), by_id_.end(), [&](uint32_t a, uint32_t b) { return tokens_[a].id < tokens_[b].id; });
  for (uint32_t i : by_content_) (tokens_[i].normalized ? normalized_ : exact_).sorted.push_back(i);
  for (Pass* pass : {&exact_, &normalized_}) {
    for (uint32_t i : pass->sorted) ++pass->first_byte[byte_at(tokens_[i].content, 0) + 1];
    std::partial_sum(pass->first_byte.begin(), pass->first_byte.end(), pass->first_byte.begin());
  }
}

const AddedToken* AddedTokens::by_content(std::string_view content) const {
  auto it = std::lower_bound(by_content_.begin(), by_content_.end(), content,
                             [&](uint32_t i, std::string_view c) { return tokens_[i].content < c; });
  return it != by_content_.end() && tokens_[*it].content == content ? &tokens_[*it] : nullptr;
}

const AddedToken* AddedTokens::by_id(int32_t id) const {
  auto it =
      std::lower_bound(by_id_.begin(), by_id_.end(), id, [&](uint32_t i, int32_t x) { return tokens_[i].id < x; });
  return it != by_id_.end() && tokens_[*it].id == id ? &tokens_[*it] : nullptr;
}

const AddedToken* AddedTokens::longest_at(const Pass& pass, std::string_view text) const {
  auto low = pass.sorted.begin() + pass.first_byte[byte_at(text, 0)];
  auto high = pass.sorted.begin() + pass.first_byte[byte_at(text, 0) + 1];
  const AddedToken* best = nullptr;
  for (size_t depth = 1; low != high; ++depth) {
    if (tokens_[*low].content.size() == depth) best = &tokens_[*low++];
    if (depth == text.size()) break;
    unsigned byte = byte_at(text, depth);
    low = std::lower_bound(low, high, byte,
                           [&](uint32_t i, unsigned b) { return byte_at(tokens_[i].content, depth) < b; });
    high = std::upper_bound(low, high, byte,
                            [&](unsigned b, uint32_t i) { return b < byte_at(tokens_[i].content, depth); });
  }
  return best;
}

void AddedTokens::find_in(const Pass& pass, std::string_view text, size_t begin, size_t end, SpecialTokens special,
                          std::span<const ByteRange> literal, std::vector<Match>& out) const {
  if (pass.sorted.empty()) return;
  const char *first = text.data() + begin, *last = text.data() + end;
  size_t taken = begin;  // where the last match, with the white space it swallowed, ended
  auto range = literal.begin();
  for (size_t at = begin; at < end;) {
    while (range != literal.end() && (range->end <= at || range->begin >= range->end)) ++range;
    size_t limit = end;
    if (range != literal.end()) {
      if (range->begin <= at) {
        at = range->end;
        continue;
      }
      limit = std::min(limit, range->begin);
    }
    unsigned byte = byte_at(text, at);
    const AddedToken* token = nullptr;
    if (pass.first_byte[byte] != pass.first_byte[byte + 1]) token = longest_at(pass, text.substr(at, limit - at));
    if (!token) {
      ++at;
      continue;
    }
    Match match{at, at + token->content.size(), token->id};
    at = match.end;
    if (token->special && special == SpecialTokens::kAsText) continue;
    const char *from = text.data() + match.begin, *to = text.data() + match.end;
    if (token->single_word && (ends_with_word(first, from) || starts_with_word(to, last))) continue;
    if (token->lstrip) {
      while (match.begin > taken) {
        const char* p = text.data() + match.begin;
        if (!(char_classes()[previous_code_point(first, p)] & kStripped)) break;
        do --match.begin;
        while ((byte_at(text, match.begin) & 0xc0) == 0x80);
      }
    }
    if (token->rstrip) {
      while (to < last) {
        const char* next = to;
        if (!(char_classes()[next_code_point(next)] & kStripped)) break;
        to = next;
      }
      match.end = static_cast<size_t>(to - text.data());
    }
    out.push_back(match);
    taken = match.end;
  }
}

std::vector<AddedTokens::Match> AddedTokens::find(std::string_view text, SpecialTokens special,
                                                  std::span<const ByteRange> literal) const {
  std::vector<Match> exact;
  find_in(exact_, text, 0, text.size(), special, literal, exact);
  if (normalized_.sorted.empty()) return exact;
  std::vector<Match> out;
  size_t gap = 0;
  for (const Match& match : exact) {
    if (gap < match.begin) find_in(normalized_, text, gap, match.begin, special, literal, out);
    out.push_back(match);
    gap = match.end;
  }
  if (gap < text.size()) find_in(normalized_, text, gap, text.size(), special, literal, out);
  return out;
}

}  // namespace onsight::text
