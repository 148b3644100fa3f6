// Sha256: the checksum of FIPS 180-4.
//
//   Sha256 sum;
//   sum.add(bytes);
//   std::array<std::byte, 32> digest = sum.finish();
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace onsight {

class Sha256 {
 public:
  using Digest = std::array<std::byte, 32>;
  void add(std::span<const std::byte> bytes);
  Digest finish();
  static Digest of(std::span<const std::byte> bytes);

 private:
  void block(const std::byte* data);
  std::array<uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::byte, 64> rest_{};
  uint64_t bytes_ = 0;
};

std::string to_hex(std::span<const std::byte> bytes);

}  // namespace onsight
