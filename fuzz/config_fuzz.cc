// The files of a checkpoint folder, divided by NUL bytes: config, generation_config, preprocessor_config,
// processor_config, tokenizer_config. What is accepted must be fit to compute with.
#include <cmath>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "models/smolvlm/config.h"

namespace {

void expect(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace onsight;
  using namespace onsight::models::smolvlm;
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  std::vector<std::optional<Json>> documents;
  for (int i = 0; i < 5; ++i) {
    std::string_view text = rest.substr(0, rest.find('\0'));
    rest.remove_prefix(std::min(text.size() + 1, rest.size()));
    Result<Json> json = parse_json(text, "fuzz");
    documents.push_back(json ? std::optional<Json>(*std::move(json)) : std::nullopt);
  }
  if (!documents[0]) return 0;
  ConfigFiles files{"fuzz", *documents[0], documents[1], documents[2], documents[3], documents[4]};
  Result<Config> parsed = parse_config(files);
  if (!parsed) {
    expect(!parsed.error().message.empty());
    return 0;
  }
  const Config& c = *parsed;
  expect(c.vision.head_dim() * c.vision.num_attention_heads == c.vision.hidden_size);
  expect(c.text.num_attention_heads % c.text.num_key_value_heads == 0 && c.text.head_dim % 2 == 0);
  expect(c.tokens_per_tile() >= 1 && c.max_tiles() >= 1 && c.image_token_id < c.text.vocab_size);
  expect(c.tile_patches_per_side() % c.scale_factor == 0 && c.vision.positions_per_side() >= 1);
  for (float frequency : c.text.rope_frequencies()) expect(std::isfinite(frequency) && frequency >= 0);
  return 0;
}
