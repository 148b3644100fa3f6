#include "server/metrics.h"

#include <fmt/format.h>

#include <algorithm>

namespace onsight::server {

void Histogram::add(double seconds) {
  const auto bound = std::lower_bound(kBounds.begin(), kBounds.end(), seconds);
  ++counts_[static_cast<size_t>(bound - kBounds.begin())];
  sum_us_ += static_cast<int64_t>(seconds * 1e6);
}

std::string Histogram::text(std::string_view name, std::string_view help) const {
  std::string out = fmt::format("# HELP {0} {1}\n# TYPE {0} histogram\n", name, help);
  int64_t sum = 0;
  for (size_t i = 0; i < kBounds.size(); ++i) {
    sum += counts_[i];
    out += fmt::format("{}_bucket{{le=\"{}\"}} {}\n", name, kBounds[i], sum);
  }
  sum += counts_.back();
  out += fmt::format("{0}_bucket{{le=\"+Inf\"}} {1}\n{0}_sum {2}\n{0}_count {1}\n", name, sum,
                     static_cast<double>(sum_us_) / 1e6);
  return out;
}

void Metrics::count(std::string_view dialect, int status) {
  const std::scoped_lock lock(mutex_);
  ++requests_[{std::string(dialect), status}];
}

std::string Metrics::requests_text() const {
  std::string out =
      "# HELP onsight_http_requests_total Requests that were answered.\n# TYPE onsight_http_requests_total counter\n";
  const std::scoped_lock lock(mutex_);
  for (const auto& [key, count] : requests_)
    out += fmt::format("onsight_http_requests_total{{api=\"{}\",status=\"{}\"}} {}\n", key.first, key.second, count);
  return out;
}

std::string metric_text(std::string_view name, std::string_view type, std::string_view help, double value) {
  return fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n{0} {3}\n", name, help, type, value);
}

}  // namespace onsight::server
