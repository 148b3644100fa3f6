#include "cli/request_options.h"

#include <algorithm>
#include <filesystem>

#include "engine/weight_choice.h"

namespace onsight::cli {
namespace {

constexpr uint64_t kMaxPictureBytes = uint64_t{1} << 30;
constexpr uint64_t kMaxPromptBytes = uint64_t{16} << 20;
constexpr uint64_t kMaxSchemaBytes = uint64_t{4} << 20;

// Whether a prompt has more than places of what is shown.
bool asks_something(std::string_view prompt, std::string_view place) {
  constexpr std::string_view kBlanks = " \t\r\n";
  while (!prompt.empty()) {
    const bool at_place = prompt.starts_with(place);
    if (!at_place && kBlanks.find(prompt.front()) == std::string_view::npos) return true;
    prompt.remove_prefix(at_place ? place.size() : 1);
  }
  return false;
}

// FNV-1a: tells a changed file from an unchanged one, and protects against nothing else.
std::string hash_of(std::string_view bytes) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return fmt::format("fnv1a64:{:016x}", hash);
}

// "90", "1:30" and "0:01:30.0" are 90 seconds.
Result<double> seconds_of(std::string_view option, const std::string& text) {
  const auto refuse = [&] {
    return make_error(ErrorCode::kUsage, "{}: expected seconds or H:MM:SS, found '{}'", option, text);
  };
  double seconds = 0;
  size_t at = 0;
  for (int part = 0;; ++part) {
    const size_t end = std::min(text.find(':', at), text.size());
    const std::string digits = text.substr(at, end - at);
    const bool last = end == text.size();
    const bool plain = !digits.empty() && digits.size() < 16 && std::count(digits.begin(), digits.end(), '.') <= last &&
                       digits.find_first_not_of("0123456789.") == std::string::npos && digits != ".";
    if (!plain || part > 2) return refuse();
    const double value = std::stod(digits);
    if (part > 0 && value >= 60) return refuse();
    seconds = seconds * 60 + value;
    if (last) return seconds;
    at = end + 1;
  }
}

}  // namespace

std::string question_of(std::string prompt, std::string_view place, std::string_view otherwise) {
  if (asks_something(prompt, place)) return prompt;
  std::string out;
  for (size_t at = prompt.find(place); at != std::string::npos; at = prompt.find(place, at + place.size()))
    out += place;
  return out.append(otherwise);
}

void RequestOptions::declare_model(Options& options) {
  options.text("-m,--model", "MODEL", model,
               "a checkpoint folder, a file that `onsight convert` wrote, a GGUF file with its mmproj beside it, "
               "TEXT.gguf,MMPROJ.gguf, OWNER/NAME of one that was pulled, or the name of an installed model "
               "(default onsight-nano)");
}

void RequestOptions::declare_inputs(Options& options, std::string image_help) {
  options.heading("What is asked");
  declare_model(options);
  options.texts("-i,--image", "FILE", images, std::move(image_help));
  options.text("--system", "TEXT", system, "what the model is told before the conversation");
}

