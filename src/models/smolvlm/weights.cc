#include "models/smolvlm/weights.h"

namespace onsight::models::smolvlm {
namespace {

using compute::Linear;

// A tower narrower than this rounds the inputs of its layers finely: its logits lie closer together, so that the
// rounding of inputs moved more first choices than that of weights, and its time is short anyway.
constexpr int64_t kNarrowTower = 512;

class Specs {
 public:
  void begin_tower(int64_t width) { fine_ = width < kNarrowTower; }
  bool fine() const { return fine_; }
  // The weight's row, until the next is added.
  TensorSpec& linear(const std::string& name, const std::string& gguf, Linear& layer, int64_t outputs, int64_t inputs,
                     bool bias, int64_t rotary_heads = 0) {
    layer.fine = fine_;
    rows_.push_back({name + ".weight", {outputs, inputs}, &layer.weight, gguf + ".weight", rotary_heads});
    rows_.back().narrow = fine_;
    if (!bias) return rows_.back();
    rows_.push_back({name + ".bias", {outputs}, &layer.bias, gguf + ".bias", rotary_heads});
    return rows_[rows_.size() - 2];
  }
  void norm(const std::string& name, const std::string& gguf, Norm& norm, int64_t width, bool bias) {
    rows_.push_back({name + ".weight", {width}, &norm.weight, gguf + ".weight"});
    if (bias) rows_.push_back({name + ".bias", {width}, &norm.bias, gguf + ".bias"});
  }
  void add(TensorSpec spec) { rows_.push_back(std::move(spec)); }
  void keep_last() { rows_.back().kept = true; }
  void mark_vision() {  // all rows so far
    for (TensorSpec& row : rows_) row.vision = true;
  }
  std::vector<TensorSpec> take() { return std::move(rows_); }

