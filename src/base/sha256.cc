#include "base/sha256.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace onsight {
namespace {

// The first 32 bits behind the point of the cube roots of the first 64 primes.
std::array<uint32_t, 64> round_constants() {
  std::array<uint32_t, 64> out{};
  size_t n = 0;
  for (unsigned prime = 2; n < out.size(); ++prime) {
    bool divisible = false;
    for (unsigned d = 2; d * d <= prime; ++d) divisible |= prime % d == 0;
    const double root = std::cbrt(prime);
    if (!divisible) out[n++] = static_cast<uint32_t>((root - std::floor(root)) * 4294967296.0);
  }
  return out;
}

uint32_t big_endian(const std::byte* p) {
  uint32_t word = 0;
  for (int i = 0; i < 4; ++i) word = word << 8 | std::to_integer<uint32_t>(p[i]);
  return word;
}

}  // namespace

void Sha256::block(const std::byte* data) {
  static const std::array<uint32_t, 64> kRound = round_constants();
  std::array<uint32_t, 64> w;
  for (size_t i = 0; i < 16; ++i) w[i] = big_endian(data + 4 * i);
  for (size_t i = 16; i < 64; ++i) {
    const uint32_t a = w[i - 15], b = w[i - 2];
    w[i] = w[i - 16] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ a >> 3) + w[i - 7] +
           (std::rotr(b, 17) ^ std::rotr(b, 19) ^ b >> 10);
  }
  auto [a, b, c, d, e, f, g, h] = state_;
  for (size_t i = 0; i < 64; ++i) {
    const uint32_t t1 =
        h + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) + ((e & f) ^ (~e & g)) + kRound[i] + w[i];
    const uint32_t t2 = (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g;
    g = f;
    f = e;
    e = d + t1;
    d = c;
    c = b;
    b = a;
    a = t1 + t2;
  }
  const std::array<uint32_t, 8> step = {a, b, c, d, e, f, g, h};
  for (size_t i = 0; i < 8; ++i) state_[i] += step[i];
}

Sha256& Sha256::add(std::span<const std::byte> bytes) {
  const size_t held = bytes_ % 64;
  bytes_ += bytes.size();
  if (held > 0) {
    const size_t n = std::min(bytes.size(), 64 - held);
    std::copy_n(bytes.begin(), n, rest_.begin() + static_cast<ptrdiff_t>(held));
    bytes = bytes.subspan(n);
    if (held + n < 64) return *this;
    block(rest_.data());
  }
  for (; bytes.size() >= 64; bytes = bytes.subspan(64)) block(bytes.data());
  std::copy(bytes.begin(), bytes.end(), rest_.begin());
  return *this;
}

Sha256& Sha256::field(uint64_t number) {
  std::array<std::byte, 8> bytes;
  for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<std::byte>(number >> (8 * i));
  return add(std::span<const std::byte>(bytes));
}

Digest Sha256::finish() {
  const uint64_t bits = bytes_ * 8;
  std::array<std::byte, 72> end{std::byte{0x80}};
  const size_t zeros = (119 - bytes_ % 64) % 64 + 1;  // with the 0x80, up to 8 bytes before a whole block
  for (size_t i = 0; i < 8; ++i) end[zeros + i] = static_cast<std::byte>(bits >> (56 - 8 * i));
  add(std::span(end).first(zeros + 8));
  Digest out;
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::byte>(state_[i / 4] >> (24 - i % 4 * 8));
  return out;
}

std::string to_hex(std::span<const std::byte> bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (std::byte b : bytes) {
    out += kDigits[std::to_integer<unsigned>(b) >> 4];
    out += kDigits[std::to_integer<unsigned>(b) & 15];
  }
  return out;
}

}  // namespace onsight
