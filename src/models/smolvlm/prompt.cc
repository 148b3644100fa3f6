#include "models/smolvlm/prompt.h"

#include "models/smolvlm/preprocess.h"

namespace onsight::models::smolvlm {

std::string picture_text(const ImageTokens& tokens, int rows, int columns, int64_t tokens_per_tile) {
  std::string tile;
  for (int64_t i = 0; i < tokens_per_tile; ++i) tile += tokens.image;
  std::string out;
  for (int r = 1; r <= rows; ++r) {
    for (int c = 1; c <= columns; ++c) out += tokens.fake + tokens.row_col(r, c) + tile;
    out += "\n";
  }
  if (rows > 0) out += "\n";  // with the last row's: one "\n\n" token
  return out + tokens.fake + tokens.global + tile + tokens.fake;
}

Result<PromptBuilder> PromptBuilder::load(const FileSource& files, const Config& config) {
  TRY(text::Tokenizer tokenizer, text::Tokenizer::load(files));
  TRY(text::ChatTemplate chat, text::ChatTemplate::load(files));
  return make(std::move(tokenizer), std::move(chat), config, files.place("tokenizer.json"));
}

Result<PromptBuilder> PromptBuilder::make(text::Tokenizer tokenizer, text::ChatTemplate chat, const Config& config,
                                          std::string_view where) {
  const std::optional<int32_t> image = tokenizer.token_to_id(config.tokens.image);
  if (!image || *image != config.image_token_id)
    return bad_input("{}: token {} has {}, expected id {} from config.json", where, config.tokens.image,
                     image ? fmt::format("id {}", *image) : "no id", config.image_token_id);
  if (tokenizer.vocabulary_size() > config.text.vocab_size)
    return bad_input("{}: largest id is {}, expected less than vocab_size {} of config.json", where,
                     tokenizer.vocabulary_size() - 1, config.text.vocab_size);
  return PromptBuilder(std::move(tokenizer), std::move(chat));
}

Result<Prompt> PromptBuilder::build(const std::vector<text::ChatMessage>& messages,
                                    std::span<const std::shared_ptr<const media::Image>> images, const Config& config,
                                    const PictureOptions& options) const {
  TRY(text::RenderedPrompt rendered, template_.render(messages, /*add_generation_prompt=*/true));

  // Each image token that the template wrote becomes a picture's text; the same characters in a user's text stay text.
  Prompt prompt;
  std::string text;
  std::vector<text::ByteRange> literal;
  size_t at = 0, next_range = 0, next_image = 0;
  const std::string& token = config.tokens.image;
  const auto append_user_text = [&](const text::ByteRange& range) {
    literal.push_back({text.size(), text.size() + (range.end - range.begin)});
    text.append(rendered.text, range.begin, range.end - range.begin);
    at = range.end;
  };
  while (at < rendered.text.size()) {
    const size_t end =
        next_range < rendered.user_text.size() ? rendered.user_text[next_range].begin : rendered.text.size();
    const size_t found = rendered.text.find(token, at);
    if (found != std::string::npos && found + token.size() <= end) {
      text.append(rendered.text, at, found - at);
      at = found + token.size();
      if (next_image == images.size())
        return bad_input("chat template: writes {} more often than the {} pictures of the conversation", token,
                         images.size());
      Tiles tiles = cut_into_tiles(*images[next_image++], config.processor, options);
      text += picture_text(config.tokens, tiles.rows, tiles.columns, config.tokens_per_tile());
      for (media::Image& tile : tiles.images) prompt.tiles.push_back(std::move(tile));
    } else {
      text.append(rendered.text, at, end - at);
      at = end;
      if (next_range < rendered.user_text.size()) append_user_text(rendered.user_text[next_range++]);
    }
  }
  if (next_image != images.size())
    return bad_input("chat template: places {} of the {} pictures of the conversation", next_image, images.size());

  prompt.ids = tokenizer_.encode(text, literal);
  // As transformers' apply_chat_template: what the tokenizer puts around a text, unless the template began with it
  // itself.
  const std::span<const int32_t> before = tokenizer_.tokens_before(), after = tokenizer_.tokens_after();
  const bool begun = !before.empty() && text.starts_with(tokenizer_.token_bytes(before.front()));
  if (!begun) {
    prompt.ids.insert(prompt.ids.begin(), before.begin(), before.end());
    prompt.ids.insert(prompt.ids.end(), after.begin(), after.end());
  }
  for (size_t i = 0; i < prompt.ids.size(); ++i)
    if (prompt.ids[i] == config.image_token_id) prompt.image_positions.push_back(static_cast<int32_t>(i));
  const size_t expected = prompt.tiles.size() * static_cast<size_t>(config.tokens_per_tile());
  if (prompt.image_positions.size() != expected)
    return bad_input("tokenizer: {} image tokens in the prompt, expected {} for {} tiles",
                     prompt.image_positions.size(), expected, prompt.tiles.size());
  return prompt;
}

}  // namespace onsight::models::smolvlm
