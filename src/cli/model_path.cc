#include "cli/model_path.h"

#include <strings.h>

#include <algorithm>
#include <cstdlib>
#include <system_error>
#include <vector>

#include "formats/native_writer.h"

namespace onsight::cli {
namespace {

constexpr const char* kDefaultModel = "onsight-nano";

std::vector<Path> model_folders() {
  std::vector<Path> folders;
  if (const char* folder = std::getenv("ONSIGHT_MODELS"); folder && *folder) folders.emplace_back(folder);
  std::error_code error;
  Path program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) folders.push_back(program.parent_path().parent_path() / "share/onsight/models");
  for (const char* folder : {ONSIGHT_INSTALL_MODELS, ONSIGHT_SOURCE_MODELS})
    if (std::find(folders.begin(), folders.end(), Path(folder)) == folders.end()) folders.emplace_back(folder);
  return folders;
}

bool is_gguf(const Path& path) {
  const std::string extension = path.extension().string();
  return extension.size() == 5 && strcasecmp(extension.c_str(), ".gguf") == 0;
}

}  // namespace

Result<Path> find_model(const std::optional<std::string>& model) {
  std::error_code error;
  if (model) {
    if (model->empty())
      return make_error(ErrorCode::kUsage,
                        "--model: expected a folder, a .onsight or .gguf file, or a name, found nothing");
    auto status = std::filesystem::status(*model, error);
    if (std::filesystem::is_directory(status)) return Path(*model);
    if (formats::is_native_name(*model) && std::filesystem::exists(status)) return Path(*model);
    if (is_gguf(*model) && (std::filesystem::exists(status) || model->find(',') != std::string::npos))
      return Path(*model);
    if (std::filesystem::exists(status))
      return bad_input("{}: expected the folder of a model, a .onsight or a .gguf file, found a file of another kind",
                       *model);
  }
  Path name = model.value_or(kDefaultModel);
  std::string looked;
  if (name.is_relative()) {
    for (const Path& folder : model_folders()) {
      const auto status = std::filesystem::status(folder / name, error);
      if (std::filesystem::is_directory(status) ||
          ((is_gguf(name) || formats::is_native_name(name)) && std::filesystem::exists(status)))
        return folder / name;
      looked += (looked.empty() ? "" : ", ") + folder.string();
    }
  }
  if (looked.empty()) return bad_input("{}: no such folder, expected the folder of a model", name.string());
  return bad_input(
      "model '{}' not found: there is no such folder, .onsight or .gguf file here, nor one of that name in {}",
      name.string(), looked);
}

}  // namespace onsight::cli
