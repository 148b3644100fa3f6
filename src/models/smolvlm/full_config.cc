#include "models/smolvlm/full_config.h"

namespace onsight::models::smolvlm {

Result<Json> full_config(const Config& config, const FileSource& files) {
  TRY(Json out, load_json(files, "config.json"));
  const bool is_smolvlm = config.architecture == Architecture::kSmolVlm;
  const TextConfig& t = config.text;
  const VisionConfig& v = config.vision;
  out["model_type"] = is_smolvlm ? "smolvlm" : "idefics3";
  out["scale_factor"] = config.scale_factor;
  out["image_token_id"] = config.image_token_id;
  out["vocab_size"] = t.vocab_size;
  out["text_config"].update({{"model_type", "llama"},
                             {"hidden_size", t.hidden_size},
                             {"intermediate_size", t.intermediate_size},
                             {"num_hidden_layers", t.num_hidden_layers},
                             {"num_attention_heads", t.num_attention_heads},
                             {"num_key_value_heads", t.num_key_value_heads},
                             {"head_dim", t.head_dim},
                             {"vocab_size", t.vocab_size},
                             {"max_position_embeddings", t.max_position_embeddings},
                             {"rms_norm_eps", t.rms_norm_eps},
                             {"rope_theta", t.rope.theta}});
  out["vision_config"].update({{"model_type", is_smolvlm ? "smolvlm_vision" : "idefics3_vision"},
                               {"hidden_size", v.hidden_size},
                               {"intermediate_size", v.intermediate_size},
                               {"num_hidden_layers", v.num_hidden_layers},
                               {"num_attention_heads", v.num_attention_heads},
                               {"num_channels", v.num_channels},
                               {"image_size", v.image_size},
                               {"patch_size", v.patch_size},
                               {"layer_norm_eps", v.layer_norm_eps}});
  return out;
}

}  // namespace onsight::models::smolvlm
