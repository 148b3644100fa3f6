// onsight inspect: what a checkpoint folder holds.
#include <nlohmann/json.hpp>

#include "cli/model_path.h"
#include "cli/program.h"
#include "cli/stats.h"
#include "engine/convert.h"
#include "formats/native_writer.h"

namespace onsight::cli {
namespace {

std::string to_json(const engine::ModelInfo& info) {
  nlohmann::ordered_json object = {
      {"name", info.name},
      {"architecture", info.architecture},
      {"parameters", info.parameters},
      {"vision_parameters", info.vision_parameters},
      {"text_parameters", info.text_parameters},
      {"weight_types", info.weight_types},
      {"file_bytes", info.file_bytes},
      {"memory_bytes", info.memory_bytes},
      {"tile_size", info.tile_size},
      {"patch_size", info.patch_size},
      {"tokens_per_tile", info.tokens_per_tile},
      {"max_tiles", info.max_tiles},
      {"context_length", info.context_length},
      {"vocabulary_size", info.vocabulary_size},
      {"vision_shape", info.vision_shape},
      {"text_shape", info.text_shape},
  };
  return object.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::string tokens_per_image(const engine::ModelInfo& info) {
  if (info.max_tiles <= 1) return fmt::format("{} (one tile)", info.tokens_per_tile);
  return fmt::format("{} to {} ({} in each of 1 to {} tiles), and those that separate tiles", info.tokens_per_tile,
                     readable_count(int64_t{info.tokens_per_tile} * info.max_tiles), info.tokens_per_tile,
                     info.max_tiles);
}

std::string to_table(const engine::ModelInfo& info) {
  std::string out;
  auto row = [&out](std::string_view name, const std::string& value) {
    out += fmt::format("{:<18}{}\n", name, printable(value));
  };
  row("model", info.name);
  row("architecture", info.architecture);
  row("parameters", fmt::format("{} ({} vision, {} text)", readable_count(info.parameters),
                                readable_count(info.vision_parameters), readable_count(info.text_parameters)));
  row("weights", fmt::format("{}, {}", info.weight_types, readable_bytes(info.file_bytes)));
  row("memory", fmt::format("{} with one full context and one picture", readable_bytes(info.memory_bytes)));
  row("vision", info.vision_shape);
  row("text", info.text_shape);
  row("picture", fmt::format("tiles of {0} x {0} pixels, patches of {1} x {1}", info.tile_size, info.patch_size));
  row("tokens per image", tokens_per_image(info));
  row("context", fmt::format("{} tokens", readable_count(info.context_length)));
  row("vocabulary", fmt::format("{} tokens", readable_count(info.vocabulary_size)));
  return out;
}

class Inspect : public Verb {
 public:
  void declare(Options& options) override {
    options.argument(
        "MODEL", folder_,
        "a checkpoint folder, a .onsight or a GGUF file, or the name of an installed model (default onsight-nano)");
    options.flag("--json", json_, "print one JSON object");
    options.flag("--verify", verify_, "compare every byte of a file that `onsight convert` wrote with its checksums");
  }

  Status run(Context& context) override {
    TRY(Path folder, find_model(folder_));
    TRY(engine::ModelInfo info, context.services.inspect(folder));
    if (verify_) TRY_STATUS(verify(folder));
    return context.out.write(json_ ? to_json(info) : to_table(info));
  }

 private:
  static Status verify(const Path& file) {
    if (!formats::is_native_name(file))
      return make_error(ErrorCode::kUsage, "--verify: expected a .onsight file, which has checksums, found {}",
                        file.string());
    ProgressBar bar;
    return engine::verify(file, 0, [&](std::string_view what, int64_t done, int64_t total) {
      bar.show(what, done >> 20, total >> 20);
      return true;
    });
  }

  std::optional<std::string> folder_;
  bool json_ = false, verify_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_inspect() { return std::make_unique<Inspect>(); }

}  // namespace onsight::cli
