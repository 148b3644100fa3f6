// Metrics: counters of what is served, in Prometheus' text format.
//
//   metrics.count("openai", 200);
//   metrics.first_token.add(0.25);
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

namespace onsight::server {

// Seconds, by upper bounds.
class Histogram {
 public:
  static constexpr std::array kBounds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                         0.5,   1.0,    2.5,   5.0,  10.0,  25.0, 60.0};
  void add(double seconds);
  std::string text(std::string_view name, std::string_view help) const;

 private:
  std::array<std::atomic<int64_t>, kBounds.size() + 1> counts_{};
  std::atomic<int64_t> sum_us_{0};
};

class Metrics {
 public:
  void count(std::string_view dialect, int status);
  std::string requests_text() const;

  Histogram first_token, token_gap;

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, int64_t> requests_;
};

// A line of a value, with what is said about it.
std::string metric_text(std::string_view name, std::string_view type, std::string_view help, double value);

}  // namespace onsight::server
