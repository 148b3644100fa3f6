// A file of a harness: what is accepted can be filled in, and names nothing outside of its places.
#include <cstdlib>
#include <string_view>

#include "agents/harness/harness.h"
#include "agents/image/recipe.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace onsight;
  using namespace onsight::agents;
  const auto parsed = harness::parse({reinterpret_cast<const char*>(data), size}, "fuzz", "fuzz.toml");
  const auto expect = [](bool condition) {
    if (!condition) std::abort();
  };
  if (!parsed) {
    expect(!parsed.error().message.empty());
    return 0;
  }
  const harness::Values values = {.task = "{task}", .name = "n", .home = "/h"};
  expect(!parsed->command.empty() && !harness::fill(parsed->command, values).empty());
  for (const auto& [path, text] : parsed->files) {
    expect(!path.empty() && path[0] != '/' && Path(path).lexically_normal().string().substr(0, 2) != "..");
    harness::fill(std::string_view(text), values);
  }
  expect(image::recipe_of(*parsed).tag.find_first_of(" \n\t/@{}", 15) == std::string::npos);
  return 0;
}
