#include "models/registry.inc"  // generated from the folders: kModels

#include "models/model.h"

namespace onsight::models {
std::span<const ModelDef* const> registry() { return kModels; }

Result<const ModelDef*> find_model(const Path& folder) {
  std::error_code error;
  if (!std::filesystem::exists(folder, error))
    return bad_input("{}: no such folder, expected a checkpoint folder in Hugging Face layout", folder.string());
  if (!std::filesystem::is_directory(folder, error))
    return bad_input("{}: expected a checkpoint folder in Hugging Face layout, found a file", folder.string());
  TRY(Json config, load_json(folder / "config.json"));
  for (const ModelDef* def : kModels)
    if (def->matches(config)) return def;
  std::string found = "nothing";
  if (config.is_object() && config.contains("architectures")) {
    found = config["architectures"].dump();
  } else if (config.is_object() && config.contains("model_type")) {
    found = config["model_type"].dump();
  }
  std::string ids;
  for (const ModelDef* def : kModels) ids += (ids.empty() ? "" : ", ") + std::string(def->id);
  return bad_input("{}: architecture {} is not supported, expected one of {}", (folder / "config.json").string(),
                   found.size() > 200 ? found.substr(0, 200) + "…" : found, ids);
}

}  // namespace onsight::models
