// Other programs, run without a shell.
//
//   TRY(const std::string png, output_of({"pdftoppm", "-png", "-f", "3", "-l", "3", path}, 1 << 28,
//   std::chrono::seconds(60)));
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
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

// A program, all that it is given, and how far it may go.
struct Program {
  std::vector<std::string> command;                          // the first is found in this process's PATH, or is a path
  std::optional<std::vector<std::string>> environment = {};  // "NAME=VALUE", all of it; none: this process's own
  std::filesystem::path folder = {};                         // that it begins in; empty: this process's
  std::string_view input = {};                               // its standard input
  int input_file = -1;                                       // in place of `input`: from where this one stands
  // Gets what is written, as it comes; an error ends the program and is what run() returns. None: it is not kept.
  std::function<Status(std::string_view)> output = {};
  std::chrono::milliseconds limit = std::chrono::minutes(10);
  uint64_t max_output_bytes = uint64_t{1} << 30;
  uint64_t max_memory_bytes =
      0;  // of addresses, its own and of each program that it starts; 0: as much as this process
};
struct Ended {
  int code = 0;        // 128 and more: the signal that ended it
  std::string errors;  // the last 4 KiB of its standard error
};
// Runs it in a process group of its own, which is ended as a whole when it takes or writes too much. That it cannot be
// run or goes too far is an error; that it ends with another code than 0 is not.
Result<Ended> run(const Program& program);

// Runs a line of the shell with these variables beside this process's own, its output on standard error, nothing to
// read. Returns its exit code (128 and more: the signal that ended it). After `limit`, or when `stop` says so, it is
// ended, with the programs that it started, and that is an error.
Result<int> run_shell(const std::string& line, const std::vector<std::pair<std::string, std::string>>& variables,
                      std::chrono::milliseconds limit, const std::function<bool()>& stop);

}  // namespace onsight
