#include "agents/workspace/merge.h"

#include <algorithm>
#include <map>

#include "agents/workspace/paths.h"

namespace onsight::agents::workspace {
namespace {

std::vector<std::string> fields_of(std::string_view text) {
  std::vector<std::string> fields;
  while (!text.empty()) {
    fields.emplace_back(text.substr(0, text.find('\0')));
    text.remove_prefix(std::min(fields.back().size() + 1, text.size()));
  }
  return fields;
}

// The part of a path that lies below the working tree, or empty.
std::string within(const Path& root, const Path& path) {
  std::error_code error;
  const Path real = std::filesystem::weakly_canonical(path.is_absolute() ? path : root / path, error);
  const std::string base = root.string() + "/", whole = real.string() + "/";
  if (error || !whole.starts_with(base)) return {};
  return whole.substr(base.size());
}

bool lies_in(const std::string& path, const std::string& folder) { return (path + "/").starts_with(folder); }

// Places in the working tree at which the user's own configuration makes the user's git read or run files.
std::vector<std::pair<std::string, std::string>> obeyed(const UserRepository& repository,
                                                        const UserSettings& settings) {
  std::vector<std::pair<std::string, std::string>> places;
  const auto add = [&](const Path& path, std::string what) {
    const std::string folder = within(repository.root, path);
    if (!folder.empty() && !lies_in(folder, ".git/")) places.emplace_back(folder, std::move(what));
  };
  if (const std::string_view hooks = settings.get("core.hookspath"); !hooks.empty())
    add(Path(hooks), "which your git runs (core.hooksPath)");
  for (const Setting& one : settings.all())
    if (!one.origin.empty()) add(one.origin, "which your git reads as its configuration");
  return places;
}

}  // namespace

Result<MergeTree> merge_trees(const Git& git, const std::string& ours, const std::string& theirs) {
  std::string text;
  const auto keep = [&](std::string_view part) {
    text += part;
    return Status();
  };
  TRY(const Ended ended,
      git.run({"merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", ours, theirs}, {}, keep));
  if (ended.code > 1) return bad_input("{}", complaint(ended, "merge-tree"));
  std::vector<std::string> fields = fields_of(text);
  if (fields.empty()) return bad_input("git merge-tree: it wrote no tree");
  MergeTree tree{.tree = fields[0], .conflicts = {fields.begin() + 1, fields.end()}};
  if (ended.code == 1 && tree.conflicts.empty()) return bad_input("git merge-tree: conflicts without a path");
  return tree;
}

Result<std::string> commit_merge(const Git& git, const MergeTree& tree, const std::string& ours,
                                 const std::string& theirs, const Identity& who, std::string_view message) {
  Git with = git;
  for (const char* role : {"AUTHOR", "COMMITTER"}) {
    with.variables.push_back(fmt::format("GIT_{}_NAME={}", role, who.name));
    with.variables.push_back(fmt::format("GIT_{}_EMAIL={}", role, who.email));
  }
  std::string text(message);
  text.erase(std::remove(text.begin(), text.end(), '\0'), text.end());
  if (text.empty() || text.back() != '\n') text += '\n';
  return with.line({"commit-tree", tree.tree, "-p", ours, "-p", theirs, "-F", "-"}, text);
}

Status check_merge(const std::vector<FileChange>& changes, bool with_config) {
  TRY_STATUS(check_paths(changes));
  for (const FileChange& change : changes)
    if (!with_config && is_below(change.path, ".onsight"))
      return bad_input(
          "the agent's work changes '{}', which says what agents may do; look at it, then ask for it with the merge",
          printable(change.path));
  return {};
}

Result<std::vector<std::string>> notes_on_merge(const Git& git, const std::vector<FileChange>& changes,
                                                const UserRepository& repository, const UserSettings& settings,
                                                const Applied& applied) {
  std::vector<std::string> notes;
  std::map<std::string, std::vector<std::string>> by_filter;
  for (const auto& [path, filter] : applied.filtered) by_filter[filter].push_back(path);
  for (const auto& [filter, paths] : by_filter)
    notes.push_back(filter == "lfs"
                        ? fmt::format("LFS files stayed pointers: {}; git lfs pull fetches them", some_of(paths))
                        : fmt::format("the filter '{}' was not run on {}; git checkout of them runs it",
                                      printable(filter), some_of(paths)));
  std::vector<std::string> submodules, links;
  for (const FileChange& change : changes) {
    if (change.to_mode == FileChange::kSubmodule || change.from_mode == FileChange::kSubmodule)
      submodules.push_back(change.path);
    if (!change.is_link() || change.to == change.from) continue;
    TRY(const std::string target, git.text({"cat-file", "blob", change.to}));
    if (leads_out(change.path, target)) links.push_back(change.path);
  }
  if (!submodules.empty())
    notes.push_back(fmt::format("submodules changed and were left as they are: {}", some_of(submodules)));
  if (!links.empty()) notes.push_back(fmt::format("links lead out of the repository: {}", some_of(links)));
  for (const auto& [folder, what] : obeyed(repository, settings)) {
    std::vector<std::string> paths;
    for (const FileChange& change : changes)
      if (lies_in(change.path, folder)) paths.push_back(change.path);
    if (!paths.empty()) notes.push_back(fmt::format("the merge changed {}, {}", some_of(paths), what));
  }
  for (const char* name : {".gitmodules", ".lfsconfig"})
    for (const FileChange& change : changes)
      if (change.path == name && change.to_mode != 0)
        notes.push_back(fmt::format("the merge changed {}, which says where your git fetches from", name));
  return notes;
}

}  // namespace onsight::agents::workspace
