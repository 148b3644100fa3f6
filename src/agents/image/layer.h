// Layer: what is laid over Debian's root for a harness: npm's packages, our program, and who runs there.
//
//   TRY_STATUS(make_layer(recipe, guest, base_tar, work, folder, on_line, stop));
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "agents/image/recipe.h"
#include "base/file.h"
#include "base/result.h"

namespace onsight::agents::image {

// `folder` becomes the files of the layer; `work` is for what lies in between.
Status make_layer(const Recipe& recipe, const Path& guest, const Path& base, const Path& work, const Path& folder,
                  const std::function<void(std::string_view)>& on_line, const std::function<bool()>& stop);

// The programs of a package.json, by name: {"gemini", "bundle/gemini.js"}.
Result<std::map<std::string, std::string>> programs_of(std::string_view package_json, std::string_view where);

// With the users that agents are, for programs that ask for their own name.
std::string with_users(std::string passwd);
std::string with_groups(std::string group);

}  // namespace onsight::agents::image
