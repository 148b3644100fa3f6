// Xxh64: the checksum XXH64 (Collet 2012), which tells harmed bytes about as fast as memory gives them. It protects
// against no one: whoever can write a file can write its checksum.
//
//   Xxh64 sum;
//   sum.add(bytes);
//   uint64_t checksum = sum.finish();
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace onsight {

class Xxh64 {
 public:
  Xxh64& add(std::span<const std::byte> bytes);
  uint64_t finish() const;

 private:
  static constexpr size_t kStripe = 32;
  void stripe(const std::byte* data);
  std::array<uint64_t, 4> lanes_ = {0x60ea27eeadc0b5d6, 0xc2b2ae3d27d4eb4f, 0, 0x61c8864e7a143579};  // of the seed 0
  std::array<std::byte, kStripe> rest_{};
  uint64_t bytes_ = 0;
};

}  // namespace onsight
