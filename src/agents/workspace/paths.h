// Paths of a commit that an agent made: which of them a host must not have in a working tree.
//
//   if (const std::string_view why = dangerous(path); !why.empty()) return bad_input("{}: {}", path, why);
#pragma once

#include <string_view>

namespace onsight::agents::workspace {

// Why, or nothing: a part is .git in a spelling that some file system takes for it, is too long, or no name at all.
std::string_view dangerous(std::string_view path);
// Below a folder of this name, in whatever case.
bool is_below(std::string_view path, std::string_view folder);
// Whether the target of a symbolic link at `path` leads out of the tree, by its text.
bool leads_out(std::string_view path, std::string_view target);

}  // namespace onsight::agents::workspace
