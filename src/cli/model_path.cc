#include "cli/model_path.h"

#include <cstdlib>
#include <system_error>
#include <vector>

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

}  // namespace

Result<Path> find_model(const std::optional<std::string>& model) {
  std::error_code error;
  if (model) {
    if (model->empty()) return make_error(ErrorCode::kUsage, "--model: expected a folder or a name, found nothing");
    auto status = std::filesystem::status(*model, error);
    if (std::filesystem::is_directory(status)) return Path(*model);
    if (std::filesystem::exists(status)) return bad_input("{}: expected the folder of a model, found a file", *model);
  }
  Path name = model.value_or(kDefaultModel);
  std::string looked;
  if (name.is_relative()) {
    for (const Path& folder : model_folders()) {
      if (std::filesystem::is_directory(folder / name, error)) return folder / name;
      looked += (looked.empty() ? "" : ", ") + folder.string();
    }
  }
  if (looked.empty()) return bad_input("{}: no such folder, expected the folder of a model", name.string());
  return bad_input("model '{}' not found: there is no such folder here, nor one of that name in {}", name.string(),
                   looked);
}

}  // namespace onsight::cli
