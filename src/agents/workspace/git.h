// Git: the git of this machine, run without a shell, and deaf to whatever is configured: no hooks, fsmonitor, pagers,
// editors, credential helpers, transports or submodules, and no variable GIT_* of this process.
//
//   Git git{.git_dir = project.mirror()};
//   TRY(const std::string commit, git.line({"rev-parse", "--verify", "--end-of-options", revision + "^{commit}"}));
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/subprocess.h"

namespace onsight::agents::workspace {

using Sink = std::function<Status(std::string_view)>;

struct Input {
  std::string_view text = {};
  int file = -1;  // in place of the text
};

struct Git {
  Path git_dir = {};
  Path work_tree = {};                      // empty: none, as in a bare repository
  Path index = {};                          // in place of git_dir's own
  Path objects = {};                        // the same
  std::vector<std::string> settings = {};   // "core.eol=lf", beside those that silence it
  std::vector<std::string> variables = {};  // "GIT_AUTHOR_NAME=…"
  std::chrono::milliseconds limit = std::chrono::minutes(30);
  uint64_t max_output_bytes = uint64_t{2} << 30;

  // The exit code and what it complained of; that it could not be run, or went too far, is an error.
  Result<Ended> run(const std::vector<std::string>& arguments, const Input& input = {}, const Sink& output = {}) const;
  // What it writes; another code than 0 is an error that says what git said.
  Result<std::string> text(const std::vector<std::string>& arguments, std::string_view input = {}) const;
  // The same, without the end of its one line.
  Result<std::string> line(const std::vector<std::string>& arguments, std::string_view input = {}) const;
  Status done(const std::vector<std::string>& arguments, std::string_view input = {}) const;
  // Whether the code is 0 and not 1; others are errors.
  Result<bool> asks(const std::vector<std::string>& arguments) const;
};

// The sentence in what git complained of, fit for a terminal: an agent may have chosen the names in it.
std::string complaint(const Ended& ended, std::string_view command);
// Bytes that an agent chose, with what a terminal would obey replaced, and cut at 120.
std::string printable(std::string_view bytes);
// "a, b, c and 4 more"
std::string some_of(const std::vector<std::string>& paths);

// Where the user's repository lies; `root` and `git_dir` are of this working tree, `common` of all that are linked.
struct UserRepository {
  Path root, git_dir, common;
  std::string format;  // of its objects: "sha1" or "sha256"

  Path objects() const { return common / "objects"; }
  Git git() const { return {.git_dir = git_dir}; }
};
// Of the repository around `folder`. Refuses none, a bare one, one of another user and a partial clone.
Result<UserRepository> find_repository(const Path& folder);

// What the user configured, all files together: read, never obeyed.
struct Setting {
  std::string origin, key, value;  // origin: the file, empty if it is none
};
class UserSettings {
 public:
  static Result<UserSettings> read(const UserRepository& repository);
  std::string_view get(std::string_view key) const;  // the last, or empty; keys in lower case
  const std::vector<Setting>& all() const { return all_; }

 private:
  std::vector<Setting> all_;
};

struct Identity {
  std::string name, email;
};
// Who commits in the user's repository. Refuses where git would.
Result<Identity> identity_of(const UserRepository& repository);

}  // namespace onsight::agents::workspace
