// Bytes of tokenizer.json, a zero byte, and text to encode with what was loaded.
#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view all(reinterpret_cast<const char*>(data), size);
  size_t end = std::min(all.find('\0'), size);
  auto tokenizer = onsight::text::Tokenizer::from_json(all.substr(0, end), "fuzz");
  if (!tokenizer) return 0;
  std::string_view text = all.substr(std::min(end + 1, size));
  if (text.empty()) text = "It's 2024: <image>\r\n  \xe2\x82\xac\xff ok";
  onsight::text::ByteRange half[] = {{text.size() / 2, text.size()}};
  for (const auto& ids : {tokenizer->encode(text), tokenizer->encode(text, onsight::text::SpecialTokens::kParse),
                          tokenizer->encode(text, half)}) {
    tokenizer->decode(ids);
    for (int32_t id : ids) tokenizer->token_bytes(id);
  }
  return 0;
}
