// Repository: what there is to know of a clone without running a git in it, so that none of its configuration, hooks,
// filters and the like is ever looked at.
//
//   TRY(Repository clone, Repository::open("/agent/repo"));
//   clone.resolve("refs/heads/work");   // the commit's id
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace onsight::guest {

// A file's bytes: at most `max_bytes`, never waiting for a pipe, and not through a link in its last part.
std::optional<std::string> read_plain(const std::string& path, size_t max_bytes);
// As git has it for what comes after refs/heads/, and no more than 200 bytes.
bool is_branch_name(std::string_view name);
bool is_object_id(std::string_view text);  // SHA-1 or SHA-256

class Repository {
 public:
  // A folder with a .git folder in it, or a linked worktree's file, of which `git` is the common folder.
  static Result<Repository> open(const std::string& tree);
  // The commit that a ref ("HEAD", "refs/heads/x") leads to, through others; nullopt: none.
  std::optional<std::string> resolve(std::string_view ref) const;
  const std::string& tree() const { return tree_; }
  const std::string& git() const { return git_; }
  const std::string& common() const { return common_; }

 private:
  Repository(std::string tree, std::string git, std::string common)
      : tree_(std::move(tree)), git_(std::move(git)), common_(std::move(common)) {}
  std::string tree_, git_, common_;
};

struct Survey {
  std::vector<std::string> nested;   // folders, from the tree on, that are repositories of their own
  std::vector<std::string> strange;  // what git would read and wait for: a .gitignore that is a pipe, say
  std::vector<std::string> skipped;  // too deep, or not to be read
};
// Walks a working tree without following links; what is within a nested repository is not looked at.
Survey survey(const std::string& tree);

}  // namespace onsight::guest
