// StringTable: strings to ids, all in one block of memory; made once, then only read.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace onsight::text {

class StringTable {
 public:
  // Room for about `count` strings, so that the table need not grow on the way.
  void reserve(size_t count) {
    entries_.reserve(count);
    size_t slots = 1 << 12;
    while (slots < count * 2) slots *= 2;
    slots_.assign(slots, 0);
  }
  // False if the string is there already. All strings together stay below 4 GiB.
  bool insert(std::string_view string, int32_t id) {
    if ((entries_.size() + 1) * 2 > slots_.size()) grow();
    size_t at = find_slot(string);
    if (slots_[at] != 0) return false;
    entries_.push_back({static_cast<uint32_t>(arena_.size()), static_cast<uint32_t>(string.size()), id});
    arena_.append(string);
    slots_[at] = static_cast<uint32_t>(entries_.size());
    return true;
  }
  std::optional<int32_t> find(std::string_view string) const {
    if (slots_.empty()) return std::nullopt;
    uint32_t entry = slots_[find_slot(string)];
    if (entry == 0) return std::nullopt;
    return entries_[entry - 1].id;
  }
  size_t size() const { return entries_.size(); }
  int32_t id(size_t index) const { return entries_[index].id; }
  std::string_view string(size_t index) const {
    return std::string_view(arena_).substr(entries_[index].begin, entries_[index].size);
  }

 private:
  struct Entry {
    uint32_t begin, size;
    int32_t id;
  };
  size_t find_slot(std::string_view string) const {
    size_t at = std::hash<std::string_view>()(string) & (slots_.size() - 1);
    while (slots_[at] != 0 && this->string(slots_[at] - 1) != string) at = (at + 1) & (slots_.size() - 1);
    return at;
  }
  void grow() {
    slots_.assign(slots_.empty() ? 1 << 12 : slots_.size() * 2, 0);
    for (size_t i = 0; i < entries_.size(); ++i) slots_[find_slot(string(i))] = static_cast<uint32_t>(i + 1);
  }

  std::string arena_;
  std::vector<Entry> entries_;
  std::vector<uint32_t> slots_;  // 0 free, otherwise 1 + the entry's index; a power of two
};

}  // namespace onsight::text
