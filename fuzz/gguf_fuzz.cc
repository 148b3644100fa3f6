// Whatever the bytes are, reading a GGUF file ends in tensors and values that lie inside them or in an error; so do the
// tokenizer, the template and the settings that its metadata describes.
#include <cstdlib>

#include "formats/gguf.h"
#include "models/gguf_tokenizer.h"
#include "models/smolvlm/gguf.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace onsight;
  Result<formats::GgufFile> file = formats::read_gguf({reinterpret_cast<const std::byte*>(data), size}, "fuzz");
  if (!file) return 0;
  unsigned sum = 0;
  std::vector<float> wide;
  for (const auto& [name, tensor] : file->tensors) {
    for (int64_t i = 0; i < tensor.bytes(); ++i) sum += std::to_integer<unsigned>(tensor.data[i]);
    if (!compute::info(tensor.dtype).is_weight) continue;
    wide.resize(static_cast<size_t>(tensor.shape.elements()));
    compute::to_f32(tensor.dtype, tensor.data, wide.data(), tensor.shape.elements());
  }
  [[maybe_unused]] volatile unsigned keep = sum;  // so that the reads stay
  Result<text::Tokenizer> tokenizer = models::gguf_tokenizer(file->metadata);
  if (!tokenizer) return 0;
  (void)tokenizer->encode("Hello 12 <image>", text::SpecialTokens::kParse);
  (void)models::gguf_chat_template(file->metadata, *tokenizer);
  // What convert makes of them is read back as the same.
  if (auto settings = models::gguf_tokenizer_files(file->metadata, *tokenizer)) {
    auto again = text::Tokenizer::load(FileSource("fuzz", {settings->begin(), settings->end()}));
    if (!again || again->vocabulary_size() != tokenizer->vocabulary_size()) std::abort();
  }
  // One file stands for both of a pair.
  const auto has_tensor = [&](std::string_view name) { return file->tensors.contains(name); };
  auto files = models::smolvlm::config_files_from_gguf(file->metadata, file->metadata, *tokenizer, has_tensor);
  if (!files) return 0;
  auto config = models::smolvlm::parse_config(*files);
  if (config && (config->tokens_per_tile() < 1 || config->image_token_id >= config->text.vocab_size)) std::abort();
  return 0;
}
