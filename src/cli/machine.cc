#include "cli/machine.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>

#include "base/thread_pool.h"
#include "engine/engine.h"

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace onsight::cli {
namespace {

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("model name") && !line.starts_with("Model")) continue;
    const size_t value = line.find_first_not_of(" \t", line.find(':') + 1);
    if (line.find(':') != std::string::npos && value != std::string::npos) return line.substr(value);
  }
  struct utsname system {};
  return ::uname(&system) == 0 ? system.machine : "unknown";
}

}  // namespace

Machine this_machine() {
  Machine machine;
  machine.cpu = cpu_name();
  machine.isa = engine::kernels_name();
  machine.cores = usable_processors();
  machine.memory_bytes = int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGESIZE);
  return machine;
}

void reset_peak_memory() {
#if defined(__GLIBC__)
  ::malloc_trim(0);
#endif
  std::ofstream("/proc/self/clear_refs") << "5";
}

}  // namespace onsight::cli
