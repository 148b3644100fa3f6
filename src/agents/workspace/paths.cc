#include "agents/workspace/paths.h"

#include <algorithm>
#include <string>

namespace onsight::agents::workspace {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool same_in_any_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return lower(x) == lower(y); });
}

// Without the characters that HFS+ does not see: U+200C..200F, 202A..202E, 206A..206F, FEFF.
std::string seen_by_hfs(std::string_view name) {
  std::string out;
  for (size_t i = 0; i < name.size(); ++i) {
    const std::string_view three = name.substr(i, 3);
    if (three.size() == 3) {
      const auto last = static_cast<unsigned char>(three[2]);
      const bool joiners =
          three.starts_with("\xe2\x80") && ((last >= 0x8c && last <= 0x8f) || (last >= 0xaa && last <= 0xae));
      const bool others = three.starts_with("\xe2\x81") && last >= 0xaa && last <= 0xaf;
      if (joiners || others || three == "\xef\xbb\xbf") {
        i += 2;
        continue;
      }
    }
    out += name[i];
  }
  return out;
}

// What Windows opens for it: without a stream's name, dots and spaces at the end.
std::string_view seen_by_ntfs(std::string_view name) {
  name = name.substr(0, name.find(':'));
  while (!name.empty() && (name.back() == '.' || name.back() == ' ')) name.remove_suffix(1);
  return name;
}

bool is_dot_git(std::string_view name) {
  const std::string hfs = seen_by_hfs(name);
  for (const std::string_view seen : {name, std::string_view(hfs), seen_by_ntfs(name), seen_by_ntfs(hfs)})
    if (same_in_any_case(seen, ".git") || same_in_any_case(seen, "git~1")) return true;
  return false;
}

std::string_view dangerous_part(std::string_view part) {
  if (part.empty() || part == "." || part == "..") return "no name of a file";
  if (part.size() > 255) return "a name longer than file systems take";
  if (part.find('\0') != std::string_view::npos) return "no name of a file";
  // Where a backslash divides folders, each of them counts.
  for (std::string_view rest = part;;) {
    const size_t end = std::min(rest.find('\\'), rest.size());
    if (is_dot_git(rest.substr(0, end))) return "a spelling of .git, where the host's git keeps what it runs";
    if (end == rest.size()) return {};
    rest.remove_prefix(end + 1);
  }
}

}  // namespace

std::string_view dangerous(std::string_view path) {
  if (path.size() > 4000) return "a path longer than file systems take";
  for (std::string_view rest = path;;) {
    const size_t end = std::min(rest.find('/'), rest.size());
    if (const std::string_view why = dangerous_part(rest.substr(0, end)); !why.empty()) return why;
    if (end == rest.size()) return {};
    rest.remove_prefix(end + 1);
  }
}

bool is_below(std::string_view path, std::string_view folder) {
  const std::string_view first = path.substr(0, path.find('/'));
  const std::string hfs = seen_by_hfs(first);
  return same_in_any_case(hfs, folder) || same_in_any_case(seen_by_ntfs(hfs), folder);
}

bool leads_out(std::string_view path, std::string_view target) {
  if (target.empty() || target.front() == '/') return true;
  long depth = std::count(path.begin(), path.end(), '/');
  for (std::string_view rest = target;;) {
    const size_t end = std::min(rest.find('/'), rest.size());
    const std::string_view part = rest.substr(0, end);
    if (part == "..")
      --depth;
    else if (!part.empty() && part != ".")
      ++depth;
    if (depth < 0) return true;
    if (end == rest.size()) return false;
    rest.remove_prefix(end + 1);
  }
}

}  // namespace onsight::agents::workspace
