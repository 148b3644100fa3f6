// How much memory there is, and how much this process has used.
#pragma once

#include <cstdint>

namespace onsight::engine {

// Bytes that can be allocated before the system would kill or refuse: free memory, the cgroup's limit and the
// address-space limit.
int64_t available_memory_bytes();

}  // namespace onsight::engine
