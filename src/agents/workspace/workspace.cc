#include "agents/workspace/workspace.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <ctime>
#include <set>

#include "agents/workspace/apply.h"
#include "agents/workspace/clone.h"
#include "agents/workspace/incoming.h"
#include "agents/workspace/merge.h"
#include "agents/workspace/mirror.h"
#include "agents/workspace/replay.h"

namespace onsight::agents::workspace {
namespace {

std::string work_ref(std::string_view agent) { return fmt::format("refs/agents/{}", agent); }
std::string wip_ref(std::string_view agent) { return fmt::format("refs/agents/{}.wip", agent); }
std::string base_ref(std::string_view agent) { return fmt::format("refs/agents-base/{}", agent); }
std::string kept_refs(std::string_view agent) { return fmt::format("refs/agents-kept/{}/", agent); }

// The CLI checked it; here it becomes part of paths and refs.
Status check_agent(std::string_view agent) {
  const bool plain = !agent.empty() && agent.size() <= 30 && agent[0] >= 'a' && agent[0] <= 'z' &&
                     std::all_of(agent.begin(), agent.end(),
                                 [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
  if (!plain)
    return bad_input("'{}': expected the name of an agent, a letter and then letters, digits and dashes",
                     printable(agent));
  return {};
}

struct Head {
  std::string branch, commit;  // empty: detached; unborn
};

class GitWorkspace : public Workspace {
 public:
  GitWorkspace(Project project, Limits limits, UserRepository user, Mirror mirror)
      : project_(std::move(project)), limits_(limits), user_(std::move(user)), mirror_(std::move(mirror)) {}

  Result<std::string> make_clone(std::string_view agent, const std::string& branch, const std::string& revision,
                                 int uid, int gid, std::vector<std::string>& notes) override {
    TRY_STATUS(check_agent(agent));
    const std::string name(agent), full = "refs/heads/" + branch;
    TRY(const bool valid, git().asks({"check-ref-format", full}));
    if (!valid) return bad_input("'{}': no name of a branch", printable(branch));
    TRY(const std::string commit, commit_of(revision));
    TRY_STATUS(make_folders(project_.clone(agent).parent_path()));
    TRY(const Handle making, lock_clone(agent));
    if (has_clone(agent)) return bad_input("{}: it has a clone already", agent);
    {
      TRY(const Handle lock, mirror_.lock());
      TRY(const std::string work, ref_of(git(), work_ref(agent)));
      if (!work.empty())
        return bad_input("{}: work of an agent of this name is still here; merge it or remove that agent first", agent);
      TRY(const std::string taken, ref_of(user_.git(), full));
      if (!taken.empty())
        return bad_input("{}: a branch of this name exists in the repository; choose another name", printable(branch));
      TRY_STATUS(mirror_.sync({commit}));
      TRY_STATUS(change_refs(git(), {{base_ref(agent), commit}}));
    }
    TRY(const Head head, user_head());
    const CloneWish wish = {.folder = project_.clone(agent),
                            .agent = name,
                            .branch = branch,
                            .commit = commit,
                            .upstream = head.commit == commit ? head.branch : "",
                            .format = user_.format,
                            .uid = uid,
                            .gid = gid};
    const Status written = write_clone(mirror_, wish, notes);
    if (written) return commit;
    TRY(const Handle lock, mirror_.lock());
    TRY_STATUS(change_refs(git(), {{base_ref(agent), ""}}));
    return tl::unexpected<Error>(written.error());
  }

  bool has_clone(std::string_view agent) override {
    std::error_code error;
    return check_agent(agent) && std::filesystem::exists(std::filesystem::symlink_status(project_.clone(agent), error));
  }

  Status remove_clone(std::string_view agent) override {
    TRY_STATUS(check_agent(agent));
    if (!std::filesystem::exists(project_.clone(agent).parent_path())) return {};
    TRY(const Handle removing, lock_clone(agent));
    // Out of its place first: a half-removed clone is none.
    const Path gone = fresh_name(project_.clone(agent).parent_path() / fmt::format(".{}", agent));
    std::error_code error;
    if (has_clone(agent)) std::filesystem::rename(project_.clone(agent), gone, error);
    if (error) return make_error(ErrorCode::kIo, "{}: {}", printable(project_.clone(agent).string()), error.message());
    Status done;
    for (const Path& left : children_of(gone.parent_path()))  // with what was left of it by earlier ones
      if (left.filename().string().starts_with(fmt::format(".{}.tmp-", agent)))
        if (Status removed = remove_tree(left); !removed) done = removed;
    return done;
  }

  Result<Collected> collect(std::string_view agent, const std::string& base, const WriteBundle& write_bundle) override {
    TRY_STATUS(check_agent(agent));
    TRY_STATUS(check_base(base));
    // Without the lock, since how long it takes is the agent's choice.
    TRY(Incoming incoming, Incoming::receive(mirror_, write_bundle, limits_));
    TRY(const Handle lock, mirror_.lock());
    TRY(const Arrived arrived, incoming.verify(base));
    TRY_STATUS(incoming.keep());
    TRY(const std::string work, ref_of(git(), work_ref(agent)));
    TRY(const std::string wip, ref_of(git(), wip_ref(agent)));
    std::vector<RefChange> changes = {{work_ref(agent), arrived.work}};
    if (!work.empty()) {
      TRY(const bool grown, git().asks({"merge-base", "--is-ancestor", work, arrived.work}));
      if (!grown) changes.push_back({kept_refs(agent) + work, work});
    }
    if (!wip.empty() && arrived.wip.empty()) {
      // Committed by now, or thrown away: then it is kept.
      TRY(const std::string tree, git().line({"rev-parse", wip + "^{tree}"}));
      TRY(const std::string trees, git().text({"log", "--format=%T", arrived.work, "^" + base}));
      if (trees.find(tree) == std::string::npos) changes.push_back({kept_refs(agent) + wip, wip});
    }
    if (!arrived.wip.empty()) changes.push_back({wip_ref(agent), arrived.wip});
    if (!wip.empty() && arrived.wip.empty()) changes.push_back({wip_ref(agent), ""});
    TRY_STATUS(change_refs(git(), changes));
    TRY(const std::optional<Collected> found, collected(agent, base));
    if (!found) return bad_input("{}: what was collected is gone", agent);
    return *found;
  }

  Result<std::optional<Collected>> collected(std::string_view agent, const std::string& base) override {
    TRY_STATUS(check_agent(agent));
    TRY_STATUS(check_base(base));
    TRY(const Refs refs, refs_of(git(), {work_ref(agent), wip_ref(agent)}));
    const auto work = refs.find(work_ref(agent)), wip = refs.find(wip_ref(agent));
    if (work == refs.end()) return std::optional<Collected>();
    Collected found{.commit = work->second, .wip = wip == refs.end() ? "" : wip->second};
    TRY(const std::string count, git().line({"rev-list", "--count", found.commit, "^" + base}));
    std::from_chars(count.data(), count.data() + count.size(), found.ahead);
    return std::optional<Collected>(std::move(found));
  }

  Result<std::string> diff(std::string_view agent, const std::string& base, bool wip, bool stat, bool colour) override {
    TRY(const std::optional<Collected> found, collected(agent, base));
    if (!found) return bad_input("{}: nothing was collected from it yet", agent);
    return diff_of(git(), base, wip && !found->wip.empty() ? found->wip : found->commit, stat, colour);
  }

  Result<Merged> merge(std::string_view agent, const std::string& message, bool with_config) override {
    TRY_STATUS(check_agent(agent));
    TRY(const Head head, ready_head());
    TRY(const Handle lock, mirror_.lock());
    TRY_STATUS(mirror_.sync({head.commit}));
    TRY(const std::string work, ref_of(git(), work_ref(agent)));
    if (work.empty()) return bad_input("{}: nothing was collected from it yet", agent);
    return bring(head, work, message, with_config, fmt::format("onsight agents: merge {}", agent), false);
  }

  Result<std::string> current_branch() override {
    TRY(const Head head, user_head());
    return head.branch;
  }

  Result<std::string> make_branch(const std::string& branch, const std::string& revision) override {
    const std::string full = "refs/heads/" + branch;
    TRY(const bool valid, git().asks({"check-ref-format", full}));
    if (!valid) return bad_input("'{}': no name of a branch", printable(branch));
    TRY(const std::string commit, commit_of(revision));
    TRY(const std::string taken, ref_of(user_.git(), full));
    if (!taken.empty()) return bad_input("{}: a branch of this name exists in the repository", printable(branch));
    TRY_STATUS(identity_of(user_));  // who commits what is brought to it
    TRY_STATUS(user_.git().done({"update-ref", "-m", "onsight agents: run", full, commit, ""}));
    return commit;
  }

  Result<std::string> branch_tip(const std::string& branch) override {
    TRY(std::string commit, ref_of(user_.git(), "refs/heads/" + branch));
    if (commit.empty()) return bad_input("{}: there is no such branch", printable(branch));
    return commit;
  }

  Result<Rebased> rebase(std::string_view agent, const std::string& onto) override {
    TRY_STATUS(check_agent(agent));
    TRY_STATUS(check_base(onto));
    TRY(const Identity who, identity_of(user_));
    TRY(const Handle lock, mirror_.lock());
    TRY_STATUS(mirror_.sync({onto}));
    TRY(const std::string work, ref_of(git(), work_ref(agent)));
    if (work.empty()) return bad_input("{}: nothing was collected from it yet", agent);
    TRY(Replayed made, replay(git(), work, onto, who, fmt::format("Merge agents/{}", agent)));
    if (!made.conflicts.empty()) return Rebased{.conflicts = std::move(made.conflicts)};
    if (made.commit == onto) return Rebased{.commit = onto, .nothing = true};
    TRY(const std::vector<FileChange> changes, changes_between(git(), onto, made.commit));
    TRY_STATUS(check_merge(changes, false));
    TRY_STATUS(check_sizes(git(), changes, limits_.max_changed_bytes));
    return Rebased{.commit = std::move(made.commit)};
  }

  Status advance_branch(const std::string& branch, const std::string& from, const std::string& to) override {
    TRY_STATUS(check_base(from));
    TRY_STATUS(check_base(to));
    TRY(const Head head, user_head());
    if (head.branch == branch)
      return bad_input("{}: it is checked out now, and an agent's work does not move it under you: git switch away",
                       printable(branch));
    TRY(const Handle lock, mirror_.lock());
    TRY_STATUS(carry(git(), user_.git(), user_.objects(), {to}, {from}));
    return user_.git().done({"update-ref", "-m", "onsight agents: run", "refs/heads/" + branch, to, from});
  }

  Result<Merged> merge_branch(const std::string& branch, const std::string& message) override {
    TRY(const Head head, ready_head());
    TRY(const std::string work, branch_tip(branch));
    TRY(const Handle lock, mirror_.lock());
    TRY_STATUS(mirror_.sync({head.commit, work}));
    return bring(head, work, message, false, fmt::format("onsight agents: merge {}", branch), true);
  }

  Result<std::string> branch_diff(const std::string& branch, const std::string& base, bool stat, bool colour) override {
    TRY_STATUS(check_base(base));
    TRY(const std::string tip, branch_tip(branch));
    return diff_of(user_.git(), base, tip, stat, colour);
  }

  Status check_out(const Path& folder, const std::string& commit, int uid, int gid) override {
    TRY_STATUS(check_base(commit));
    TRY_STATUS(make_folders(folder.parent_path()));
    std::vector<std::string> notes;
    return write_clone(mirror_,
                       {.folder = folder,
                        .agent = "check",
                        .branch = "check",
                        .commit = commit,
                        .format = user_.format,
                        .uid = uid,
                        .gid = gid},
                       notes);
  }

  Result<bool> is_merged(std::string_view agent) override {
    TRY_STATUS(check_agent(agent));
    TRY(const Refs refs, refs_of(git(), {work_ref(agent), wip_ref(agent)}));
    if (refs.empty()) return true;  // nothing is there that could be lost
    if (refs.count(wip_ref(agent)) > 0) return false;
    TRY(const Head head, user_head());
    if (head.commit.empty()) return false;
    const std::string work = refs.begin()->second;
    TRY(const std::vector<std::string> there, present(user_.git(), {work}));
    if (there.empty()) return false;
    return user_.git().asks({"merge-base", "--is-ancestor", work, head.commit});
  }

  Result<std::string> back_up(std::string_view agent) override {
    TRY_STATUS(check_agent(agent));
    TRY(const Handle lock, mirror_.lock());
    TRY(const Refs refs, refs_of(git(), {work_ref(agent), wip_ref(agent), kept_refs(agent)}));
    const auto work = refs.find(work_ref(agent)), wip = refs.find(wip_ref(agent));
    if (work == refs.end()) return bad_input("{}: nothing was collected from it yet", agent);
    std::vector<std::string> commits;
    for (const auto& [name, commit] : refs) commits.push_back(commit);
    TRY(const Refs known, refs_of(git(), {"refs/heads/", "refs/tags/"}));
    std::set<std::string> tips;
    for (const auto& [name, commit] : known) tips.insert(commit);
    TRY(const std::vector<std::string> shared, present(user_.git(), {tips.begin(), tips.end()}));
    TRY_STATUS(carry(git(), user_.git(), user_.objects(), commits, shared));
    // The wip lies above the work and holds it.
    const std::string name = fresh_backup(agent);
    std::vector<RefChange> changes = {{name, wip == refs.end() ? work->second : wip->second}};
    for (const auto& [ref, commit] : refs)
      if (ref.starts_with(kept_refs(agent))) changes.push_back({fmt::format("{}-kept/{}", name, commit), commit});
    TRY_STATUS(change_refs(user_.git(), changes));
    return name;
  }

  Status forget(std::string_view agent) override {
    TRY_STATUS(check_agent(agent));
    TRY(const Handle lock, mirror_.lock());
    TRY(const Refs refs, refs_of(git(), {work_ref(agent), wip_ref(agent), base_ref(agent), kept_refs(agent)}));
    std::vector<RefChange> changes;
    for (const auto& [name, commit] : refs) changes.push_back({name, ""});
    return change_refs(git(), changes);
  }

  Result<std::string> bundle_for(std::string_view agent, const std::string& revision) override {
    TRY_STATUS(check_agent(agent));
    TRY(const std::string commit, commit_of(revision));
    TRY(const Head head, user_head());
    const std::string branch = revision == "HEAD" ? head.branch : revision;
    TRY(const bool named, git().asks({"check-ref-format", "refs/heads/" + branch}));
    TRY(const std::string tip, named ? ref_of(user_.git(), "refs/heads/" + branch) : Result<std::string>(""));
    TRY(const Handle lock, mirror_.lock());
    TRY_STATUS(mirror_.sync({commit}));
    TRY(const std::string base, ref_of(git(), base_ref(agent)));
    if (base.empty()) return bad_input("{}: it has no clone", agent);
    TRY(const bool had, git().asks({"merge-base", "--is-ancestor", commit, base}));
    if (had) return std::string();
    const std::string ref = "refs/heads/" + (tip == commit ? branch : "onsight-sync");
    const Bundle bundle{.needs = {base}, .refs = {{ref, commit}}};
    TRY(const std::string pack,
        git().text({"pack-objects", "-q", "--revs", "--thin", "--stdout", "--delta-base-offset"},
                   fmt::format("{}\n^{}\n", commit, base)));
    return bundle_head(bundle, user_.format) + pack;
  }

 private:
  const Git& git() const { return mirror_.git(); }
  std::string where() const { return printable(user_.root.string()); }

  Result<Handle> lock_clone(std::string_view agent) const {
    const Path clone = project_.clone(agent);
    return lock_file(clone.parent_path() / fmt::format(".{}.lock", agent), 120,
                     fmt::format("another command on {}", agent));
  }

  static Result<std::string> diff_of(Git git, const std::string& from, const std::string& to, bool stat, bool colour) {
    git.max_output_bytes = 256 << 20;
    std::vector<std::string> command = {"diff", "--no-ext-diff", "--no-textconv",
                                        colour ? "--color=always" : "--color=never"};
    if (stat) command.emplace_back("--stat");
    command.insert(command.end(), {from, to, "--"});
    return git.text(command);
  }

  // Of a tree into which something may be merged.
  Result<Head> ready_head() const {
    TRY_STATUS(recover(user_));
    TRY_STATUS(check_nothing_under_way(user_));
    TRY(Head head, user_head());
    if (head.branch.empty())
      return bad_input("{}: no branch is checked out (a detached HEAD); git switch goes to one", where());
    if (head.commit.empty()) return bad_input("{}: its branch has no commit yet", where());
    return head;
  }

  // A commit of the mirror's into the branch that is checked out; under the mirror's lock().
  Result<Merged> bring(const Head& head, const std::string& work, const std::string& message, bool with_config,
                       const std::string& why, bool forward) {
    TRY(const Identity who, identity_of(user_));
    TRY(const UserSettings settings, UserSettings::read(user_));
    TRY(const bool merged, git().asks({"merge-base", "--is-ancestor", work, head.commit}));
    if (merged) return Merged{.commit = head.commit, .nothing = true};
    std::string commit = work;
    TRY(const bool grown, git().asks({"merge-base", "--is-ancestor", head.commit, work}));
    if (!forward || !grown) {
      TRY(MergeTree tree, merge_trees(git(), head.commit, work));
      if (!tree.conflicts.empty()) return Merged{.conflicts = std::move(tree.conflicts)};
      TRY(commit, commit_merge(git(), tree, head.commit, work, who, message));
    }
    TRY(const std::vector<FileChange> changes, changes_between(git(), head.commit, commit));
    TRY_STATUS(check_merge(changes, with_config));
    TRY_STATUS(check_sizes(git(), changes, limits_.max_changed_bytes));
    TRY_STATUS(carry(git(), user_.git(), user_.objects(), {commit}, {head.commit}));
    TRY(const Applied applied, apply({.repository = user_,
                                      .settings = settings,
                                      .branch = head.branch,
                                      .from = head.commit,
                                      .to = commit,
                                      .why = why}));
    TRY(std::vector<std::string> notes, notes_on_merge(git(), changes, user_, settings, applied));
    return Merged{.commit = commit, .notes = std::move(notes)};
  }

  Status check_base(const std::string& base) const {
    if (!is_object_name(base, user_.format)) return bad_input("'{}': no name of a commit", printable(base));
    return {};
  }

  Result<Head> user_head() const {
    Head head;
    std::string text;
    const auto keep = [&](std::string_view part) {
      text += part;
      return Status();
    };
    TRY(const Ended symbolic, user_.git().run({"symbolic-ref", "-q", "HEAD"}, {}, keep));
    const std::string_view branches = "refs/heads/";
    if (symbolic.code == 0 && std::string_view(text).starts_with(branches))
      head.branch = text.substr(branches.size(), text.find('\n') - branches.size());
    text.clear();
    TRY(const Ended known, user_.git().run({"rev-parse", "-q", "--verify", "HEAD^{commit}"}, {}, keep));
    if (known.code == 0) head.commit = text.substr(0, text.find('\n'));
    return head;
  }

  Result<std::string> commit_of(const std::string& revision) const {
    TRY(const Head head, user_head());
    TRY(const Refs refs,
        head.commit.empty() ? refs_of(user_.git(), {"refs/heads/"}) : Result<Refs>(Refs{{"HEAD", head.commit}}));
    if (refs.empty()) return bad_input("{}: an empty repository; agents begin at a commit, so make one first", where());
    std::string text;
    const auto keep = [&](std::string_view part) {
      text += part;
      return Status();
    };
    TRY(const Ended ended,
        user_.git().run({"rev-parse", "-q", "--verify", "--end-of-options", revision + "^{commit}"}, {}, keep));
    if (ended.code == 0) return text.substr(0, text.find('\n'));
    if (revision == "HEAD") return bad_input("{}: the branch that is checked out has no commit yet", where());
    return bad_input("'{}': no commit of {}", printable(revision), where());
  }

  std::string fresh_backup(std::string_view agent) const {
    const std::time_t now = std::time(nullptr);
    std::tm parts{};
    ::gmtime_r(&now, &parts);
    const std::string name =
        fmt::format("refs/onsight/backup/{}-{:04}{:02}{:02}T{:02}{:02}{:02}Z", agent, parts.tm_year + 1900,
                    parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
    for (int n = 1;; ++n) {
      std::string tried = n == 1 ? name : fmt::format("{}-{}", name, n);
      const Result<std::string> taken = ref_of(user_.git(), tried);
      if (!taken || taken->empty()) return tried;
    }
  }

  Project project_;
  Limits limits_;
  UserRepository user_;
  Mirror mirror_;
};

}  // namespace

Result<std::unique_ptr<Workspace>> Workspace::open(const Project& project, const Limits& limits) {
  return workspace::open(project, limits);
}

Result<std::unique_ptr<Workspace>> open(const Project& project, const Limits& limits) {
  TRY(UserRepository user, find_repository(project.root));
  TRY_STATUS(recover(user));
  TRY(Mirror mirror, Mirror::open(project.mirror(), user));
  return std::unique_ptr<Workspace>(
      std::make_unique<GitWorkspace>(project, limits, std::move(user), std::move(mirror)));
}

}  // namespace onsight::agents::workspace
