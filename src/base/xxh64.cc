#include "base/xxh64.h"

#include <algorithm>
#include <bit>

namespace onsight {
namespace {

constexpr uint64_t kPrime1 = 0x9e3779b185ebca87, kPrime2 = 0xc2b2ae3d27d4eb4f, kPrime3 = 0x165667b19e3779f9,
                   kPrime4 = 0x85ebca77c2b2ae63, kPrime5 = 0x27d4eb2f165667c5;

uint64_t little_endian(const std::byte* p, int bytes) {
  uint64_t word = 0;
  for (int i = 0; i < bytes; ++i) word |= std::to_integer<uint64_t>(p[i]) << (8 * i);
  return word;
}

uint64_t mix(uint64_t lane, uint64_t word) { return std::rotl(lane + word * kPrime2, 31) * kPrime1; }

}  // namespace

void Xxh64::stripe(const std::byte* data) {
  for (size_t i = 0; i < lanes_.size(); ++i) lanes_[i] = mix(lanes_[i], little_endian(data + 8 * i, 8));
}

Xxh64& Xxh64::add(std::span<const std::byte> bytes) {
  const size_t held = bytes_ % kStripe;
  bytes_ += bytes.size();
  if (held > 0) {
    const size_t n = std::min(bytes.size(), kStripe - held);
    std::copy_n(bytes.begin(), n, rest_.begin() + static_cast<ptrdiff_t>(held));
    bytes = bytes.subspan(n);
    if (held + n < kStripe) return *this;
    stripe(rest_.data());
  }
  for (; bytes.size() >= kStripe; bytes = bytes.subspan(kStripe)) stripe(bytes.data());
  std::copy(bytes.begin(), bytes.end(), rest_.begin());
  return *this;
}

uint64_t Xxh64::finish() const {
  uint64_t h = kPrime5;
  if (bytes_ >= kStripe) {
    constexpr std::array<int, 4> kTurns = {1, 7, 12, 18};
    h = 0;
    for (size_t i = 0; i < lanes_.size(); ++i) h += std::rotl(lanes_[i], kTurns[i]);
    for (uint64_t lane : lanes_) h = (h ^ mix(0, lane)) * kPrime1 + kPrime4;
  }
  h += bytes_;
  const std::byte *at = rest_.data(), *end = at + bytes_ % kStripe;
  for (; end - at >= 8; at += 8) h = std::rotl(h ^ mix(0, little_endian(at, 8)), 27) * kPrime1 + kPrime4;
  for (; end - at >= 4; at += 4) h = std::rotl(h ^ little_endian(at, 4) * kPrime1, 23) * kPrime2 + kPrime3;
  for (; at < end; ++at) h = std::rotl(h ^ std::to_integer<uint64_t>(*at) * kPrime5, 11) * kPrime1;
  h = (h ^ h >> 33) * kPrime2;
  h = (h ^ h >> 29) * kPrime3;
  return h ^ h >> 32;
}

}  // namespace onsight
