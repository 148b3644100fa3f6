#include "cli/model_path.h"

#include <sys/auxv.h>

#include "hub/find_model.h"

namespace onsight::cli {

std::vector<Path> model_folders() {
  std::error_code error;
  Path program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error)  // no /proc here: by the name under which it was started
    if (const auto* name = reinterpret_cast<const char*>(::getauxval(AT_EXECFN)))
      program = std::filesystem::canonical(name, error);
  return hub::model_folders(error ? Path() : program.parent_path().parent_path());
}

Result<Path> find_model(const std::optional<std::string>& model) {
  if (model == "")
    return make_error(ErrorCode::kUsage,
                      "--model: expected a folder, a .onsight or .gguf file, or a name, found nothing");
  return hub::find_model(model, model_folders());
}

}  // namespace onsight::cli
