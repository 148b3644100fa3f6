#include "models/smolvlm/config.h"

#include <gtest/gtest.h>

#include <cmath>

namespace onsight::models::smolvlm {
namespace {

const Path kData = Path(ONSIGHT_SOURCE_DIR) / "tests/data/configs";

// The files of the published folder with one value replaced: `pointer` is a JSON pointer whose first part names the
// file.
ConfigFiles with(std::string_view pointer, std::string_view value, std::string_view folder = "published") {
  ConfigFiles files = read_config_files(kData / folder).value();
  files.where = "m";
  size_t cut = pointer.find('/');
  std::string_view file = pointer.substr(0, cut);
  Json& document = file == "config"         ? files.config
                   : file == "generation"   ? *files.generation_config
                   : file == "preprocessor" ? *files.preprocessor_config
                   : file == "processor"    ? *files.processor_config
                                            : *files.tokenizer_config;
  Json::json_pointer place{cut == std::string_view::npos ? "" : std::string(pointer.substr(cut))};
  if (value == "absent")
    document[place.parent_pointer()].erase(place.back());
  else
    document[place] = Json::parse(value);
  return files;
}

Config accepted(std::string_view pointer, std::string_view value, std::string_view folder = "published") {
  Result<Config> config = parse_config(with(pointer, value, folder));
  EXPECT_TRUE(config) << pointer << " = " << value << ": " << config.error().message;
  return config.value_or(Config{});
}

std::string refusal(std::string_view pointer, std::string_view value, std::string_view folder = "published") {
  Result<Config> config = parse_config(with(pointer, value, folder));
  return config ? "accepted" : config.error().message;
}

TEST(SmolVlmConfig, FramesOfAnotherSizeAreRefusedAndPicturesAreNot) {
  ConfigFiles files = with("processor/video_processor", R"({"max_image_size": {"longest_edge": 384}})");
  EXPECT_EQ(parse_config(files).value().video_refused, "m: frames of 384 pixels, expected those of a tile, 512");
  files.processor_config->erase("video_processor");
  files.video_preprocessor_config =
      Json::parse(R"({"max_image_size": {"longest_edge": 512}, "num_frames": 8, "fps": 2})");
  const Config c = parse_config(files).value();
  EXPECT_EQ(c.video_refused, "");
  EXPECT_EQ(c.video.max_frames, 8);
  EXPECT_EQ(c.video.fps, 2);
}

TEST(SmolVlmConfig, ReadsThePublishedLayout) {
  Config c = load_config(kData / "published").value();
  EXPECT_EQ(c.architecture, Architecture::kSmolVlm);
  EXPECT_EQ(c.vision.hidden_size, 768);
  EXPECT_EQ(c.vision.intermediate_size, 3072);  // absent from the file
  EXPECT_EQ(c.vision.num_hidden_layers, 12);
  EXPECT_EQ(c.vision.head_dim(), 64);
  EXPECT_EQ(c.vision.positions_per_side(), 32);
  EXPECT_EQ(c.vision.layer_norm_eps, 1e-6);
  EXPECT_EQ(c.text.hidden_size, 960);
  EXPECT_EQ(c.text.num_key_value_heads, 5);
  EXPECT_EQ(c.text.rope.theta, 100000);
  EXPECT_EQ(c.text.rms_norm_eps, 1e-5);
  EXPECT_EQ(c.text.max_position_embeddings, 8192);
  EXPECT_FALSE(c.tie_word_embeddings);
  EXPECT_EQ(c.image_token_id, 49190);
  EXPECT_EQ(c.generation.eos_token_ids, std::vector<int32_t>{49279});
  EXPECT_EQ(c.generation.bos_token_id, 1);
  EXPECT_EQ(c.processor.longest_edge, 2048);
  EXPECT_EQ(c.processor.tile_size, 512);
  EXPECT_EQ(c.processor.resample, media::Resample::kLanczos);
  EXPECT_EQ(c.processor.rescale_factor, 1.0 / 255);
  EXPECT_EQ(c.video.longest_edge, 2048);  // "size" counts more than the "video_size" of video_sampling
  EXPECT_EQ(c.video.tile_size, 512);
  EXPECT_EQ(c.video.max_frames, 64);
  EXPECT_EQ(c.video.fps, 1);
  EXPECT_EQ(c.video_refused, "");
  EXPECT_EQ(c.tokens_per_tile(), 64);
  EXPECT_EQ(c.max_tiles(), 17);
  EXPECT_EQ(c.tokens.row_col(2, 3), "<row_2_col_3>");
}

TEST(SmolVlmConfig, ReadsTheLayoutThatTransformers5Saves) {
  Config c = load_config(kData / "saved").value();
  EXPECT_EQ(c.architecture, Architecture::kIdefics3);
  EXPECT_EQ(c.text.rope.theta, 130000);
  EXPECT_EQ(c.text.head_dim, 32);               // not hidden_size / heads
  EXPECT_EQ(c.vision.positions_per_side(), 6);  // 86 / 14, the remainder unused
  EXPECT_EQ(c.tokens_per_tile(), 4);
  EXPECT_TRUE(c.tie_word_embeddings);
  EXPECT_EQ(c.generation.eos_token_ids, (std::vector<int32_t>{2, 260}));
  EXPECT_EQ(c.generation.pad_token_id, std::nullopt);
  EXPECT_TRUE(c.generation.do_sample);
  EXPECT_EQ(c.generation.top_k, 20);
  EXPECT_FALSE(c.processor.do_image_splitting);
  EXPECT_EQ(c.processor.resample, media::Resample::kBicubic);
  EXPECT_EQ(c.processor.image_mean, (std::array<float, 3>{0.48f, 0.46f, 0.41f}));
  EXPECT_EQ(c.processor.image_std[2], 0.28f);
  EXPECT_EQ(c.max_tiles(), 1);
}

TEST(SmolVlmConfig, AbsentKeysTakeTheDefaultsOfTransformers) {
  ConfigFiles files;
  files.where = "m";
  files.config = Json::parse(
      R"({"model_type": "idefics3", "image_token_id": 7, "vision_config": {"image_size": 364, "patch_size": 14}})");
  files.preprocessor_config = Json::object();
  Config c = parse_config(files).value();
  EXPECT_EQ(c.vision.hidden_size, 1152);
  EXPECT_EQ(c.vision.num_attention_heads, 16);
  EXPECT_EQ(c.text.hidden_size, 4096);
  EXPECT_EQ(c.text.intermediate_size, 11008);
  EXPECT_EQ(c.text.num_key_value_heads, 32);
  EXPECT_EQ(c.text.head_dim, 128);
  EXPECT_EQ(c.text.vocab_size, 32000);
  EXPECT_EQ(c.text.rope.theta, 10000);
  EXPECT_EQ(c.text.max_position_embeddings, 2048);
  EXPECT_EQ(c.text.rms_norm_eps, 1e-5);  // SmolVLMConfig's, as there is no text_config at all
  EXPECT_EQ(c.scale_factor, 2);
  EXPECT_EQ(c.processor.tile_size, 364);
  EXPECT_EQ(c.processor.longest_edge, 4 * 364);
  EXPECT_EQ(c.tokens_per_tile(), 169);
  EXPECT_EQ(c.generation.eos_token_ids,
            std::vector<int32_t>{2});  // from the text model's defaults, without generation_config.json
  EXPECT_EQ(c.generation.bos_token_id, 1);

  EXPECT_EQ(accepted("config/text_config/rms_norm_eps", "absent").text.rms_norm_eps, 1e-6);  // LlamaConfig's
  EXPECT_EQ(accepted("config/text_config/num_key_value_heads", "null").text.num_key_value_heads, 15);
  EXPECT_EQ(accepted("config/text_config/head_dim", "null").text.head_dim, 64);
}

TEST(SmolVlmConfig, ReadsEveryFormOfEndTokens) {
  EXPECT_EQ(accepted("generation/eos_token_id", "[1, 2]").generation.eos_token_ids, (std::vector<int32_t>{1, 2}));
  EXPECT_TRUE(accepted("generation/eos_token_id", "null").generation.eos_token_ids.empty());
  EXPECT_TRUE(accepted("generation/eos_token_id", "-1").generation.eos_token_ids.empty());
  EXPECT_EQ(refusal("generation/eos_token_id", "\"x\""),
            "m/generation_config.json: eos_token_id: expected a token id or a list of them, found string");
  for (const char* value : {"1.5", "[[1]]", "4294967296", "18446744073709551615", "{}", "true"})
    EXPECT_NE(refusal("generation/eos_token_id", value), "accepted") << value;
}

TEST(SmolVlmConfig, RopeFrequenciesFollowTransformers) {
  Config c = accepted("config/text_config/rope_theta", "10000");
  std::vector<float> plain = c.text.rope_frequencies();
  ASSERT_EQ(plain.size(), 32u);
  EXPECT_EQ(plain[0], 1.0f);
  EXPECT_NEAR(plain[16], 0.01f, 1e-9);
  std::vector<float> linear =
      accepted("config/text_config/rope_scaling", R"({"type": "linear", "factor": 4})").text.rope_frequencies();
  EXPECT_EQ(linear[0], 0.25f);
  // Values computed by transformers 5.23 for head_dim 64 and theta 100000.
  std::vector<float> llama3 =
      accepted("config/text_config/rope_parameters",
               R"({"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4,
                                           "original_max_position_embeddings": 512})")
          .text.rope_frequencies();
  EXPECT_EQ(llama3[0], 1.0f);
  EXPECT_FLOAT_EQ(llama3[10], 0.013258806429803371f);
  EXPECT_FLOAT_EQ(llama3[11], 0.0054942225106060505f);
  EXPECT_FLOAT_EQ(llama3[31], 1.791265844985901e-06f);
}

TEST(SmolVlmConfig, RefusesRopeThatIsNotSupported) {
  EXPECT_EQ(refusal("config/text_config/rope_scaling", R"({"type": "yarn", "factor": 4})"),
            "m/config.json: text_config.rope_scaling: rope_type: expected default, linear or llama3, found 'yarn'");
  for (const char* value :
       {R"({"type": "linear"})", R"({"type": "linear", "factor": 0})", R"({"type": "linear", "factor": "4"})",
        R"({"rope_type": "llama3", "factor": 8})", R"({"rope_type": "default", "rope_theta": -1})",
        R"({"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4})",
        R"({"rope_type": "default", "partial_rotary_factor": 0.5})", R"({"rope_type": 1})", "[]", "1"})
    EXPECT_NE(refusal("config/text_config/rope_scaling", value), "accepted") << value;
}

