#include "engine/weight_choice.h"

namespace onsight::engine {
namespace {

using compute::WeightFormat;

constexpr int64_t kSmallModel = 100'000'000;  // parameters; below, quantising saves nothing that anyone notices

std::optional<WeightFormat> format(Quantisation quantisation, int64_t parameters) {
  switch (quantisation) {
    case Quantisation::kAuto:
      return parameters >= kSmallModel ? std::optional(WeightFormat::kQ8) : std::nullopt;
    case Quantisation::kNone:
      return std::nullopt;
    case Quantisation::kQ8:
      return WeightFormat::kQ8;
    case Quantisation::kQ4:
      return WeightFormat::kQ4;
    case Quantisation::kF32:
      return WeightFormat::kF32;
  }
  return std::nullopt;
}

Status expect_same(const formats::Checkpoint& checkpoint, std::string_view part, Quantisation wanted,
                   std::string_view option, const Path& path) {
  const auto stored = checkpoint.metadata().find(fmt::format("quantisation.{}", part));
  const std::string has = stored == checkpoint.metadata().end() ? "none" : stored->second;
  const std::optional<WeightFormat> format = engine::format(wanted, 0);
  if (!format || to_string(*format) == has) return {};
  return make_error(ErrorCode::kUsage,
                    "{}: its {} weights were converted with {} {:.20}, expected that or auto, not {}", path.string(),
                    part, option, has, to_string(*format));
}

}  // namespace

Quantisation vision_like(Quantisation text) { return text == Quantisation::kQ4 ? Quantisation::kQ8 : text; }

Result<models::WeightFormats> choose_formats(const formats::Checkpoint& checkpoint, const EngineOptions& options,
                                             const Path& path) {
  if (checkpoint.is_native()) {
    TRY_STATUS(expect_same(checkpoint, "text", options.text, "--quant", path));
    TRY_STATUS(expect_same(checkpoint, "vision", options.vision, "--vision-quant", path));
    return models::WeightFormats{.vision = {}, .text = {}, .kv = options.kv};
  }
  int64_t parameters = 0;
  for (const auto& [name, tensor] : checkpoint.tensors()) parameters += tensor.shape.elements();
  return models::WeightFormats{
      .vision = format(options.vision, parameters), .text = format(options.text, parameters), .kv = options.kv};
}

}  // namespace onsight::engine