void RequestOptions::declare_videos(Options& options) {
  options.texts("-v,--video", "FILE", videos,
                "a video, in order: MP4, MOV, WebM, MKV, AVI, GIF, ...; - reads it from standard input");
  options.number("--fps", "N", clip.fps, {.min = 0, .max = 1000, .open_min = true},
                 "look at N frames of each second (default: the model's, 1)");
  options.number("--max-frames", "N", max_frames_, {.min = 1, .max = 100'000},
                 "look at N frames at most, evenly (default: the model's, 64)");
  options.text("--start", "TIME", start_, "look from here on: seconds, or H:MM:SS");
  options.text("--end", "TIME", end_, "look up to here");
}

void RequestOptions::declare_prompt(Options& options) {
  options.argument("PROMPT", prompt, "the question or instruction; - reads it from standard input");
}

void RequestOptions::declare_answer(Options& options) {
  engine::Sampling& sampling = request.sampling;
  options.heading("How the answer is chosen");
  options.number("-n,--max-tokens", "N", request.max_tokens, {.min = 1, .max = 1'000'000},
                 "end after N tokens (default 1024)");
  options.texts("--stop", "TEXT", request.stop, "end before TEXT");
  options.number("--temperature", "T", sampling.temperature, {.min = 0, .max = 10},
                 "0 takes the most probable token; more is more varied, up to 10 (default 0)");
  options.number("--top-k", "N", sampling.top_k, {.min = 0, .max = 1'000'000},
                 "choose among the N most probable; 0: all (default 0)");
  options.number("--top-p", "P", sampling.top_p, {.min = 0, .max = 1, .open_min = true},
                 "choose among the most probable that together reach P (default 1)");
  options.number("--min-p", "P", sampling.min_p, {.min = 0, .max = 1},
                 "choose among those at least P times as probable as the first (default 0)");
  options.number("--repetition-penalty", "R", sampling.repetition_penalty, {.min = 0, .max = 10, .open_min = true},
                 "make what was said before less probable; 1: not (default 1)");
  options.number("--seed", "N", sampling.seed, "the same seed gives the same answer (default 0)");
}

void RequestOptions::declare_form(Options& options) {
  options.text("--json-schema", "FILE", json_schema,
               "the answer is JSON that this schema allows, whole even if --max-tokens ends it");
}

void RequestOptions::declare_cost(Options& options) {
  options.heading("What it may cost");
  options.number("--max-tiles", "N", request.picture.max_tiles, {.min = 1, .max = 10'000},
                 "read a picture in at most N tiles; 1: only the whole, small (default: as many as the model makes)");
  options.flag("--no-upscale", request.picture.allow_upscale, "do not enlarge a small picture beyond what tiling needs",
               /*value=*/false);
  declare_formats(options);
}

void RequestOptions::declare_formats(Options& options) {
  const std::vector<std::string> formats = {"auto", "none", "q8", "q4"};
  options.choice("--quant", "FORMAT", formats, quantisation,
                 "weights in memory: q8, q4, none (as they come, or as converted), auto (q8 from 100 million "
                 "parameters on; default)");
  options.choice("--vision-quant", "FORMAT", formats, vision_quantisation,
                 "the same for the vision tower (default: as --quant, but q8 for q4)");
  std::vector<std::string> kv_formats;
  for (const engine::KvFormat& format : engine::kKvFormats) kv_formats.emplace_back(format.name);
  options.choice("--kv", "FORMAT", std::move(kv_formats), kv,
                 "keys and values in memory: f32, f16, q8 (about half of f16, a little less exact), "
                 "auto (f16 beside q8 and q4, else f32; default)");
  options.number("--threads", "N", threads, {.min = 1, .max = 1024}, "compute with N threads (default: one a core)");
}

void RequestOptions::declare_savings(Options& options) {
  options.flag("--no-draft", request.draft,
               "one token at a time: check no guesses from what was said (the same answer)",
               /*value=*/false);
  declare_cache(options);
}

void RequestOptions::declare_cache(Options& options) {
  options.text("--cache", "DIR", cache,
               "keep what was seen of pictures, and the decoder's state after them, in this folder, for the next run "
               "(default: nothing is kept)");
  options.number("--cache-size", "MB", cache_megabytes, {.min = 1, .max = 1'000'000},
                 "keep at most so much, what was used last (default 1024)");
}

void RequestOptions::declare_machine(Options& options) {
  options.heading("What the model may take");
  declare_formats(options);
  declare_cache(options);
}

engine::EngineOptions RequestOptions::engine_options() const {
  const auto text = static_cast<engine::Quantisation>(quantisation);
  return {.threads = threads,
          .text = text,
          .vision = vision_quantisation < 0 ? engine::vision_like(text)
                                            : static_cast<engine::Quantisation>(vision_quantisation),
          .kv = engine::kKvFormats[static_cast<size_t>(kv)].type,
          .cache = cache.value_or(""),
          .cache_bytes = int64_t{cache_megabytes} << 20};
}

Status RequestOptions::check_values() const {
  if (std::count(images.begin(), images.end(), "") > 0)
    return make_error(ErrorCode::kUsage, "--image: expected a file, found nothing");
  if (cache == "") return make_error(ErrorCode::kUsage, "--cache: expected a folder, found nothing");
  if (std::count(request.stop.begin(), request.stop.end(), "") > 0)
    return make_error(ErrorCode::kUsage, "--stop: expected a text, found nothing");
  if (json_schema == "") return make_error(ErrorCode::kUsage, "--json-schema: expected a file, found nothing");
  if (json_schema && !request.stop.empty())
    return make_error(ErrorCode::kUsage, "--stop and --json-schema exclude each other: a stop would cut the JSON");
  return {};
}

Status RequestOptions::check() {
  const auto files_of_stdin =
      std::count(images.begin(), images.end(), "-") + std::count(videos.begin(), videos.end(), "-");
  if (files_of_stdin + (prompt == "-" ? 1 : 0) > 1)
    return make_error(ErrorCode::kUsage,
                      "standard input can be read once only, expected - for one picture, one video or the prompt");
  if (!images.empty() && !videos.empty())
    return make_error(ErrorCode::kUsage, "--image and --video exclude each other: a conversation shows one kind");
  if (images.empty() && videos.empty() &&
      (!prompt || !asks_something(*prompt, kPlaceOfPicture) || !asks_something(*prompt, kPlaceOfVideo)))
    return make_error(ErrorCode::kUsage, "expected a question, a picture (--image FILE), a video (--video FILE)");
  // Whoever leaves the option out would get an answer about the file's name.
  std::error_code error;
  if (images.empty() && videos.empty() && std::filesystem::is_regular_file(*prompt, error))
    return make_error(ErrorCode::kUsage, "'{}' is a file, expected a question; a picture goes after --image", *prompt);
  if (std::count(videos.begin(), videos.end(), "") > 0)
    return make_error(ErrorCode::kUsage, "--video: expected a file, found nothing");
  if (videos.empty() && (clip.fps > 0 || max_frames_ > 0 || start_ || end_))
    return make_error(ErrorCode::kUsage, "{}: expected a video (--video FILE) beside it",
                      clip.fps > 0      ? "--fps"
                      : max_frames_ > 0 ? "--max-frames"
                      : start_          ? "--start"
                                        : "--end");
  TRY_STATUS(check_clip());
  return check_values();
}

Status RequestOptions::check_clip() {
  clip.max_frames = max_frames_;
  if (start_) {
    TRY(clip.start, seconds_of("--start", *start_));
  }
  if (end_) {
    TRY(clip.end, seconds_of("--end", *end_));
  }
  if (end_ && clip.end <= clip.start)
    return make_error(ErrorCode::kUsage, "--end: expected a time after --start, found '{}'", *end_);
  return {};
}

Status RequestOptions::load_schema() {
  if (!json_schema) return {};
  TRY(schema_text_, read_file(*json_schema, kMaxSchemaBytes));
  TRY(text::JsonSchema schema, text::JsonSchema::compile(schema_text_, *json_schema));
  request.schema = std::make_shared<const text::JsonSchema>(std::move(schema));
  return {};
}

// --threads, --cache and --no-draft leave the answer as it is.
Digest RequestOptions::answer_digest() const {
  const engine::Sampling& s = request.sampling;
  Sha256 hash;
  hash.field(fmt::format("{} {} {} {} {} {}", request.max_tokens, request.picture.max_tiles,
                         request.picture.allow_upscale, quantisation, vision_quantisation, kv));
  hash.field(fmt::format("{} {} {} {} {} {}", s.temperature, s.top_k, s.top_p, s.min_p, s.repetition_penalty, s.seed));
  hash.field(system.value_or("")).field(schema_text_);
  for (const std::string& stop : request.stop) hash.field(stop);
  return hash.finish();
}

Result<Picture> load_picture(const std::string& path) {
  if (path.find("://") != std::string::npos)
    return make_error(ErrorCode::kBadInput, "{}: expected a file on this machine, found an address", path);
  const std::string name = path == "-" ? "standard input" : path;
  const auto check = [&](std::string_view first) { return media::check_format(first, name); };
  TRY(std::string bytes, path == "-" ? read_stdin(kMaxPictureBytes, check) : read_file(path, kMaxPictureBytes, check));
  TRY(media::Image image, media::decode_image(bytes, name));
  Picture picture;
  picture.image = std::make_shared<const media::Image>(std::move(image));
  picture.path = path;
  picture.file_hash = hash_of(bytes);
  return picture;
}

Result<media::Clip> load_clip(const std::string& path, const media::ClipOptions& options) {
  if (path != "-") {
    TRY(auto video, media::Video::open(Path(path)));
    return media::Clip{std::move(video), options};
  }
  TRY(std::string bytes, read_stdin(kMaxPictureBytes));
  TRY(auto video, media::Video::open(std::move(bytes), "standard input"));
  return media::Clip{std::move(video), options};
}

engine::Message system_message(const std::string& text) {
  engine::Message message;
  message.role = "system";
  message.content.push_back({.kind = engine::Part::Kind::kText, .text = text, .image = nullptr});
  return message;
}

Result<std::vector<engine::Message>> make_messages(const RequestOptions& options) {
  const bool shown = !options.images.empty() || !options.videos.empty();
  const std::string_view place = options.videos.empty() ? kPlaceOfPicture : kPlaceOfVideo;
  std::string prompt = options.prompt.value_or("");
  if (options.prompt == "-") {
    TRY(prompt, read_stdin(kMaxPromptBytes));
    if (prompt.ends_with('\n')) prompt.pop_back();
    if (!shown && !asks_something(prompt, place))
      return bad_input("standard input: expected a question, found nothing");
  }
  if (shown) prompt = question_of(prompt, place, options.videos.empty() ? kDefaultPrompt : kDefaultVideoPrompt);
  std::vector<std::shared_ptr<const media::Image>> images;
  for (const std::string& path : options.images) {
    TRY(Picture picture, load_picture(path));
    images.push_back(std::move(picture.image));
  }
  std::vector<media::Clip> clips;
  for (const std::string& path : options.videos) {
    TRY(media::Clip clip, load_clip(path, options.clip));
    clips.push_back(std::move(clip));
  }
  std::vector<engine::Message> messages;
  if (options.system) messages.push_back(system_message(*options.system));
  TRY(engine::Message message,
      clips.empty() ? engine::user_message(images, prompt) : engine::video_message(clips, prompt));
  messages.push_back(std::move(message));
  return messages;
}

}  // namespace onsight::cli
