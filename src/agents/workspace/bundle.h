// Bundle: what git calls a file of commits, as an agent's container writes it. The head is read here and not by git,
// whose fetch would take a bundle's objects unverified.
//
//   TRY(const Bundle bundle, parse_bundle(first_bytes, "sha1"));
//   bundle.find("refs/heads/work");   // a commit, or empty
//   bundle.pack_begins;               // byte of the file at which the pack begins
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace onsight::agents::workspace {

struct Bundle {
  std::vector<std::string> needs;                         // commits that the receiver must have
  std::vector<std::pair<std::string, std::string>> refs;  // name, object
  uint64_t pack_begins = 0;

  std::string_view find(std::string_view ref) const;
};

constexpr size_t kLongestBundleHead = 1 << 20;

// Of a file that begins so; `format` as the repository has it, "sha1" or "sha256".
Result<Bundle> parse_bundle(std::string_view first, std::string_view format);
// The head of one that is written here.
std::string bundle_head(const Bundle& bundle, std::string_view format);
bool is_object_name(std::string_view text, std::string_view format);

}  // namespace onsight::agents::workspace
