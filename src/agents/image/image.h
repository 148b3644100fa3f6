// Image: the root file system that a harness's containers have, made on this machine of Debian's packages and npm's.
//
//   TRY_STATUS(image::build(harness, *runtime, {.progress = [](const image::Step& step) { … }}));
//   runtime->image_id(harness::image_tag(harness));
//
// No script of an npm package is run. The root of Debian is kept in $XDG_CACHE_HOME/onsight/images and serves all
// harnesses.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "agents/harness/harness.h"
#include "agents/image/recipe.h"
#include "agents/runtime/runtime.h"
#include "base/file.h"
#include "base/result.h"

namespace onsight::agents::image {

struct Step {
  std::string what;    // "Debian", "npm", "image", "import"
  std::string detail;  // what its program says at the moment
  uint64_t bytes = 0;  // that went to the engine
};

struct Options {
  Path cache = {};  // empty: $XDG_CACHE_HOME/onsight/images, or ~/.cache/onsight/images
  Path guest = {};  // empty: find_guest()
  std::function<void(const Step&)> progress = {};
  std::function<bool()> stop = {};
  bool fresh = false;  // also where there is such an image, or a root of Debian: with what Debian has by now
};

// The program that runs in containers: ONSIGHT_GUEST, beside this program, or in ../libexec/onsight/ from there.
// Refuses one of another version.
Result<Path> find_guest();

// A tar with the root file system, in the cache; whoever asked removes it. Nothing half-made is left whatever happens.
Result<Path> make_root(const harness::Harness& harness, const Options& options);

// Makes the image unless the engine has it.
Status build(const harness::Harness& harness, runtime::Runtime& runtime, const Options& options);

}  // namespace onsight::agents::image
