// Changes: which files differ between two commits, and what of that a host takes from an agent.
#pragma once

#include <string>
#include <vector>

#include "agents/workspace/git.h"

namespace onsight::agents::workspace {

struct FileChange {
  int from_mode = 0, to_mode = 0;  // as in a tree, 0100644; 0: not there
  std::string from, to;            // objects
  std::string path;

  static constexpr int kLink = 0120000, kSubmodule = 0160000;
  bool is_link() const { return to_mode == kLink; }
};

// Renamed files are two: one that went, one that came. In the order of paths.
Result<std::vector<FileChange>> changes_between(const Git& git, const std::string& from, const std::string& to);
// Refuses the first that is dangerous on a host, with its path.
Status check_paths(const std::vector<FileChange>& changes);
// Refuses more than max_bytes of contents.
Status check_sizes(const Git& git, const std::vector<FileChange>& changes, uint64_t max_bytes);

}  // namespace onsight::agents::workspace
