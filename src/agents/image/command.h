// Programs that take minutes: what they say as they go is somebody's to show, and they can be stopped.
//
//   TRY_STATUS(run_command({.words = {"npm", "install", spec}, .folder = work}, on_line, stop));
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/result.h"

namespace onsight::agents::image {

struct Command {
  std::vector<std::string> words;
  std::string input = {};
  Path folder = {};
  std::vector<std::pair<std::string, std::string>> environment = {};  // beside this process's
};

// Its standard output and error go to `on_line`, line by line. Fails with the last line that looks like an error. When
// `stop` says so, it and what it started get TERM, then KILL: kInterrupted.
Status run_command(const Command& command, const std::function<void(std::string_view)>& on_line,
                   const std::function<bool()>& stop);

}  // namespace onsight::agents::image
