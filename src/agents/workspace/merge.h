// Merge: a merge commit made in the mirror, where nothing is checked out and nothing is configured.
//
//   TRY(MergeTree tree, merge_trees(mirror.git(), ours, theirs));
//   if (tree.conflicts.empty()) TRY(commit, commit_merge(...));
#pragma once

#include <string>
#include <vector>

#include "agents/workspace/apply.h"
#include "agents/workspace/changes.h"
#include "agents/workspace/git.h"

namespace onsight::agents::workspace {

struct MergeTree {
  std::string tree;
  std::vector<std::string> conflicts;  // paths
};

Result<MergeTree> merge_trees(const Git& git, const std::string& ours, const std::string& theirs);
Result<std::string> commit_merge(const Git& git, const MergeTree& tree, const std::string& ours,
                                 const std::string& theirs, const Identity& who, std::string_view message);
// Refuses what a host does not take; sentences about what it takes but its user should look at.
Status check_merge(const std::vector<FileChange>& changes, bool with_config);
Result<std::vector<std::string>> notes_on_merge(const Git& git, const std::vector<FileChange>& changes,
                                                const UserRepository& repository, const UserSettings& settings,
                                                const Applied& applied);

}  // namespace onsight::agents::workspace
