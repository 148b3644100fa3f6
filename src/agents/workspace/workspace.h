// Workspace: a project's commits on their way to agents and back. The user's repository is read and, by merge() alone,
// written; what an agent wrote is never run by a git of the host: no hooks, filters, fsmonitor, submodules,
// configuration.
//
//   TRY(auto workspace, Workspace::open(project));
//   TRY(std::string base, workspace->make_clone("reviewer", "HEAD", uid, gid));
//   TRY(workspace::Collected work, workspace->collect("reviewer", bundle_source));
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agents/project.h"
#include "base/result.h"

namespace onsight::agents::workspace {

struct Collected {
  std::string commit;  // of the agent's branch
  std::string wip;     // a commit above it with what lay in the working tree; empty: it was clean
  int ahead = 0;       // commits of the branch above where it began
};

struct Merged {
  std::string commit;                  // of the user's branch now; empty: conflicts
  std::vector<std::string> conflicts;  // paths
  bool nothing = false;                // it was merged before
  std::vector<std::string> notes;      // sentences for the user: what the merge brought that deserves a look
};

// An agent's work on top of what others brought before it.
struct Rebased {
  std::string commit;                  // empty: conflicts
  std::vector<std::string> conflicts;  // paths
  bool nothing = false;                // all of it is there already
};

// What is taken from an agent.
struct Limits {
  uint64_t max_bundle_bytes = uint64_t{2} << 30;
  uint64_t max_changed_bytes = uint64_t{4} << 30;  // contents of the files that differ from where it began
  uint64_t max_files = 2'000'000;                  // of one commit
  std::chrono::milliseconds verify = std::chrono::minutes(10);
};

class Workspace {
 public:
  // Also ends what a merge that was killed had begun.
  static Result<std::unique_ptr<Workspace>> open(const Project& project, const Limits& limits = {});
  virtual ~Workspace() = default;

  // Brings the mirror up to the user's branches and tags, then makes the agent's clone with `branch` at `revision`
  // checked out, owned by uid:gid, all or nothing. Refuses: an empty repository, a revision that is none, a branch that
  // exists in the mirror's refs/agents/. Returns the commit. Submodules stay empty and LFS files stay pointers; `notes`
  // says so.
  virtual Result<std::string> make_clone(std::string_view agent, const std::string& branch, const std::string& revision,
                                         int uid, int gid, std::vector<std::string>& notes) = 0;
  virtual bool has_clone(std::string_view agent) = 0;
  virtual Status remove_clone(std::string_view agent) = 0;

  // Fetches what a bundle holds, which `write_bundle` streams out of a container (onsight-agent collect), into
  // refs/agents/NAME and refs/agents/NAME.wip of the mirror: verified by fsck, at most max_bytes. History that another
  // fetch brought stays: when the branch was rewritten, the former one is kept as refs/agents-kept/NAME/COMMIT.
  using WriteBundle = std::function<Status(const std::function<Status(std::string_view)>& sink)>;
  virtual Result<Collected> collect(std::string_view agent, const std::string& base,
                                    const WriteBundle& write_bundle) = 0;
  virtual Result<std::optional<Collected>> collected(std::string_view agent, const std::string& base) = 0;

  // As git diff prints it, from where the branch began; `wip`: with what was not committed. Colours if asked.
  virtual Result<std::string> diff(std::string_view agent, const std::string& base, bool wip, bool stat,
                                   bool colour) = 0;
  // Merges refs/agents/NAME into the branch that the user has checked out: a merge commit made in the mirror, to which
  // the user's branch then moves on, with its index and working tree or not at all. Refuses a dirty tree, a detached
  // HEAD, a merge or rebase under way, files of the user's that are in the way and, unless asked, changes to .onsight/.
  virtual Result<Merged> merge(std::string_view agent, const std::string& message, bool with_config = false) = 0;
  virtual Result<bool> is_merged(
      std::string_view agent) = 0;  // whether the user's branch holds all of it; a wip counts as work
  // A ref in the user's repository that keeps what is about to be removed: refs/onsight/backup/NAME-TIME. Returns it.
  virtual Result<std::string> back_up(std::string_view agent) = 0;
  virtual Status forget(std::string_view agent) = 0;  // its refs in the mirror

  // What a run of several agents brings together is a branch of the user's repository that is checked out nowhere.

  virtual Result<std::string> current_branch() = 0;  // that is checked out; empty: none (a detached HEAD)
  // Makes it at `revision`, of which the commit is returned; refuses one that exists.
  virtual Result<std::string> make_branch(const std::string& branch, const std::string& revision) = 0;
  virtual Result<std::string> branch_tip(const std::string& branch) = 0;  // refuses one that is not there
  // What was collected from the agent, made anew on top of `onto`, a commit of the user's, in the mirror alone. Refuses
  // what merge() refuses of an agent's changes.
  virtual Result<Rebased> rebase(std::string_view agent, const std::string& onto) = 0;
  // Moves the branch on to a commit of the mirror's; refused if it is not at `from` (any more).
  virtual Status advance_branch(const std::string& branch, const std::string& from, const std::string& to) = 0;
  // As merge(), of a branch; one that only went on from the branch that is checked out needs no merge commit.
  virtual Result<Merged> merge_branch(const std::string& branch, const std::string& message) = 0;
  // As diff(), of what it holds and `base` does not.
  virtual Result<std::string> branch_diff(const std::string& branch, const std::string& base, bool stat,
                                          bool colour) = 0;
  // A folder with `repo` and `home` in it, as an agent has them, at a commit of the mirror's; it must not be there.
  virtual Status check_out(const Path& folder, const std::string& commit, int uid, int gid) = 0;

  // A bundle of the user's current branch, for `sync`: the agent's container fetches it as origin/BRANCH.
  virtual Result<std::string> bundle_for(std::string_view agent, const std::string& revision) = 0;
};

Result<std::unique_ptr<Workspace>> open(const Project& project, const Limits& limits = {});

}  // namespace onsight::agents::workspace
