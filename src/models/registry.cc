#include "models/registry.inc"  // generated from the folders: kModels

#include "formats/native_writer.h"
#include "models/gguf_files.h"
#include "models/gguf_tokenizer.h"
#include "models/model.h"

namespace onsight::models {
namespace {

std::string supported() {
  std::string ids;
  for (const ModelDef* def : kModels) ids += (ids.empty() ? "" : ", ") + std::string(def->id);
  return ids;
}

Status expect_folder(const Path& folder) {
  std::error_code error;
  if (!std::filesystem::exists(folder, error))
    return bad_input("{}: no such folder, expected a checkpoint folder in Hugging Face layout", folder.string());
  if (!std::filesystem::is_directory(folder, error))
    return bad_input(
        "{}: expected a checkpoint folder in Hugging Face layout, a .onsight or a .gguf file, found another file",
        folder.string());
  // A link that leads nowhere is something, and read later on.
  if (std::filesystem::symlink_status(folder / "config.json", error).type() == std::filesystem::file_type::not_found)
    return bad_input(
        "{}: no model in this folder, expected config.json and model.safetensors as Hugging Face publishes them, or a "
        ".gguf file with its mmproj",
        folder.string());
  return {};
}

Result<const ModelDef*> find_model(const FileSource& files) {
  TRY(const Json config, load_json(files, "config.json"));
  return models::find_model(config, files.place("config.json"));
}

bool is_native_file(const Path& path) {
  std::error_code error;
  return formats::is_native_name(path) && std::filesystem::is_regular_file(path, error);
}

std::string_view architecture(const formats::GgufMetadata& metadata) {
  return metadata.string_or("general.architecture", "").value_or("");
}

Status refuse_part(const formats::GgufMetadata& metadata) {
  TRY(int64_t parts, metadata.integer_or("split.count", 0, 0, INT32_MAX));
  if (parts > 1)
    return bad_input("{}: split.count: expected a file of its own, found one of {} parts", metadata.where(), parts);
  return {};
}

Result<OpenModel> open_gguf(std::vector<Path> files) {
  TRY(formats::Checkpoint checkpoint, formats::Checkpoint::open_gguf(files));
  constexpr std::string_view kProjector = "clip";
  if (architecture(checkpoint.gguf()[0]) == kProjector && architecture(checkpoint.gguf()[1]) != kProjector) {
    std::swap(files[0], files[1]);
    TRY(checkpoint, formats::Checkpoint::open_gguf(files));
  }
  const formats::GgufMetadata &text = checkpoint.gguf()[0], &projector = checkpoint.gguf()[1];
  for (const formats::GgufMetadata& metadata : checkpoint.gguf()) TRY_STATUS(refuse_part(metadata));
  if (architecture(text) == kProjector)
    return bad_input("{}: a projector, expected the file of a text model", text.where());
  if (architecture(projector) != kProjector)
    return bad_input("{}: architecture '{:.100}', expected clip, which a projector has", projector.where(),
                     architecture(projector));
  for (const ModelDef* def : kModels)
    if (def->matches_gguf(text, projector)) return OpenModel{def, std::move(checkpoint)};
  std::string_view kind = projector.string_or("clip.projector_type", "").value_or("");
  return bad_input("{}: architecture '{:.100}' with projector '{:.100}' is not supported, expected one of {}",
                   text.where(), architecture(text), kind, supported());
}

// MLX turns the axes of convolutions and packs weights in a way of its own, under the same names.
Status expect_layout(const formats::Checkpoint& checkpoint, const Path& path) {
  const auto format = checkpoint.metadata().find("format");
  if (format == checkpoint.metadata().end() || format->second != "mlx") return {};
  return bad_input("{}: a model for MLX, expected the one that it was made of, in Hugging Face's layout",
                   path.string());
}

}  // namespace

std::span<const ModelDef* const> registry() { return kModels; }

Result<const ModelDef*> find_model(const Json& config, std::string_view where) {
  for (const ModelDef* def : kModels)
    if (def->matches(config)) return def;
  std::string found = "nothing";
  if (config.is_object() && config.contains("architectures")) {
    found = config["architectures"].dump();
  } else if (config.is_object() && config.contains("model_type")) {
    found = config["model_type"].dump();
  }
  return bad_input("{}: architecture {} is not supported, expected one of {}", where,
                   found.size() > 200 ? found.substr(0, 200) + "…" : found, supported());
}

Result<OpenModel> open_model(const Path& path) {
  TRY(std::vector<Path> files, find_gguf_files(path));
  if (!files.empty()) return open_gguf(std::move(files));
  OpenModel out;
  if (is_native_file(path)) {
    TRY(out.checkpoint, formats::Checkpoint::open_native(path));
    TRY(out.def, find_model(out.checkpoint.settings(path)));
    return out;
  }
  TRY_STATUS(expect_folder(path));
  TRY(out.def, find_model(path));
  TRY(out.checkpoint, formats::Checkpoint::open_safetensors(path));
  TRY_STATUS(expect_layout(out.checkpoint, path));
  return out;
}

std::string name_of(const Path& path) {
  std::error_code error;
  const Path canonical = std::filesystem::weakly_canonical(path, error);
  const Path folder = canonical.has_filename() ? canonical : canonical.parent_path();
  const std::string repository = folder.parent_path().parent_path().filename().string();
  const size_t name = repository.rfind("--");
  if (folder.parent_path().filename() == "snapshots" && repository.starts_with("models--") && name > 6)
    return repository.substr(name + 2);
  return folder.filename().string();
}

Result<text::Tokenizer> load_tokenizer(const Path& path) {
  if (is_native_file(path)) {
    TRY(formats::Checkpoint checkpoint, formats::Checkpoint::open_native(path));
    return text::Tokenizer::load(checkpoint.settings(path));
  }
  TRY(Path file, find_gguf_text(path));
  if (file.empty()) return text::Tokenizer::load(path);
  TRY(formats::Checkpoint checkpoint, formats::Checkpoint::open_gguf({&file, 1}));
  return gguf_tokenizer(checkpoint.gguf().front());
}

}  // namespace onsight::models
