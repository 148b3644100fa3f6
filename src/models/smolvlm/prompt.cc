#include "models/smolvlm/prompt.h"

#include <algorithm>
#include <iterator>

#include "models/smolvlm/preprocess.h"
#include "models/smolvlm/video.h"

namespace onsight::models::smolvlm {
namespace {

constexpr std::string_view kVideo = "<video>";  // as the built-in template writes it

// A video as tiles, and when each is shown.
struct Frames {
  std::vector<media::Image> tiles;
  std::vector<double> times;
  double duration = 0;
};

// The tiles of a plan's frames: those that were kept, or decoded anew. `on_frame` counts them.
Result<std::vector<media::Image>> read_frames(const media::Clip& clip, const std::vector<int64_t>& frames,
                                              const VideoConfig& config, const std::function<bool()>& on_frame) {
  std::unique_lock<std::mutex> lock;  // who asks at the same time waits, and finds them
  if (clip.kept) {
    lock = std::unique_lock(clip.kept->mutex);
    if (clip.kept->frames == frames && clip.kept->tile_size == config.tile_size) return clip.kept->tiles;
  }
  std::vector<media::Image> tiles;
  TRY_STATUS(clip.video->read(frames, [&](size_t, const media::Image& frame) {
    tiles.push_back(frame_to_tile(frame, config));
    return on_frame();
  }));
  if (clip.kept) {
    clip.kept->frames = frames;
    clip.kept->tile_size = config.tile_size;
    clip.kept->tiles = tiles;
  }
  return tiles;
}

Result<std::vector<Frames>> read_clips(const Attachments& attachments, const Config& config) {
  if (!config.video_refused.empty()) return bad_input("{}", config.video_refused);
  std::vector<FramePlan> plans;
  int64_t total = 0, done = 0;
  for (const media::Clip& clip : attachments.clips) {
    TRY(FramePlan plan, plan_frames(clip, config.video));
    total += std::ssize(plan.frames);
    plans.push_back(std::move(plan));
  }
  // Said before hours are decoded.
  if (total * config.tokens_per_tile() >= config.text.max_position_embeddings)
    return bad_input("video: {} frames take {} tokens, expected fewer than the model's context of {}", total,
                     total * config.tokens_per_tile(), config.text.max_position_embeddings);
  std::vector<Frames> out;
  for (size_t i = 0; i < plans.size(); ++i) {
    Frames& frames = out.emplace_back();
    frames.duration = plans[i].duration;
    const auto on_frame = [&] { return !attachments.on_frame || attachments.on_frame(++done, total); };
    TRY(frames.tiles, read_frames(attachments.clips[i], plans[i].frames, config.video, on_frame));
    // A file may end before all that were asked for.
    frames.times.assign(plans[i].times.begin(), plans[i].times.begin() + std::ssize(frames.tiles));
  }
  return out;
}

}  // namespace

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

Result<Prompt> PromptBuilder::build(const std::vector<text::ChatMessage>& messages, const Attachments& attachments,
                                    const Config& config) const {
  const auto& images = attachments.images;
  const bool with_video = !attachments.clips.empty();
  if (with_video && !images.empty())
    return bad_input("a conversation with {} pictures and {} videos, expected one kind or the other", images.size(),
                     attachments.clips.size());
  std::vector<Frames> clips;
  int64_t most_frames = 0;  // of a clip: transformers tells it of each
  if (with_video) {
    TRY(clips, read_clips(attachments, config));
    for (const Frames& clip : clips) most_frames = std::max<int64_t>(most_frames, std::ssize(clip.tiles));
  }
  const text::ChatTemplate chat = with_video ? text::ChatTemplate::built_in() : template_;
  TRY(text::RenderedPrompt rendered, chat.render(messages, /*add_generation_prompt=*/true));

  // Each image token that the template wrote becomes a picture's text; the same characters in a user's text stay text.
  Prompt prompt;
  std::string text;
  std::vector<text::ByteRange> literal;
  size_t at = 0, next_range = 0, next = 0;
  const std::string_view token = with_video ? kVideo : config.tokens.image;
  const size_t count = with_video ? clips.size() : images.size();
  const std::string_view kind = with_video ? "videos" : "pictures";
  size_t found = rendered.text.find(token);  // the next, looked for once however many messages lie before it
  const auto append_user_text = [&](const text::ByteRange& range) {
    literal.push_back({text.size(), text.size() + (range.end - range.begin)});
    text.append(rendered.text, range.begin, range.end - range.begin);
    at = range.end;
  };
  while (at < rendered.text.size()) {
    const size_t end =
        next_range < rendered.user_text.size() ? rendered.user_text[next_range].begin : rendered.text.size();
    if (found < at) found = rendered.text.find(token, at);
    if (found != std::string::npos && found + token.size() <= end) {
      text.append(rendered.text, at, found - at);
      at = found + token.size();
      if (next == count)
        return bad_input("chat template: writes {} more often than the {} {} of the conversation", token, count, kind);
      std::vector<media::Image> tiles;
      if (with_video) {
        Frames& clip = clips[next++];
        text += video_text(config.tokens, clip.times, clip.duration, most_frames, config.tokens_per_tile());
        tiles = std::move(clip.tiles);
      } else {
        Tiles cut = cut_into_tiles(*images[next++], config.processor, attachments.picture);
        text += picture_text(config.tokens, cut.rows, cut.columns, config.tokens_per_tile());
        tiles = std::move(cut.images);
      }
      std::move(tiles.begin(), tiles.end(), std::back_inserter(prompt.tiles));
    } else {
      text.append(rendered.text, at, end - at);
      at = end;
      if (next_range < rendered.user_text.size()) append_user_text(rendered.user_text[next_range++]);
    }
  }
  if (next != count) return bad_input("chat template: places {} of the {} {} of the conversation", next, count, kind);

  // What cannot fit is told without taking it apart, which takes a quarter of a second for each megabyte.
  if (const size_t longest = tokenizer_.longest_token(); longest > 0) {
    const auto least = static_cast<int64_t>(text.size() / longest);
    if (least >= config.text.max_position_embeddings)
      return tl::unexpected(
          Error{.code = ErrorCode::kBadInput,
                .message = fmt::format("prompt: at least {} tokens, expected fewer than the model's context of {}",
                                       least, config.text.max_position_embeddings),
                .field = "messages",
                .reason = "context_length_exceeded"});
  }
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
