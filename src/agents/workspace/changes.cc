#include "agents/workspace/changes.h"

#include <algorithm>
#include <charconv>

#include "agents/workspace/paths.h"

namespace onsight::agents::workspace {
namespace {

int octal(std::string_view text) {
  int value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value, 8);
  return value;
}

// Files that git itself reads out of a working tree: as links they would lead it elsewhere.
bool is_read_by_git(std::string_view path) {
  const std::string_view name = path.substr(path.rfind('/') + 1);
  return is_below(name, ".gitattributes") || is_below(name, ".gitmodules") || is_below(name, ".gitignore") ||
         is_below(name, ".mailmap") || is_below(name, ".lfsconfig");
}

}  // namespace

Result<std::vector<FileChange>> changes_between(const Git& git, const std::string& from, const std::string& to) {
  TRY(const std::string text, git.text({"diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-ext-diff", from, to}));
  std::vector<FileChange> changes;
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view head = rest.substr(0, rest.find('\0'));
    rest.remove_prefix(std::min(head.size() + 1, rest.size()));
    const std::string_view path = rest.substr(0, rest.find('\0'));
    rest.remove_prefix(std::min(path.size() + 1, rest.size()));
    // ":100644 100755 OBJECT OBJECT M"
    const size_t names = head.find(' ', 8);
    const size_t second = head.find(' ', names + 1), third = head.find(' ', second + 1);
    if (head.empty() || head[0] != ':' || third == std::string_view::npos)
      return bad_input("git diff-tree: what it writes is not understood ('{}')", printable(head));
    changes.push_back({.from_mode = octal(head.substr(1, 6)),
                       .to_mode = octal(head.substr(8, names - 8)),
                       .from = std::string(head.substr(names + 1, second - names - 1)),
                       .to = std::string(head.substr(second + 1, third - second - 1)),
                       .path = std::string(path)});
  }
  return changes;
}

Status check_paths(const std::vector<FileChange>& changes) {
  for (const FileChange& change : changes) {
    if (change.to_mode == 0) continue;
    if (const std::string_view why = dangerous(change.path); !why.empty())
      return bad_input("the agent's work is refused: '{}' has {}", printable(change.path), why);
    if (change.is_link() && is_read_by_git(change.path))
      return bad_input("the agent's work is refused: '{}' is a link, where git expects a file", printable(change.path));
  }
  return {};
}

Status check_sizes(const Git& git, const std::vector<FileChange>& changes, uint64_t max_bytes) {
  std::string input;
  for (const FileChange& change : changes)
    if (change.to_mode != 0 && change.to_mode != FileChange::kSubmodule) input += change.to + "\n";
  if (input.empty()) return {};
  TRY(const std::string text, git.text({"cat-file", "--batch-check=%(objectsize)"}, input));
  uint64_t bytes = 0;
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    uint64_t size = 0;
    if (std::from_chars(line.data(), line.data() + line.size(), size).ec != std::errc())
      return bad_input("the agent's work is refused: a file without contents");
    bytes += size;
    if (size > max_bytes || bytes > max_bytes)
      return bad_input("the agent's work is refused: its files have more than {} bytes", max_bytes);
  }
  return {};
}

}  // namespace onsight::agents::workspace
