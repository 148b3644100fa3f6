// Config: every value of a SmolVLM, SmolVLM2 or Idefics3 checkpoint folder that decides what the model computes.
//
//   TRY(Config config, load_config(folder));   // verified: positive, divisible where the model divides, small enough
//   to multiply int64_t n = config.tokens_per_tile();      // 64 for the 256M and 500M models
//
// Both folder layouts are read: the published one (config.json with torch_dtype and rope_theta,
// preprocessor_config.json, processor_config.json) and the one that transformers 5 writes (rope_parameters, all
// processors inside processor_config.json). A key that is absent takes the default of transformers' class
// (version 5.23), which is not the published models' value.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/file_source.h"
#include "base/json.h"
#include "base/result.h"
#include "media/image.h"

namespace onsight::models::smolvlm {

enum class Architecture { kSmolVlm, kIdefics3 };  // the models are the same; only defaults of the processors differ
std::string_view to_string(Architecture architecture);  // "SmolVLMForConditionalGeneration"

enum class Activation { kGeluTanh, kGeluErf };

struct VisionConfig {
  int64_t hidden_size = 1152;
  int64_t intermediate_size = 3072;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 16;  // divides hidden_size
  int64_t num_channels = 3;          // always 3
  int64_t image_size =
      224;                  // decides the number of learned positions only; a tile's size is ProcessorConfig::tile_size
  int64_t patch_size = 32;  // need not divide image_size: 384 / 14 = 27 patches a side, the remainder is not looked at
  double layer_norm_eps = 1e-6;
  Activation hidden_act = Activation::kGeluTanh;

  int64_t head_dim() const { return hidden_size / num_attention_heads; }
  int64_t positions_per_side() const { return image_size / patch_size; }  // the position table has its square of rows
};

enum class RopeType { kDefault, kLinear, kLlama3 };

struct RopeConfig {
  RopeType type = RopeType::kDefault;
  double theta = 10000;
  double factor = 1;                                                                          // linear, llama3
  double low_freq_factor = 1, high_freq_factor = 4, original_max_position_embeddings = 8192;  // llama3
};

struct TextConfig {  // a Llama decoder
  int64_t hidden_size = 4096;
  int64_t intermediate_size = 11008;
  int64_t num_hidden_layers = 32;
  int64_t num_attention_heads = 32;  // divides hidden_size
  int64_t num_key_value_heads = 32;  // divides num_attention_heads
  int64_t head_dim = 128;            // even; heads × head_dim may differ from hidden_size
  int64_t vocab_size = 32000;        // rows of the embedding; not always the tokenizer's size
  int64_t max_position_embeddings = 2048;
  double rms_norm_eps = 1e-6;
  RopeConfig rope;
  bool attention_bias = false;  // of q, k, v and o
  bool mlp_bias = false;        // of gate, up and down

  // Angle per position of each rotated pair (i, i + head_dim / 2): [head_dim / 2], in the f32 steps of transformers.
  std::vector<float> rope_frequencies() const;
};

struct VideoConfig {  // which frames of a video are looked at, and what happens to them first
  double fps = 1;     // transformers' class has no defaults for these two: the published folders' values
  int64_t max_frames = 64;
  bool do_resize = true;
  int64_t longest_edge = 4 * 364;
  int64_t tile_size = 364;  // a frame is one tile, never split
  media::Resample resample = media::Resample::kLanczos;
};

struct ProcessorConfig {  // what happens to a picture before the model sees it
  bool do_resize = true;
  bool do_image_splitting = true;
  bool do_rescale = true;
  bool do_normalize = true;
  bool do_convert_rgb = true;
  bool do_pad = true;
  int64_t longest_edge = 4 * 364;  // size.longest_edge
  int64_t tile_size = 364;         // max_image_size.longest_edge: every tile is tile_size × tile_size
  media::Resample resample = media::Resample::kLanczos;
  double rescale_factor = 1.0 / 255;
  std::array<float, 3> image_mean = {0.5f, 0.5f, 0.5f};
  std::array<float, 3> image_std = {0.5f, 0.5f, 0.5f};
};

// The strings from which the processor builds a picture's text before it is tokenised.
struct ImageTokens {
  std::string fake = "<fake_token_around_image>";
  std::string image = "<image>";
  std::string global = "<global-img>";
  std::string end_of_utterance = "<end_of_utterance>";
  std::string row_col(int row,
                      int col) const;  // counted from 1: "<row_1_col_2>"; one token or several, as the tokenizer has it
};

// generation_config.json. Only the ids are applied by default: answers are greedy unless the user asks for sampling.
struct GenerationConfig {
  std::optional<int32_t> bos_token_id, pad_token_id;
  std::vector<int32_t> eos_token_ids;  // an answer ends with any of these; may be empty
  bool do_sample = false;
  double temperature = 1, top_p = 1, repetition_penalty = 1;
  int64_t top_k = 50;
};

struct Config {
  Architecture architecture = Architecture::kSmolVlm;
  VisionConfig vision;
  TextConfig text;
  int64_t scale_factor = 2;  // pixel shuffle: scale_factor² patches become one token
  int32_t image_token_id = 128257;
  bool tie_word_embeddings =
      false;  // the head is the embedding, unless the checkpoint holds a different lm_head.weight
  GenerationConfig generation;
  ProcessorConfig processor;
  VideoConfig video;
  std::string video_refused;  // why this model takes no videos; empty if it does
  ImageTokens tokens;

  int64_t tile_patches_per_side() const { return processor.tile_size / vision.patch_size; }
  int64_t tokens_per_tile() const {  // equals the folder's image_seq_len, verified
    int64_t side = tile_patches_per_side() / scale_factor;
    return side * side;
  }
  // Most tiles that one picture can become, the global one included; only where do_resize is on.
  int64_t max_tiles() const;
};

// The parsed files of a folder; a file that is absent is nullopt. `where` starts error messages: the folder's path.
struct ConfigFiles {
  std::string where;
  Json config;
  std::optional<Json> generation_config, preprocessor_config, video_preprocessor_config, processor_config,
      tokenizer_config;
  bool from_gguf = false;  // made from the metadata of GGUF files: `where` is the text model's

  std::string place(std::string_view file) const {  // for messages
    return fmt::format("{}{}{}", where, from_gguf ? ": metadata as " : "/", file);
  }
};

// Reads the files that are there. config.json is required, the others have defaults or are refused by parse_config.
Result<ConfigFiles> read_config_files(const FileSource& files);
// Fails with one sentence naming file and key for a value that is missing, broken, inconsistent or not supported.
Result<Config> parse_config(const ConfigFiles& files);
Result<Config> load_config(const FileSource& files);

}  // namespace onsight::models::smolvlm
