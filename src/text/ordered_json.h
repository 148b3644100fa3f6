// OrderedJson: JSON whose objects keep the order of their keys, and find one of many in constant time. (nlohmann's own
// looks at all keys for each that it adds.)
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

namespace onsight::text {

template <class Key, class T, class Less, class Allocator>
class OrderedObject : public nlohmann::ordered_map<Key, T, Less, Allocator> {
  using Base = nlohmann::ordered_map<Key, T, Less, Allocator>;

 public:
  using Base::Base;
  using typename Base::const_iterator;
  using typename Base::iterator;

  T& operator[](std::string_view key) {
    if (const iterator found = find(key); found != this->end()) return found->second;
    static_cast<typename Base::Container&>(*this).emplace_back(Key(key), T{});
    if (this->size() > kFew && 2 * this->size() > slots_.size()) {
      slots_.assign(4 * this->size(), kFree);
      for (size_t i = 0; i < this->size(); ++i) slots_[slot_of(key_at(i))] = static_cast<uint32_t>(i);
    } else if (!slots_.empty()) {
      slots_[slot_of(key)] = static_cast<uint32_t>(this->size() - 1);
    }
    return this->back().second;
  }
  iterator find(std::string_view key) { return this->begin() + static_cast<std::ptrdiff_t>(index_of(key)); }
  const_iterator find(std::string_view key) const { return this->begin() + static_cast<std::ptrdiff_t>(index_of(key)); }
  size_t count(std::string_view key) const { return index_of(key) < this->size() ? 1 : 0; }

 private:
  static constexpr size_t kFew = 8;  // are looked through
  static constexpr uint32_t kFree = ~uint32_t{0};

  const std::string& key_at(size_t i) const { return static_cast<const typename Base::Container&>(*this)[i].first; }
  // Where the key stands, or would stand.
  size_t slot_of(std::string_view key) const {
    size_t slot = std::hash<std::string_view>()(key) % slots_.size();
    while (slots_[slot] != kFree && key_at(slots_[slot]) != key) slot = (slot + 1) % slots_.size();
    return slot;
  }
  size_t index_of(std::string_view key) const {
    if (!slots_.empty()) {
      const uint32_t found = slots_[slot_of(key)];
      return found == kFree ? this->size() : found;
    }
    size_t i = 0;
    while (i < this->size() && key_at(i) != key) ++i;
    return i;
  }

  std::vector<uint32_t> slots_;  // positions by hash; empty where there are few
};

using OrderedJson = nlohmann::basic_json<OrderedObject>;

}  // namespace onsight::text