TEST(SmolVlmConfig, NamesWhatIsNotSupported) {
  EXPECT_EQ(refusal("config/architectures", R"(["LlavaForConditionalGeneration"])"),
            "m/config.json: architectures: expected SmolVLMForConditionalGeneration or "
            "Idefics3ForConditionalGeneration, found "
            "[\"LlavaForConditionalGeneration\"]");
  ConfigFiles files = with("config/architectures", "absent");
  files.config["model_type"] = "llava";
  EXPECT_NE(parse_config(files).error().message.find("found model_type 'llava'"), std::string::npos);
  EXPECT_EQ(refusal("config/text_config/model_type", "\"qwen2\""),
            "m/config.json: text_config.model_type: expected llama, found 'qwen2'");
  EXPECT_EQ(refusal("config/text_config/hidden_act", "\"relu\""),
            "m/config.json: text_config.hidden_act: expected silu, found 'relu'");
  EXPECT_EQ(refusal("config/vision_config/hidden_act", "\"relu\""),
            "m/config.json: vision_config.hidden_act: expected gelu_pytorch_tanh or gelu, found 'relu'");
  EXPECT_EQ(accepted("config/vision_config/hidden_act", "\"gelu\"").vision.hidden_act, Activation::kGeluErf);
}

TEST(SmolVlmConfig, RefusesSizesThatDoNotFitTogether) {
  EXPECT_EQ(refusal("config/vision_config/num_attention_heads", "7"),
            "m/config.json: vision_config.num_attention_heads: expected a divisor of hidden_size 768, found 7");
  EXPECT_EQ(refusal("config/text_config/num_key_value_heads", "4"),
            "m/config.json: text_config.num_key_value_heads: expected a divisor of num_attention_heads 15, found 4");
  EXPECT_EQ(refusal("config/text_config/head_dim", "63"),
            "m/config.json: text_config.head_dim: expected an even number, as positions turn pairs, found 63");
  EXPECT_EQ(refusal("config/scale_factor", "3"),
            "m/config.json: scale_factor: expected a divisor of the patches a side of a tile, 32, found 3");
  EXPECT_EQ(refusal("processor/image_seq_len", "81"),
            "m/processor_config.json: image_seq_len: expected 64, which tiles of 512, patches of 16 and scale_factor 4 "
            "give, found 81");
  EXPECT_NE(refusal("processor/image_seq_len", "absent").find("found 169"), std::string::npos);
  EXPECT_EQ(refusal("config/image_token_id", "49280"),
            "m/config.json: image_token_id: expected an integer from 0 to 49279, found 49280");
  EXPECT_NE(refusal("config/image_token_id", "absent"), "accepted");  // the default is beyond the vocabulary
  EXPECT_NE(refusal("preprocessor/max_image_size/longest_edge", "8"), "accepted");
  EXPECT_NE(refusal("preprocessor/size/longest_edge", "1048577"), "accepted");
  ConfigFiles files = with("preprocessor/max_image_size/longest_edge", "16");  // one patch: 128 × 128 tiles
  files.config["scale_factor"] = 1;
  (*files.processor_config)["image_seq_len"] = 1;
  EXPECT_EQ(
      parse_config(files).error().message,
      "m/preprocessor_config.json: max_image_size: expected a picture of at most 64 × 64 tiles, found 16 in 2048");
}

