#include "agents/runtime/kubernetes/overlap.h"

#include <algorithm>
#include <vector>

namespace onsight::agents::runtime::kubernetes {
namespace {

constexpr size_t kMostKept = 64 << 10, kSought = 4 << 10;

// Of `text` behind the last place where `sought` stands; npos: nowhere.
size_t behind_last(std::string_view text, std::string_view sought) {
  const size_t at = text.rfind(sought);
  return at == std::string_view::npos ? at : at + sought.size();
}

}  // namespace

std::string joined(std::string_view log, std::string_view came) {
  const std::string_view end = log.substr(log.size() - std::min(log.size(), came.size()));
  // How much of `came` ends at each place of `end`: as Knuth, Morris and Pratt look for words.
  std::vector<size_t> border(came.size() + 1, 0);
  for (size_t i = 1, k = 0; i < came.size(); ++i) {
    while (k > 0 && came[i] != came[k]) k = border[k];
    if (came[i] == came[k]) ++k;
    border[i + 1] = k;
  }
  size_t same = 0;
  for (const char c : end) {
    while (same > 0 && (same == came.size() || came[same] != c)) same = border[same];
    if (same < came.size() && came[same] == c) ++same;
  }
  return std::string(log) + std::string(came.substr(same));
}

void Delivered::add(std::string_view bytes) {
  tail_ += bytes;
  if (tail_.size() <= 2 * kMostKept) return;
  tail_.erase(0, tail_.size() - kMostKept);
  whole_ = false;
}

std::string_view Delivered::rest_of(std::string_view log) const {
  if (whole_ && log.starts_with(tail_)) return log.substr(tail_.size());
  // The last line may not be in the log yet, or only its beginning.
  const size_t line = tail_.rfind('\n') + 1;
  const std::string_view last = std::string_view(tail_).substr(line);
  const std::string_view before =
      std::string_view(tail_).substr(line - std::min(line, kSought), std::min(line, kSought));
  size_t at = std::string_view::npos;
  if (whole_ && log.starts_with(std::string_view(tail_).substr(0, line)))
    at = line;
  else if (!before.empty())
    at = behind_last(log, before);
  if (at == std::string_view::npos) return {};
  const std::string_view rest = log.substr(at);
  const auto differs = std::mismatch(rest.begin(), rest.end(), last.begin(), last.end());
  // What is another line than was passed on is of a terminal that drew over it.
  if (differs.first != rest.end() && differs.second != last.end()) return rest;
  return rest.substr(std::min(rest.size(), last.size()));
}

}  // namespace onsight::agents::runtime::kubernetes
