// Collect: a clone's work as a git bundle on standard output. It is read with a repository of our own that borrows the
// clone's objects, so that nothing that the clone says is run: no hooks, no filters, no fsmonitor, no configuration.
//
//   TRY_STATUS(collect({.branch = "agents/reviewer", .base = "1f2e…"}));
#pragma once

#include <string>

#include "base/result.h"

namespace onsight::guest {

struct CollectOptions {
  std::string branch;
  std::string base = {};  // a commit that the receiver has; empty: it has none
  std::string tree = "/agent/repo";
};

// In the bundle: refs/heads/work, the branch (where there is none, HEAD, then the base); and, where the working tree is
// not as HEAD left it or HEAD has commits that the branch has not, refs/heads/wip: a commit whose first parent is the
// branch, whose second is HEAD in the latter case, and whose tree is all that is not ignored. What could not be
// recorded is said on standard error. The same state gives the same commits.
Status collect(const CollectOptions& options);

}  // namespace onsight::guest
