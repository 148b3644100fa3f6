// A model becomes a folder that other programs read, made from its files by renaming and packing weights.
//
//   for (const Target* target : targets()) …                       // what --to may be
//   TRY_STATUS(export_model("model.onsight", "out", {.target = targets()[0], .program = "onsight 0.1.0"}));
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/result.h"

namespace onsight::exports {

// A choice that some target offers.
struct Choice {
  std::string_view option, value, help;  // "--bits", "N"
  std::vector<std::string> values;       // the first holds if nothing is chosen
};

struct Job;
// A row of the table: one kind of folder, in one file of targets/.
struct Target {
  std::string_view name, help;
  std::vector<Choice> choices;
  // Writes the weights, and says for the card how they are used.
  Status (*write)(Job& job);
};
std::span<const Target* const> targets();

struct Request {
  const Target* target = nullptr;
  std::map<std::string, std::string, std::less<>> chosen = {};  // option → value
  std::string program;                                          // name and version of this one, for the card
  // What it does, and bytes done of all; false ends it.
  std::function<bool(std::string_view what, int64_t done, int64_t total)> progress = nullptr;
};

// `source`: whatever open_model takes. `folder` is not there, empty, or of an earlier export, which is replaced. It
// appears when all of it is written.
Status export_model(const Path& source, const Path& folder, const Request& request);

}  // namespace onsight::exports
