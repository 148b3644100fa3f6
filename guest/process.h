// Programs that are run to their end, without a shell.
//
//   TRY(std::string out, output_of({.command = {"git", "write-tree"}, .environment = scrubbed}));
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace onsight::guest {

struct Job {
  std::vector<std::string> command;
  std::vector<std::string> environment;  // all of it
  std::string folder = {};               // empty: this process's
  std::string_view input = {};
  std::vector<int> accepted = {0};  // exit codes that are no error
};

// What it prints; what it says on standard error goes to ours. Fails with its first line of that.
Result<std::string> output_of(const Job& job);
// What it prints is what we print.
Status run(const Job& job);

}  // namespace onsight::guest
