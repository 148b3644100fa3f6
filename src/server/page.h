// The web page, which is a part of the program.
#pragma once

#include <string_view>

namespace onsight::server {

std::string_view page_bytes();

}  // namespace onsight::server
