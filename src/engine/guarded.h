// guarded: third-party exceptions and failed allocations end here and become Errors.
#pragma once

#include <exception>
#include <new>

#include "base/result.h"
#include "engine/memory.h"

namespace onsight::engine {

template <class Body>
auto guarded(const Body& body) -> decltype(body()) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return make_error(ErrorCode::kOutOfMemory, "not enough memory: an allocation was refused, {} MB are free",
                      available_memory_bytes() >> 20);
  } catch (const std::exception& e) {
    return bad_input("unexpected failure: {}", e.what());
  }
}

}  // namespace onsight::engine