TEST(SmolVlmConfig, RefusesBrokenValuesEverywhere) {
  for (const char* pointer : {"config/vision_config/hidden_size",
                              "config/vision_config/intermediate_size",
                              "config/vision_config/num_hidden_layers",
                              "config/vision_config/num_attention_heads",
                              "config/vision_config/num_channels",
                              "config/vision_config/image_size",
                              "config/vision_config/patch_size",
                              "config/vision_config/layer_norm_eps",
                              "config/text_config/hidden_size",
                              "config/text_config/intermediate_size",
                              "config/text_config/num_hidden_layers",
                              "config/text_config/num_attention_heads",
                              "config/text_config/num_key_value_heads",
                              "config/text_config/head_dim",
                              "config/text_config/vocab_size",
                              "config/text_config/max_position_embeddings",
                              "config/text_config/rms_norm_eps",
                              "config/text_config/rope_theta",
                              "config/scale_factor",
                              "preprocessor/rescale_factor",
                              "preprocessor/size/longest_edge",
                              "preprocessor/max_image_size/longest_edge",
                              "processor/image_seq_len"})
    for (const char* value :
         {"0", "-1", "\"1\"", "[1]", "{}", "true", "1e18", "9223372036854775807", "18446744073709551615"})
      EXPECT_NE(refusal(pointer, value), "accepted") << pointer << " = " << value;
  for (const char* pointer : {"config/vision_config", "config/text_config", "preprocessor/size",
                              "preprocessor/max_image_size", "preprocessor/video_sampling"})
    for (const char* value : {"1", "\"x\"", "[]", "false"})
      EXPECT_NE(refusal(pointer, value), "accepted") << pointer << " = " << value;
  for (const char* pointer : {"config/tie_word_embeddings", "config/text_config/attention_bias",
                              "preprocessor/do_resize", "preprocessor/do_image_splitting", "generation/do_sample"})
    EXPECT_NE(refusal(pointer, "1"), "accepted") << pointer;
  for (const char* value :
       {"[0.5, 0.5]", "\"0.5\"", "[0.5, 0.5, null]", "[0, 0, 0]", "0", "[1, 1, -1]", "{}", "[1e300, 1, 1]"})
    EXPECT_NE(refusal("preprocessor/image_std", value), "accepted") << value;
  EXPECT_NE(refusal("preprocessor/size", R"({"height": 512, "width": 512})"), "accepted");
  EXPECT_NE(refusal("preprocessor/resample", "6"), "accepted");
  for (const char* file : {"config", "generation", "preprocessor", "processor"})
    for (const char* value : {"[]", "1", "null", "\"x\""})
      EXPECT_NE(refusal(file, value), "accepted") << file << " = " << value;
  EXPECT_NE(refusal("processor/image_processor", "1", "saved"), "accepted");
}

