// Clone: the private repository of an agent, which shares no file with any other.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "agents/workspace/mirror.h"

namespace onsight::agents::workspace {

struct CloneWish {
  Path folder;  // of the agent: `repo` and `home` are made in it
  std::string agent, branch, commit;
  std::string upstream;  // the user's branch, which it sees as origin/…; empty: none
  std::string format;
  int uid = 0, gid = 0;
};

// All or nothing. Sentences about what it does not hold go to `notes`.
Status write_clone(const Mirror& mirror, const CloneWish& wish, std::vector<std::string>& notes);

}  // namespace onsight::agents::workspace