 private:
  std::vector<TensorSpec> rows_;
  bool fine_ = false;
};

// Files that llama.cpp's converter wrote before May 2025 have the names of the tower's two FFN layers exchanged; the
// shapes tell.
bool has_exchanged_ffn_names(const formats::Checkpoint& checkpoint, const VisionConfig& v) {
  const compute::Tensor* down = checkpoint.find("v.blk.0.ffn_down.weight");
  return down && v.intermediate_size != v.hidden_size &&
         down->shape == compute::Shape{v.intermediate_size, v.hidden_size};
}

}  // namespace

std::vector<TensorSpec> tensor_specs(const Config& config, const formats::Checkpoint& checkpoint, Weights& w) {
  Specs specs;
  const VisionConfig& v = config.vision;
  const int64_t d = v.hidden_size;
  const std::string vision = "model.vision_model.";
  specs.begin_tower(d);
  w.patch_embedding.fine = specs.fine();
  specs.add({vision + "embeddings.patch_embedding.weight",
             {d, v.num_channels, v.patch_size, v.patch_size},
             &w.patch_embedding.weight,
             "v.patch_embd.weight"});
  specs.add({vision + "embeddings.patch_embedding.bias", {d}, &w.patch_embedding.bias, "v.patch_embd.bias"});
  specs.add({vision + "embeddings.position_embedding.weight",
             {v.positions_per_side() * v.positions_per_side(), d},
             &w.position_embedding,
             "v.position_embd.weight"});
  const bool exchanged = has_exchanged_ffn_names(checkpoint, v);
  w.vision.resize(static_cast<size_t>(v.num_hidden_layers));
  for (size_t i = 0; i < w.vision.size(); ++i) {
    VisionLayer& layer = w.vision[i];
    const std::string p = vision + "encoder.layers." + std::to_string(i) + ".";
    const std::string b = "v.blk." + std::to_string(i) + ".";
    specs.norm(p + "layer_norm1", b + "ln1", layer.norm1, d, true);
    specs.linear(p + "self_attn.q_proj", b + "attn_q", layer.q, d, d, true);
    specs.linear(p + "self_attn.k_proj", b + "attn_k", layer.k, d, d, true);
    // What the tokens of a tile have in common goes through these three almost whole, and so does its error.
    specs.linear(p + "self_attn.v_proj", b + "attn_v", layer.v, d, d, true).delicate = true;
    specs.linear(p + "self_attn.out_proj", b + "attn_out", layer.out, d, d, true).delicate = true;
    specs.norm(p + "layer_norm2", b + "ln2", layer.norm2, d, true);
    specs.linear(p + "mlp.fc1", b + (exchanged ? "ffn_down" : "ffn_up"), layer.fc1, v.intermediate_size, d, true);
    specs.linear(p + "mlp.fc2", b + (exchanged ? "ffn_up" : "ffn_down"), layer.fc2, d, v.intermediate_size, true)
        .delicate = true;
  }
  specs.norm(vision + "post_layernorm", "v.post_ln", w.post_norm, d, true);

  const TextConfig& t = config.text;
  specs.linear("model.connector.modality_projection.proj", "mm.model.fc", w.projection, t.hidden_size,
               d * config.scale_factor * config.scale_factor, false);
  // Its outputs are the image features: one rounding here, over the longest rows of all, costs as much as a third of
  // the tower.
  specs.keep_last();
  specs.mark_vision();

  const std::string text = "model.text_model.";
  specs.begin_tower(t.hidden_size);
  w.head.fine = specs.fine();
  // A tied checkpoint may hold the shared table under either name.
  const bool head_only =
      config.tie_word_embeddings && !checkpoint.has(text + "embed_tokens.weight") && checkpoint.has(kHeadName);
  const std::string embedding = head_only ? kHeadName : text + "embed_tokens.weight";
  specs.add({embedding, {t.vocab_size, t.hidden_size}, &w.embedding, "token_embd.weight"});
  w.embedding_name = embedding;
  w.text.resize(static_cast<size_t>(t.num_hidden_layers));
  const int64_t q_width = t.num_attention_heads * t.head_dim, kv_width = t.num_key_value_heads * t.head_dim;
  for (size_t i = 0; i < w.text.size(); ++i) {
    TextLayer& layer = w.text[i];
    const std::string p = text + "layers." + std::to_string(i) + ".";
    const std::string b = "blk." + std::to_string(i) + ".";
    const bool bias = t.attention_bias;
    specs.norm(p + "input_layernorm", b + "attn_norm", layer.norm1, t.hidden_size, false);
    specs.linear(p + "self_attn.q_proj", b + "attn_q", layer.q, q_width, t.hidden_size, bias, t.num_attention_heads);
    specs.linear(p + "self_attn.k_proj", b + "attn_k", layer.k, kv_width, t.hidden_size, bias, t.num_key_value_heads);
    // An eighth of a layer's weights, through which over half of the error of 8 bits comes.
    specs.linear(p + "self_attn.v_proj", b + "attn_v", layer.v, kv_width, t.hidden_size, bias).delicate = true;
    layer.v.fine = true;
    specs.linear(p + "self_attn.o_proj", b + "attn_output", layer.o, t.hidden_size, q_width, bias).delicate = true;
    specs.norm(p + "post_attention_layernorm", b + "ffn_norm", layer.norm2, t.hidden_size, false);
    specs.linear(p + "mlp.gate_proj", b + "ffn_gate", layer.gate, t.intermediate_size, t.hidden_size, t.mlp_bias);
    specs.linear(p + "mlp.up_proj", b + "ffn_up", layer.up, t.intermediate_size, t.hidden_size, t.mlp_bias);
    specs.linear(p + "mlp.down_proj", b + "ffn_down", layer.down, t.hidden_size, t.intermediate_size, t.mlp_bias)
        .rotated = true;
  }
  specs.norm(text + "norm", "output_norm", w.norm, t.hidden_size, false);
  // A tied checkpoint may still hold a head of its own, which then counts, as in transformers.
  const bool own_head = !config.tie_word_embeddings || checkpoint.has(kHeadName);
  TensorSpec head = {own_head ? kHeadName : embedding,
                     {t.vocab_size, t.hidden_size},
                     &w.head.weight,
                     own_head ? "output.weight" : "token_embd.weight"};
  head.head = true;
  head.narrow = specs.fine();
  specs.add(std::move(head));
  return specs.take();
}

bool is_ignored_tensor(std::string_view name) {
  return name.ends_with(".rotary_emb.inv_freq") || name.ends_with(".position_ids");
}

}  // namespace onsight::models::smolvlm
