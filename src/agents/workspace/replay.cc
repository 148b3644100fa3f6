#include "agents/workspace/replay.h"

#include <algorithm>
#include <sstream>

#include "agents/workspace/merge.h"

namespace onsight::agents::workspace {
namespace {

// Longer histories of one agent are merged.
constexpr size_t kMostReplayed = 1000;

struct Original {
  std::string commit, parent;  // parent: empty of a root
};

// Oldest first; nothing where one of them is a merge or a root.
Result<std::vector<Original>> line_of(const Git& git, const std::string& work, const std::string& onto) {
  TRY(const std::string text, git.text({"rev-list", "--reverse", "--topo-order", "--parents", work, "^" + onto}));
  std::vector<Original> line;
  std::istringstream lines(text);
  for (std::string row; std::getline(lines, row);) {
    std::istringstream words(row);
    Original one;
    std::string other;
    words >> one.commit >> one.parent >> other;
    if (one.parent.empty() || !other.empty()) return std::vector<Original>();
    line.push_back(std::move(one));
  }
  if (line.size() > kMostReplayed) line.clear();
  return line;
}

Git by(const Git& git, const Identity& author, const std::string& date, const Identity& committer) {
  Git with = git;
  with.variables.push_back("GIT_AUTHOR_NAME=" + author.name);
  with.variables.push_back("GIT_AUTHOR_EMAIL=" + author.email);
  if (!date.empty()) with.variables.push_back("GIT_AUTHOR_DATE=" + date);
  with.variables.push_back("GIT_COMMITTER_NAME=" + committer.name);
  with.variables.push_back("GIT_COMMITTER_EMAIL=" + committer.email);
  return with;
}

Result<std::string> tree_of(const Git& git, const std::string& commit) {
  return git.line({"rev-parse", commit + "^{tree}"});
}

// What `theirs` changed since `before`, on `ours`. merge-tree takes its base from the commits' history: these three
// have one that says so.
Result<MergeTree> merge_three(const Git& git, const std::string& before, const std::string& ours,
                              const std::string& theirs) {
  if (before == ours) return MergeTree{.tree = theirs};
  TRY(const std::string base, git.line({"commit-tree", before, "-m", "base"}));
  TRY(const std::string left, git.line({"commit-tree", ours, "-p", base, "-m", "ours"}));
  TRY(const std::string right, git.line({"commit-tree", theirs, "-p", base, "-m", "theirs"}));
  return merge_trees(git, left, right);
}

}  // namespace

Result<Replayed> replay(const Git& git, const std::string& work, const std::string& onto, const Identity& who,
                        std::string_view merge_message) {
  Replayed out;
  TRY(const std::string count, git.line({"rev-list", "--count", work, "^" + onto}));
  if (count == "0") return Replayed{.commit = onto};
  TRY(const bool grown, git.asks({"merge-base", "--is-ancestor", onto, work}));
  TRY(const std::vector<Original> line, line_of(git, work, onto));
  out.commits = line.empty() ? 1 : static_cast<int>(line.size());
  if (grown) {  // it began there already
    out.commit = work;
    return out;
  }
  if (line.empty()) {
    TRY(MergeTree tree, merge_trees(git, onto, work));
    out.conflicts = std::move(tree.conflicts);
    if (!out.conflicts.empty()) return out;
    TRY(out.commit, commit_merge(git, tree, onto, work, who, merge_message));
    return out;
  }
  std::string at = onto;
  TRY(std::string tree, tree_of(git, onto));
  const Git plain = by(git, who, "", who);
  out.commits = 0;
  for (const Original& one : line) {
    TRY(const std::string before, tree_of(git, one.parent));
    TRY(const std::string theirs, tree_of(git, one.commit));
    TRY(MergeTree merged, merge_three(plain, before, tree, theirs));
    if (!merged.conflicts.empty()) return Replayed{.conflicts = std::move(merged.conflicts)};
    if (merged.tree == tree) continue;
    tree = merged.tree;
    TRY(const std::string head, git.text({"log", "-1", "--date=raw", "--format=%an%x00%ae%x00%ad%x00%B", one.commit}));
    std::vector<std::string> parts;
    std::string_view rest = head;
    for (int i = 0; i < 3; ++i) {
      parts.emplace_back(rest.substr(0, rest.find('\0')));
      rest.remove_prefix(std::min(parts.back().size() + 1, rest.size()));
    }
    while (rest.ends_with('\n')) rest.remove_suffix(1);
    Identity author{.name = parts[0], .email = parts[1]};
    if (author.name.empty() || author.email.empty()) author = who;
    TRY(at, by(git, author, parts[2], who).line({"commit-tree", tree, "-p", at, "-F", "-"}, std::string(rest) + "\n"));
    ++out.commits;
  }
  out.commit = at;
  return out;
}

}  // namespace onsight::agents::workspace