TEST(SmolVlmConfig, TokensMayBeNamedByTheTokenizer) {
  EXPECT_EQ(accepted("tokenizer/extra_special_tokens/image_token", "\"<img>\"").tokens.image, "<img>");
  EXPECT_EQ(accepted("tokenizer/extra_special_tokens/global_image_token", R"({"content": "<g>"})").tokens.global,
            "<g>");
  EXPECT_EQ(accepted("tokenizer/fake_image_token", "\"<f>\"").tokens.end_of_utterance, "<end_of_utterance>");
  EXPECT_NE(refusal("tokenizer/extra_special_tokens/image_token", "\"\""), "accepted");
  EXPECT_NE(refusal("tokenizer/extra_special_tokens/image_token", "5"), "accepted");
  EXPECT_EQ(accepted("tokenizer/extra_special_tokens", "[\"<a>\"]").tokens.image, "<image>");
}

TEST(SmolVlmConfig, NamesMissingFiles) {
  EXPECT_NE(load_config("/nonexistent").error().message.find("/nonexistent/config.json: cannot be opened"),
            std::string::npos);
  ConfigFiles files = with("config/scale_factor", "4");
  files.preprocessor_config.reset();
  EXPECT_EQ(parse_config(files).error().message,
            "m: expected preprocessor_config.json, or processor_config.json with image_processor");
}

}  // namespace
}  // namespace onsight::models::smolvlm
