// Sha256: the checksum of FIPS 180-4.
//
//   Sha256 sum;
//   sum.add(bytes);
//   Digest digest = sum.finish();
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace onsight {

using Digest = std::array<std::byte, 32>;

class Sha256 {
 public:
  Sha256& add(std::span<const std::byte> bytes);
  Sha256& add(std::string_view text) { return add(std::as_bytes(std::span(text))); }
  // A number in eight bytes, or a text behind its length: fields that follow each other cannot run together.
  Sha256& field(uint64_t number);
  Sha256& field(std::string_view text) { return field(text.size()).add(text); }
  Digest finish();
  static Digest of(std::span<const std::byte> bytes) { return Sha256().add(bytes).finish(); }

 private:
  void block(const std::byte* data);
  std::array<uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::byte, 64> rest_{};
  uint64_t bytes_ = 0;
};

inline Digest sha256(std::string_view text) { return Sha256().add(text).finish(); }
std::string to_hex(std::span<const std::byte> bytes);

}  // namespace onsight
