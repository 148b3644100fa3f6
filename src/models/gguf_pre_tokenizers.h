// The pre-tokenizers that GGUF files know by name.
#pragma once

#include <string_view>

namespace onsight::models {

// What tokenizer.json says in "pre_tokenizer", by the name that llama.cpp's converter gives it.
struct GgufPreTokenizer {
  std::string_view name;
  std::string_view json;
  bool whole_words;  // ignore_merges
  bool adds_bos;     // where the file does not say
};
inline constexpr GgufPreTokenizer kGgufPreTokenizers[] = {
    {"smollm",
     R"({"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true},
         {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}]})",
     false, false},
    {"gpt-2", R"({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true})", false,
     false},
    {"llama-bpe",
     R"~({"type": "Sequence", "pretokenizers": [{"type": "Split", "behavior": "Isolated", "invert": false, "pattern": {"Regex":
         "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
         {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]})~",
     true, true},
};

}  // namespace onsight::models
