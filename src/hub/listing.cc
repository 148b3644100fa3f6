#include "hub/listing.h"

#include <algorithm>
#include <array>

#include "base/json.h"
#include "hub/repository.h"

namespace onsight::hub {
namespace {

constexpr int64_t kLargestFile = int64_t{1} << 44;
constexpr size_t kMostFiles = 10'000, kLongestFileName = 200;

constexpr std::array<std::string_view, 16> kWanted = {"config.json",
                                                      "generation_config.json",
                                                      "preprocessor_config.json",
                                                      "video_preprocessor_config.json",
                                                      "processor_config.json",
                                                      "tokenizer.json",
                                                      "tokenizer_config.json",
                                                      "special_tokens_map.json",
                                                      "added_tokens.json",
                                                      "vocab.json",
                                                      "merges.txt",
                                                      "chat_template.json",
                                                      "chat_template.jinja",
                                                      "README.md",
                                                      "LICENSE",
                                                      "LICENSE.md"};
constexpr std::string_view kWeights = "model.safetensors", kIndex = "model.safetensors.index.json";

bool is_plain_name(std::string_view name) {
  return !name.empty() && name.size() <= kLongestFileName && name.front() != '.' &&
         std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c <= '~' && c != '/' && c != '\\'; });
}

// In its folder itself, as the hub's own clients look for them.
bool is_template(std::string_view path) {
  return path.starts_with(kTemplateFolder) && path.ends_with(".jinja") &&
         is_plain_name(path.substr(kTemplateFolder.size()));
}

bool is_sum(std::string_view text, size_t digits) {
  return text.size() == digits && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool is_part(std::string_view name) {
  return is_plain_name(name) && name.starts_with("model-") && name.ends_with(".safetensors") &&
         name.find("-of-") != std::string_view::npos;
}

bool may_be_needed(std::string_view name) {
  return name == kWeights || name == kIndex || is_part(name) || is_template(name) ||
         std::find(kWanted.begin(), kWanted.end(), name) != kWanted.end();
}

}  // namespace

Result<Listing> read_listing(std::string_view json, std::string_view where) {
  TRY(const Json document, parse_json(json, where));
  const JsonView view(document, std::string(where));
  Listing out;
  TRY(out.commit, view.string("sha"));
  if (!is_commit(out.commit)) return bad_input("{}: expected \"sha\" to be a commit", where);
  const Json& files = view.at("siblings").json();
  if (!files.is_array() || files.size() > kMostFiles)
    return bad_input("{}: expected \"siblings\", a list of files", where);
  for (const Json& entry : files) {
    HubFile found;
    TRY(found.name, JsonView(entry, fmt::format("{}: siblings", where)).string("rfilename"));
    const auto is_same = [&](const HubFile& other) { return other.name == found.name; };
    if (!may_be_needed(found.name)) continue;
    if (std::any_of(out.files.begin(), out.files.end(), is_same)) continue;
    const JsonView file(entry, fmt::format("{}: siblings: {}", where, found.name));
    const JsonView large = file.at("lfs");
    if (file.has("lfs")) {
      TRY(found.sum, large.string("sha256"));
      TRY(found.bytes, large.integer("size", 0, kLargestFile));
    } else {
      TRY(found.sum, file.string("blobId"));
      TRY(found.bytes, file.integer("size", 0, kLargestFile));
    }
    if (!is_sum(found.sum, file.has("lfs") ? 64 : 40))
      return bad_input("{}: siblings: {}: expected its checksum", where, found.name);
    out.files.push_back(std::move(found));
  }
  return out;
}

Result<std::vector<HubFile>> model_files(const Listing& listing, std::string_view where) {
  const auto has = [&](std::string_view name) {
    return std::any_of(listing.files.begin(), listing.files.end(), [&](const HubFile& f) { return f.name == name; });
  };
  if (!has("config.json")) return bad_input("{}: expected a model, found no config.json", where);
  const bool whole = has(kWeights), in_parts = !whole && has(kIndex);
  if (!whole && !in_parts)
    return bad_input(
        "{}: expected weights in safetensors, found no {} (other formats can hold programs, and are not "
        "fetched)",
        where, kWeights);
  std::vector<HubFile> out;
  for (const HubFile& file : listing.files) {
    const bool in_part = file.name == kIndex || is_part(file.name);
    if (!whole || !in_part) out.push_back(file);
  }
  // The settings come first: whether the model can run is known before its weights come.
  std::stable_sort(out.begin(), out.end(), [](const HubFile& a, const HubFile& b) {
    return std::pair(a.name != "config.json", a.bytes) < std::pair(b.name != "config.json", b.bytes);
  });
  return out;
}

}  // namespace onsight::hub
