// Checks: a commit tried in a clean container of its own, which has no network, no broker and no agent's files.
#pragma once

#include <string>
#include <vector>

#include "agents/config/plan.h"
#include "agents/fleet.h"

namespace onsight::agents::orchestrator {

struct Checked {
  bool good = true;
  std::string command;  // that failed, as one would type it
  std::string output;   // the end of what it wrote
};

struct CheckWish {
  std::string commit;  // of the mirror's
  std::string image;
  int uid = 0;
  config::Limits limits;
  std::vector<config::Command> commands;  // one after another in one tree, until one fails
  std::chrono::milliseconds limit{};      // of each
};
Result<Checked> run_checks(Fleet& fleet, const CheckWish& wish);

// Ends those that run, and removes what is left of former ones.
Status end_checks(Fleet& fleet);

}  // namespace onsight::agents::orchestrator
