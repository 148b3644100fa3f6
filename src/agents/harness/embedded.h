// The harness files of this folder, as they were when the program was built (cmake/embed_folder.cmake).
#pragma once

#include <span>
#include <string_view>

namespace onsight::agents::harness {

struct EmbeddedFile {
  std::string_view name;  // "claude"
  std::string_view text;
};
std::span<const EmbeddedFile> embedded_files();

}  // namespace onsight::agents::harness
