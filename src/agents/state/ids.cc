#include <sys/random.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <mutex>

#include "agents/state/store.h"
#include "base/check.h"

namespace onsight::agents::state {

int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// 48 bits of time, then 80 of randomness; within a millisecond of one process the randomness counts up.
std::string new_id() {
  static std::mutex mutex;
  static std::array<uint8_t, 16> last{};
  std::array<uint8_t, 16> bytes{};
  for (size_t got = 0; got < 10;) {
    const ssize_t n = ::getrandom(bytes.data() + 6 + got, 10 - got, 0);
    ONSIGHT_CHECK(n > 0 || errno == EINTR);
    if (n > 0) got += static_cast<size_t>(n);
  }
  const auto time = static_cast<uint64_t>(now_ms());
  for (int i = 0; i < 6; ++i) bytes[i] = static_cast<uint8_t>(time >> (40 - 8 * i));
  {
    const std::lock_guard lock(mutex);
    if (bytes <= last) {
      bytes = last;
      for (int i = 15; i >= 0 && ++bytes[i] == 0; --i) continue;
    }
    last = bytes;
  }
  constexpr std::string_view kDigits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  std::string out;
  uint32_t bits = 0;
  int held = 2;  // 130 bits of 26 digits hold 128: the first digit has two that are always 0
  for (const uint8_t byte : bytes) {
    bits = (bits << 8) | byte;
    held += 8;
    while (held >= 5) {
      held -= 5;
      out += kDigits[(bits >> held) & 31];
    }
  }
  return out;
}

}  // namespace onsight::agents::state
