#include "hub/find_model.h"

#include <strings.h>

#include <algorithm>
#include <cstdlib>

#include "formats/native_writer.h"
#include "hub/cache.h"

namespace onsight::hub {
namespace {

constexpr const char* kShippedModel = "onsight-nano";

bool is_gguf(const Path& path) { return strcasecmp(path.extension().c_str(), ".gguf") == 0; }

// OWNER/NAME, as the hub has it: nothing where it is no such name, or not in the cache.
std::optional<Path> find_pulled(const std::string& model) {
  const auto repository = Repository::parse(model);
  const auto cache = cache_folder();
  return repository && cache ? Cache(*cache).find(*repository) : std::nullopt;
}

}  // namespace

std::vector<Path> model_folders(const Path& prefix) {
  std::vector<Path> folders;
  if (const char* folder = std::getenv("ONSIGHT_MODELS"); folder && *folder) folders.emplace_back(folder);
  if (!prefix.empty()) folders.push_back(prefix / "share/onsight/models");
  for (const char* folder : {ONSIGHT_INSTALL_MODELS, ONSIGHT_SOURCE_MODELS})
    if (std::find(folders.begin(), folders.end(), Path(folder)) == folders.end()) folders.emplace_back(folder);
  return folders;
}

Result<Path> find_model(const std::optional<std::string>& model, const std::vector<Path>& folders) {
  std::error_code error;
  if (model) {
    const auto status = std::filesystem::status(*model, error);
    if (std::filesystem::is_directory(status)) return Path(*model);
    if (formats::is_native_name(*model) && std::filesystem::exists(status)) return Path(*model);
    if (is_gguf(*model) && (std::filesystem::exists(status) || model->find(',') != std::string::npos))
      return Path(*model);
    if (std::filesystem::exists(status))
      return bad_input("{}: expected the folder of a model, a .onsight or a .gguf file, found a file of another kind",
                       *model);
  }
  const Path name = model.value_or(kShippedModel);
  std::string looked;
  if (name.is_relative()) {
    for (const Path& folder : folders) {
      const auto status = std::filesystem::status(folder / name, error);
      if (std::filesystem::is_directory(status) ||
          ((is_gguf(name) || formats::is_native_name(name)) && std::filesystem::exists(status)))
        return folder / name;
      looked += (looked.empty() ? "" : ", ") + folder.string();
    }
  }
  if (model)
    if (const auto pulled = find_pulled(*model)) return *pulled;
  if (model && Repository::parse(*model))
    return bad_input("model '{0}' not found: there is no such folder, nor was it pulled (onsight pull {0} fetches it)",
                     *model);
  if (looked.empty()) return bad_input("{}: no such folder, expected the folder of a model", name.string());
  return bad_input(
      "model '{}' not found: there is no such folder, .onsight or .gguf file here, nor one of that name in {}",
      name.string(), looked);
}

}  // namespace onsight::hub
