// Apply: moves the user's branch, index and working tree from one commit to another, entirely or not at all, also when
// this process is killed in between. No git that reads the user's configuration touches the working tree: files are
// written to a folder beside it by one that knows no filters, then moved to their places without following links.
//
//   TRY_STATUS(apply({.repository = user, .settings = settings, .branch = "main", .from = a, .to = b, .why =
//   "merge"})); TRY_STATUS(recover(user));   // after a crash: ends what was decided, undoes what was not
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "agents/workspace/git.h"

namespace onsight::agents::workspace {

struct Step {
  UserRepository repository;
  UserSettings settings;
  std::string branch;    // "main", which HEAD names
  std::string from, to;  // commits; the objects of `to` are in the repository
  std::string why;       // for the reflog
  // For tests: called with a name before whatever changes a file. An error is as one of that change.
  std::function<Status(std::string_view)> at = {};
};

// What stays as git stores it, since no filter was run: paths and the filters that are configured for them.
struct Applied {
  std::vector<std::pair<std::string, std::string>> filtered;
};

Result<Applied> apply(const Step& step);
Status recover(const UserRepository& repository);
// Refuses while a merge, rebase or the like is under way.
Status check_nothing_under_way(const UserRepository& repository);

}  // namespace onsight::agents::workspace
