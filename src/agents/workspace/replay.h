// Replay: the commits of a branch made once more on top of another commit, in the mirror, where nothing is checked out
// and nothing is configured: what `git rebase` would give where nothing conflicts.
//
//   TRY(const Replayed replayed, replay(mirror.git(), work, onto, who));
#pragma once

#include <string>
#include <vector>

#include "agents/workspace/git.h"

namespace onsight::agents::workspace {

struct Replayed {
  std::string commit;                  // empty: conflicts
  std::vector<std::string> conflicts;  // paths
  int commits = 0;                     // above `onto`
};

// All that `work` holds and `onto` does not. A history with merges is merged as it is: its own decisions would be lost.
// Authors, dates and messages stay; `who` is the committer. Commits that change nothing there are left out.
Result<Replayed> replay(const Git& git, const std::string& work, const std::string& onto, const Identity& who,
                        std::string_view merge_message);

}  // namespace onsight::agents::workspace
