// Other programs, run without a shell.
//
//   TRY(const std::string png, output_of({"pdftoppm", "-png", "-f", "3", "-l", "3", path}, 1 << 28,
//   std::chrono::seconds(60)));
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace onsight {

// Whether a program of this name is in PATH; a name with a slash is a path itself.
bool has_program(const std::string& name);

// What the program, found in PATH, writes to its standard output; it reads nothing, and its standard error goes
// nowhere. Fails if it is not there, ends with another code than 0, writes more than max_bytes or takes longer than
// `limit`; then it is ended.
Result<std::string> output_of(const std::vector<std::string>& command, uint64_t max_bytes,
                              std::chrono::milliseconds limit);

// Runs a line of the shell with these variables beside this process's own, its output on standard error, nothing to
// read. Returns its exit code (128 and more: the signal that ended it). After `limit`, or when `stop` says so, it is
// ended, with the programs that it started, and that is an error.
Result<int> run_shell(const std::string& line, const std::vector<std::pair<std::string, std::string>>& variables,
                      std::chrono::milliseconds limit, const std::function<bool()>& stop);

}  // namespace onsight
