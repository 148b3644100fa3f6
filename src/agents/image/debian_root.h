// DebianRoot: a tar of a small Debian, with mmdebstrap or debootstrap.
//
//   TRY_STATUS(make_debian_root(recipe, work, out, on_line, stop));
#pragma once

#include <functional>
#include <string_view>

#include "agents/image/recipe.h"
#include "base/file.h"
#include "base/result.h"

namespace onsight::agents::image {

// From where this machine's apt has its packages, if that is the same Debian; ONSIGHT_DEBIAN_MIRROR says another place.
// `work` is a folder for what lies in between.
Status make_debian_root(const Recipe& recipe, const Path& work, const Path& out,
                        const std::function<void(std::string_view)>& on_line, const std::function<bool()>& stop);

}  // namespace onsight::agents::image
