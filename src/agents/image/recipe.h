// Recipe: what goes into the image of a harness, down to the versions; and so its tag, which changes when any of it
// does.
//
//   const Recipe recipe = recipe_of(harness);
//   recipe.tag;   // "onsight-agents/claude:2.1.330-5a1c0f3e"
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "agents/harness/harness.h"
#include "agents/runtime/runtime.h"

namespace onsight::agents::image {

constexpr std::string_view kGuestLabel = "onsight.guest", kHarnessLabel = "onsight.harness",
                           kVersionLabel = "onsight.version", kRecipeLabel = "onsight.recipe";

struct Recipe {
  std::string harness;
  std::string suite, architecture;           // of Debian: "bookworm", "amd64"
  std::vector<std::string> packages;         // of Debian
  std::vector<std::string> npm;              // "@google/gemini-cli@0.61.0"
  std::string main_package;                  // whose own programs are in PATH: "@google/gemini-cli"; empty: none
  std::map<std::string, std::string> links;  // other programs in PATH → file below node_modules
  std::string base;                          // of the root that `packages` make: a name for a file
  std::string tag;
  runtime::Labels labels;
  std::vector<std::string> environment;  // "PATH=/usr/local/bin:…"
};

Recipe recipe_of(const harness::Harness& harness);

// Of the guest program that this build goes with: "0.1.0-1f2e3d4c".
std::string_view guest_version();

}  // namespace onsight::agents::image
