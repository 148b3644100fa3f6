#include "models/smolvlm/mlx.h"

#include "models/smolvlm/full_config.h"

namespace onsight::models::smolvlm {
namespace {

Status refuse_others(const Config& config, const FileSource& files) {
  const std::string where = files.place("config.json");
  const TextConfig& t = config.text;
  if (t.rope.type != RopeType::kDefault)
    return bad_input("{}: text_config: positions are scaled, expected rope_type default, which mlx-vlm computes",
                     where);
  if (t.attention_bias || t.mlp_bias)
    return bad_input("{}: text_config: attention_bias or mlp_bias is on, expected none, as mlx-vlm has it", where);
  if (t.head_dim * t.num_attention_heads != t.hidden_size)
    return bad_input("{}: text_config.head_dim: expected {}, which mlx-vlm computes with, found {}", where,
                     t.hidden_size / t.num_attention_heads, t.head_dim);
  if (config.vision.hidden_act != Activation::kGeluTanh)
    return bad_input("{}: vision_config.hidden_act: gelu, expected gelu_pytorch_tanh, which mlx-vlm computes", where);
  return {};
}

}  // namespace

Result<MlxDescription> describe_for_mlx(const Config& config, const FileSource& files) {
  TRY_STATUS(refuse_others(config, files));
  MlxDescription about;
  TRY(about.config, full_config(config, files));
  // It finds a patch's position by comparing fractions in f32, which are exact for powers of two only.
  if (const int64_t side = config.tile_patches_per_side(); (side & (side - 1)) != 0)
    about.notes.push_back(fmt::format(
        "a tile has {} patches a side, which is no power of two: mlx-vlm 0.7.10 gives some of them the position of a "
        "neighbour, and may say other things of a picture",
        side));
  return about;
}

}  // namespace onsight::models::smolvlm
