// Bpe: byte pair encoding of one piece of text.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "text/string_table.h"

namespace onsight::text {

class Bpe {
 public:
  Bpe() { byte_ids_.fill(-1); }

  void set_byte(unsigned char byte, int32_t id) { byte_ids_[byte] = id; }
  bool has_all_bytes() const { return std::find(byte_ids_.begin(), byte_ids_.end(), -1) == byte_ids_.end(); }
  // What stands for bytes that have no id; without it they are dropped.
  void set_unknown(int32_t id, bool fuse) {
    unknown_ = id;
    fuse_unknown_ = fuse;
  }
  void set_whole_words(const StringTable* vocabulary) { whole_words_ = vocabulary; }
  void reserve_merges(size_t count);
  // Earlier merges come first; a repeated one takes its later place, as in the package.
  void add_merge(int32_t left, int32_t right, int32_t result);

  // Appends the ids of `word`. `work` is scratch space that calls may share.
  struct Work;
  void encode(std::string_view word, Work& work, std::vector<int32_t>& out) const;

 private:
  struct Merge {
    uint64_t key = kEmpty;
    uint32_t rank = 0;
    int32_t result = 0;
  };
  static constexpr uint64_t kEmpty = ~uint64_t{0};
  static uint64_t key(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  size_t slot(uint64_t key) const { return static_cast<size_t>((key * 0x9e3779b97f4a7c15u) >> shift_); }
  const Merge* find(int32_t left, int32_t right) const;
  void symbols_of(std::string_view word, std::vector<int32_t>& out) const;
  void merge_short(std::vector<int32_t>& symbols) const;
  void merge_long(Work& work) const;

  std::array<int32_t, 256> byte_ids_;
  int32_t unknown_ = -1;
  bool fuse_unknown_ = false;
  const StringTable* whole_words_ = nullptr;
  std::vector<Merge> merges_;  // open addressing, a power of two
  int shift_ = 63;
  uint32_t next_rank_ = 0;
};

struct Bpe::Work {
  struct Candidate {
    uint32_t rank, at;
    int32_t result;
    bool operator<(const Candidate& o) const { return rank != o.rank ? rank > o.rank : at > o.at; }  // a min-heap
  };
  std::vector<int32_t> symbols;
  std::vector<uint32_t> previous, next;
  std::vector<Candidate> heap;
  std::string mapped;
};

}  // namespace onsight::text
