#include "engine/memory.h"

#include <sys/resource.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

#include "engine/engine.h"

namespace onsight::engine {
namespace {

constexpr int64_t kUnknown = std::numeric_limits<int64_t>::max();

// The value of a "Name:  123 kB" row, in bytes.
int64_t kilobyte_row(const char* path, const std::string& name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(name)) return std::strtoll(line.c_str() + name.size(), nullptr, 10) * 1024;
  return kUnknown;
}

int64_t number_in(const char* path) {
  std::ifstream file(path);
  int64_t n = 0;
  return file >> n ? n : kUnknown;  // "max" is not a number: no limit
}

}  // namespace

int64_t available_memory_bytes() {
  int64_t available = kilobyte_row("/proc/meminfo", "MemAvailable:");
  const int64_t limit = number_in("/sys/fs/cgroup/memory.max"), used = number_in("/sys/fs/cgroup/memory.current");
  if (limit != kUnknown && used != kUnknown) available = std::min(available, std::max<int64_t>(0, limit - used));
  struct rlimit address {};
  if (::getrlimit(RLIMIT_AS, &address) == 0 && address.rlim_cur != RLIM_INFINITY) {
    const int64_t size = kilobyte_row("/proc/self/status", "VmSize:");
    if (size != kUnknown)
      available = std::min(available, std::max<int64_t>(0, static_cast<int64_t>(address.rlim_cur) - size));
  }
  return available;
}

int64_t peak_memory_bytes() {
  const int64_t peak = kilobyte_row("/proc/self/status", "VmHWM:");
  return peak == kUnknown ? 0 : peak;
}

}  // namespace onsight::engine
