// The tensors of the architecture, and their names: the only place where the names live.
#pragma once

#include <string>
#include <vector>

#include "models/smolvlm/config.h"
#include "models/tensor_spec.h"

namespace onsight::models::smolvlm {

struct Norm {
  compute::Buffer weight, bias;  // bias: layer norm only
};

struct VisionLayer {
  Norm norm1, norm2;
  compute::Linear q, k, v, out, fc1, fc2;
};

struct TextLayer {
  Norm norm1, norm2;
  compute::Linear q, k, v, o, gate, up, down;
};

struct Weights {
  compute::Linear patch_embedding;
  compute::Tensor position_embedding;  // mapped [positions², d]
  std::vector<VisionLayer> vision;
  Norm post_norm;
  compute::Linear projection;
  compute::Tensor embedding;  // mapped [vocabulary, d]
  std::string embedding_name;
  bool shares_head = false;  // the embedding is looked up in the head, which is it in codes
  std::vector<TextLayer> text;
  Norm norm;
  compute::Linear head;
};

// Sizes `weights` and lists every tensor with its target in it. Where the head is the embedding, its row names the
// embedding's tensor.
std::vector<TensorSpec> tensor_specs(const Config& config, const formats::Checkpoint& checkpoint, Weights& weights);
// The head's tensor, where a checkpoint has one.
inline constexpr const char* kHeadName = "lm_head.weight";
// Names that some savers add and no model reads.
bool is_ignored_tensor(std::string_view name);

}  // namespace onsight::models::smolvlm
