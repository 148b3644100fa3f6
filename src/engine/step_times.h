// StepTimes: how long the steps of the network took; those of one kind are added up.
//
//   StepTimes times;
//   network.time_into(times);                              // from now on
//   for (const StepTime& step : times.all()) std::cout << step.what << step.ms;
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "compute/executor.h"
#include "engine/engine.h"

namespace onsight::engine {

class StepTimes {
 public:
  // `context`: positions that were in the cache before. `kv`: of the cache.
  void add(StepTime::Part part, const compute::Graph& graph, std::span<const compute::Op> ops, int64_t context,
           compute::DType kv, double ms);
  // In the order in which they were first seen; what is not of linear layers or attention comes last in its part.
  std::vector<StepTime> all() const;

 private:
  std::vector<StepTime> steps_;
  std::map<std::pair<StepTime::Part, std::string>, size_t> places_;
};

}  // namespace onsight::engine
