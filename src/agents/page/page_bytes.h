// The page, which is a part of the program.
#pragma once

#include <string_view>

namespace onsight::agents::page {

std::string_view page_bytes();

}  // namespace onsight::agents::page
