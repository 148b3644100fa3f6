#include "agents/workspace/bundle.h"

#include <algorithm>

#include "agents/workspace/git.h"

namespace onsight::agents::workspace {

bool is_object_name(std::string_view text, std::string_view format) {
  return text.size() == (format == "sha256" ? 64 : 40) &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::string_view Bundle::find(std::string_view ref) const {
  const auto found = std::find_if(refs.begin(), refs.end(), [&](const auto& one) { return one.first == ref; });
  return found == refs.end() ? std::string_view() : std::string_view(found->second);
}

Result<Bundle> parse_bundle(std::string_view first, std::string_view format) {
  constexpr size_t kMostLines = 10'000;
  Bundle bundle;
  std::string_view rest = first;
  bool ended = false;
  const auto next = [&]() -> std::string_view {
    const size_t end = rest.find('\n');
    ended = end == std::string_view::npos;
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(ended ? rest.size() : end + 1);
    return line;
  };
  const std::string_view signature = next();
  const bool third = signature == "# v3 git bundle";
  if (ended || (!third && signature != "# v2 git bundle"))
    return bad_input("the agent's bundle: expected one of git, found '{}'", printable(signature.substr(0, 40)));
  std::string_view objects = "sha1";
  for (size_t lines = 0;; ++lines) {
    const std::string_view line = next();
    if (ended || lines > kMostLines) return bad_input("the agent's bundle: its head does not end");
    if (line.empty()) break;
    if (line.front() == '@') {
      if (third && line.starts_with("@object-format="))
        objects = line.substr(15);
      else
        return bad_input("the agent's bundle: it wants '{}', which is not known here", printable(line));
      continue;
    }
    const bool needed = line.front() == '-';
    const std::string_view entry = line.substr(needed ? 1 : 0);
    const std::string_view object = entry.substr(0, entry.find(' '));
    if (!is_object_name(object, objects))
      return bad_input("the agent's bundle: expected an object's name, found '{}'", printable(entry));
    if (needed) {
      bundle.needs.emplace_back(object);
    } else {
      if (entry.size() < object.size() + 2) return bad_input("the agent's bundle: a ref without a name");
      bundle.refs.emplace_back(entry.substr(object.size() + 1), object);
    }
  }
  if (objects != format)
    return bad_input("the agent's bundle: expected objects named by {}, found '{}'", format, printable(objects));
  bundle.pack_begins = first.size() - rest.size();
  return bundle;
}

std::string bundle_head(const Bundle& bundle, std::string_view format) {
  std::string head =
      format == "sha1" ? "# v2 git bundle\n" : fmt::format("# v3 git bundle\n@object-format={}\n", format);
  for (const std::string& commit : bundle.needs) head += fmt::format("-{} \n", commit);
  for (const auto& [name, object] : bundle.refs) head += fmt::format("{} {}\n", object, name);
  return head + "\n";
}

}  // namespace onsight::agents::workspace
