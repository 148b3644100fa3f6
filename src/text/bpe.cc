#include "text/bpe.h"

#include <algorithm>

#include "text/byte_alphabet.h"

namespace onsight::text {
namespace {

constexpr uint32_t kNone = ~uint32_t{0};
constexpr int32_t kGone = -1;         // a symbol that was merged into the one before it
constexpr size_t kShortSymbols = 24;  // up to here looking at every pair beats a heap

}  // namespace

void Bpe::reserve_merges(size_t count) {
  int bits = 4;
  while ((size_t{1} << bits) < count * 2) ++bits;
  merges_.assign(size_t{1} << bits, Merge{});
  shift_ = 64 - bits;
}

void Bpe::add_merge(int32_t left, int32_t right, int32_t result) {
  uint64_t k = key(left, right);
  size_t at = slot(k);
  while (merges_[at].key != kEmpty && merges_[at].key != k) at = (at + 1) & (merges_.size() - 1);
  merges_[at] = Merge{k, next_rank_++, result};
}

const Bpe::Merge* Bpe::find(int32_t left, int32_t right) const {
  if (merges_.empty()) return nullptr;
  uint64_t k = key(left, right);
  for (size_t at = slot(k); merges_[at].key != kEmpty; at = (at + 1) & (merges_.size() - 1))
    if (merges_[at].key == k) return &merges_[at];
  return nullptr;
}

void Bpe::symbols_of(std::string_view word, std::vector<int32_t>& out) const {
  out.clear();
  bool after_unknown = false;
  for (unsigned char byte : word) {
    int32_t id = byte_ids_[byte];
    if (id >= 0) {
      out.push_back(id);
      after_unknown = false;
    } else if (unknown_ >= 0) {
      if (!(after_unknown && fuse_unknown_)) out.push_back(unknown_);
      after_unknown = true;
    }
  }
}

void Bpe::encode(std::string_view word, Work& work, std::vector<int32_t>& out) const {
  if (whole_words_) {
    work.mapped.clear();
    for (unsigned char byte : word) append_alphabet_char(work.mapped, byte);
    if (auto id = whole_words_->find(work.mapped)) {
      out.push_back(*id);
      return;
    }
  }
  symbols_of(word, work.symbols);
  if (work.symbols.size() <= kShortSymbols)
    merge_short(work.symbols);
  else
    merge_long(work);
  out.insert(out.end(), work.symbols.begin(), work.symbols.end());
}

void Bpe::merge_short(std::vector<int32_t>& symbols) const {
  std::array<const Merge*, kShortSymbols> pair;  // pair[i] merges symbols i and i + 1
  size_t n = symbols.size();
  for (size_t i = 0; i + 1 < n; ++i) pair[i] = find(symbols[i], symbols[i + 1]);
  while (n > 1) {
    size_t best = n;
    for (size_t i = 0; i + 1 < n; ++i)
      if (pair[i] && (best == n || pair[i]->rank < pair[best]->rank)) best = i;
    if (best == n) break;
    symbols[best] = pair[best]->result;
    std::copy(symbols.begin() + static_cast<ptrdiff_t>(best) + 2, symbols.begin() + static_cast<ptrdiff_t>(n),
              symbols.begin() + static_cast<ptrdiff_t>(best) + 1);
    for (size_t i = best + 1; i + 2 < n; ++i) pair[i] = pair[i + 1];
    --n;
    if (best + 1 < n) pair[best] = find(symbols[best], symbols[best + 1]);
    if (best > 0) pair[best - 1] = find(symbols[best - 1], symbols[best]);
  }
  symbols.resize(n);
}

void Bpe::merge_long(Work& work) const {
  std::vector<int32_t>& symbols = work.symbols;
  size_t n = symbols.size();
  work.previous.resize(n);
  work.next.resize(n);
  work.heap.clear();
  auto candidate = [&](uint32_t at, uint32_t next) {
    const Merge* merge = find(symbols[at], symbols[next]);
    if (merge) work.heap.push_back({merge->rank, at, merge->result});
    return merge != nullptr;
  };
  for (uint32_t i = 0; i < n; ++i) {
    work.previous[i] = i == 0 ? kNone : i - 1;
    work.next[i] = i + 1 == n ? kNone : i + 1;
    if (i + 1 < n) candidate(i, i + 1);
  }
  std::make_heap(work.heap.begin(), work.heap.end());
  while (!work.heap.empty()) {
    Work::Candidate top = work.heap.front();
    std::pop_heap(work.heap.begin(), work.heap.end());
    work.heap.pop_back();
    // The pair may have changed since: then its new candidate is in the heap too.
    uint32_t right = work.next[top.at];
    if (symbols[top.at] == kGone || right == kNone) continue;
    const Merge* merge = find(symbols[top.at], symbols[right]);
    if (!merge || merge->result != top.result) continue;
    symbols[top.at] = top.result;
    symbols[right] = kGone;
    work.next[top.at] = work.next[right];
    if (work.next[right] != kNone) work.previous[work.next[right]] = top.at;
    uint32_t before = work.previous[top.at], after = work.next[top.at];
    if (before != kNone && candidate(before, top.at)) std::push_heap(work.heap.begin(), work.heap.end());
    if (after != kNone && candidate(top.at, after)) std::push_heap(work.heap.begin(), work.heap.end());
  }
  symbols.erase(std::remove(symbols.begin(), symbols.end(), kGone), symbols.end());
}

}  // namespace onsight::text
