// What an answer cost, for people.
#pragma once

#include <chrono>

#include "engine/engine.h"

namespace onsight::cli {

class Stopwatch {
 public:
  double ms() const {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// On standard error. `tiles`: how many the engine read for this reply.
void print_stats(const engine::Reply& reply, const engine::ModelInfo& model, int64_t tiles);

// "1.2 GB", "35 MB"
std::string readable_bytes(int64_t bytes);
// "12,345"
std::string readable_count(int64_t count);

}  // namespace onsight::cli
