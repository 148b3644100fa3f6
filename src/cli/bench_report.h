// What `onsight bench` found, as a table, as JSON and as a plot.
#pragma once

#include <string>
#include <vector>

#include "cli/bench_measure.h"
#include "cli/machine.h"
#include "cli/plot.h"
#include "compute/ceilings.h"

namespace onsight::cli {

enum class Sweep { kNone, kTiles, kTokens, kThreads };
std::string_view to_string(Sweep sweep);  // "tiles"

struct SweepPoint {
  int threads = 0;
  Figures figures;
};

struct BenchReport {
  Machine machine;
  compute::Ceilings ceilings;
  int threads = 0, runs = 0;
  std::string picture;  // the file; empty in a sweep that makes its own input
  int picture_width = 0, picture_height = 0;
  Figures figures;  // without a sweep
  Sweep sweep = Sweep::kNone;
  std::vector<SweepPoint> points;
};

std::string to_table(const BenchReport& report);
std::string to_json(const BenchReport& report);
std::string to_svg(const BenchReport& report);

}  // namespace onsight::cli
