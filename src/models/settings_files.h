// Whatever a folder may hold that some reader of settings asks for.
#pragma once

#include <cstdint>
#include <string_view>

namespace onsight::models {

inline constexpr std::string_view kSettingsFiles[] = {
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "processor_config.json",
    "chat_template.json",
    "chat_template.jinja",
    "special_tokens_map.json",
    "additional_chat_templates/default.jinja",
};
inline constexpr uint64_t kMaxSettingsBytes = uint64_t{1} << 30;

}  // namespace onsight::models
