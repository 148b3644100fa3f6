// libonsight: the engine as include/onsight.h shows it to C. Nothing is thrown across it, and no pointer is trusted to
// be there.
#include "onsight.h"

#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "base/exit_code.h"
#include "engine/guarded.h"
#include "engine/runner.h"
#include "engine/weight_choice.h"
#include "hub/find_model.h"
#include "media/pixels.h"

using onsight::Error;
using onsight::ErrorCode;
using onsight::make_error;
using onsight::Path;
using onsight::Result;
using onsight::Status;
namespace engine = onsight::engine;
namespace media = onsight::media;

struct onsight_model {
  std::shared_ptr<engine::Runner> runner;  // shared with the calls that wait for answers of it
  onsight_info info = {};
};

struct onsight_chat {
  std::vector<engine::Message> messages;
  std::atomic<bool> cancelled{false};
  static_assert(std::atomic<bool>::is_always_lock_free);  // for signal handlers
};

namespace {

constexpr uint64_t kMaxPictureBytes = uint64_t{1} << 30;
constexpr auto kBetweenLooks = std::chrono::milliseconds(20);  // onsight_chat_cancel waits so long at most

struct OwnedReply : onsight_reply {
  std::string storage;
};

template <class... Args>
auto usage(fmt::format_string<Args...> format, Args&&... args) {
  return make_error(ErrorCode::kUsage, format, std::forward<Args>(args)...);
}

static_assert(ONSIGHT_OK == onsight::kExitDone && ONSIGHT_BUSY == onsight::kExitOutput &&
              ONSIGHT_WRONG_USAGE == onsight::kExitUsage && ONSIGHT_BAD_INPUT == onsight::kExitBadInput &&
              ONSIGHT_OUT_OF_MEMORY == onsight::kExitMemory && ONSIGHT_INTERRUPTED == onsight::kExitInterrupted);

// The edge: a Status, or whatever is thrown, becomes a code and a sentence.
template <class Body>
int answer(onsight_error* error, const Body& body) noexcept {
  const auto fail = [error](int code, std::string_view message) {
    if (!error) return code;
    error->code = code;
    size_t n = std::min(message.size(), sizeof error->message - 1);
    while (n < message.size() && n > 0 && (message[n] & 0xC0) == 0x80) --n;  // no half characters
    message.copy(error->message, n);
    error->message[n] = '\0';
    return code;
  };
  try {
    const Status status = engine::guarded(body);
    return status ? ONSIGHT_OK : fail(onsight::exit_code(status.error().code), status.error().message);
  } catch (const std::bad_alloc&) {  // where the sentence itself found no memory
    return fail(ONSIGHT_OUT_OF_MEMORY, "not enough memory");
  } catch (...) {
    return fail(ONSIGHT_BAD_INPUT, "unexpected failure");
  }
}

// Sizes of the first version, which the oldest callers know.
constexpr size_t kFirstLoadOptions = offsetof(onsight_load_options, kv);
constexpr size_t kFirstAskOptions = offsetof(onsight_ask_options, no_draft);

// What the caller knows of T, of which the first version had so many bytes; a caller of a newer header may know more,
// as long as it asks for none of it.
template <class T>
Result<T> options_of(const T* given, const char* type, size_t first = sizeof(T)) {
  T options = {};
  if (!given) return options;
  size_t size = 0;
  std::memcpy(&size, given, sizeof size);
  if (size < first) return usage("{}: a size of {}, expected sizeof({})", type, size, type);
  const auto* bytes = reinterpret_cast<const char*>(given);
  if (size > 4096 || std::any_of(bytes + std::min(size, sizeof(T)), bytes + size, [](char byte) { return byte != 0; }))
    return usage("{}: options that this version of the library does not know", type);
  std::memcpy(&options, given, std::min(size, sizeof options));
  return options;
}

Status expect_range(const char* name, double value, double least, double most) {
  if (value >= least && value <= most) return {};
  return usage("{}: expected a number from {} to {}, found {}", name, least, most, value);
}

Status expect_there(const void* pointer, const char* name) {
  if (pointer) return {};
  return usage("{}: expected one, found NULL", name);
}

Status expect_text(const char* text, const char* name) {
  TRY_STATUS(expect_there(text, name));
  if (!*text) return usage("{}: expected one, found nothing", name);
  return {};
}

// Where the library is installed, from its own file: PREFIX/lib/libonsight.so, or a folder further down.
Path prefix_of_library() {
  Dl_info here;
  if (dladdr(reinterpret_cast<const void*>(&onsight_version), &here) == 0 || !here.dli_fname) return {};
  std::error_code error;
  const Path file = std::filesystem::canonical(here.dli_fname, error);
  if (error) return {};
  const Path prefix = file.parent_path().parent_path();
  return prefix.filename() == "lib" ? prefix.parent_path() : prefix;
}

Result<std::optional<engine::Quantisation>> quant_of(const char* name, int quant) {
  switch (quant) {
    case ONSIGHT_QUANT_DEFAULT:
      return std::nullopt;
    case ONSIGHT_QUANT_AUTO:
      return engine::Quantisation::kAuto;
    case ONSIGHT_QUANT_NONE:
      return engine::Quantisation::kNone;
    case ONSIGHT_QUANT_Q8:
      return engine::Quantisation::kQ8;
    case ONSIGHT_QUANT_Q4:
      return engine::Quantisation::kQ4;
    default:
      return usage("{}: expected an onsight_quant, found {}", name, quant);
  }
}

Result<engine::EngineOptions> engine_options(const onsight_load_options* given) {
  TRY(const onsight_load_options options, options_of(given, "onsight_load_options", kFirstLoadOptions));
  TRY_STATUS(expect_range("threads", options.threads, 0, 1024));
  TRY_STATUS(expect_range("cache_megabytes", static_cast<double>(options.cache_megabytes), 0, 1e6));
  if (options.cache) TRY_STATUS(expect_text(options.cache, "cache"));
  TRY(const auto text, quant_of("quant", options.quant));
  TRY(const auto vision, quant_of("vision_quant", options.vision_quant));
  if (options.kv < ONSIGHT_KV_AUTO || options.kv > ONSIGHT_KV_Q8)
    return usage("kv: expected an onsight_kv, found {}", options.kv);
  engine::EngineOptions out;
  out.kv = engine::kKvFormats[static_cast<size_t>(options.kv)].type;
  out.threads = options.threads;
  out.text = text.value_or(engine::Quantisation::kAuto);
  out.vision = vision.value_or(engine::vision_like(out.text));
  if (options.cache) out.cache = options.cache;
  if (options.cache_megabytes) out.cache_bytes = static_cast<int64_t>(options.cache_megabytes) << 20;
  return out;
}

onsight_info describe(const engine::ModelInfo& info) {
  return {.name = info.name.c_str(),
          .architecture = info.architecture.c_str(),
          .text_quant = info.text_quantisation.c_str(),
          .vision_quant = info.vision_quantisation.c_str(),
          .parameters = info.parameters,
          .memory_bytes = info.memory_bytes,
          .tile_size = info.tile_size,
          .tokens_per_tile = info.tokens_per_tile,
          .context_length = info.context_length};
}

// Adds what `make` makes to the last message.
template <class Make>
int add_part(onsight_chat* chat, onsight_error* error, const Make& make) {
  return answer(error, [&]() -> Status {
    TRY_STATUS(expect_there(chat, "chat"));
    TRY(engine::Part part, make());
    if (chat->messages.empty()) chat->messages.push_back({.role = "user", .content = {}});
    chat->messages.back().content.push_back(std::move(part));
    return {};
  });
}

engine::Part picture(media::Image image) {
  return {
      .kind = engine::Part::Kind::kImage, .text = {}, .image = std::make_shared<const media::Image>(std::move(image))};
}

Result<std::vector<engine::Message>> messages_of(const onsight_chat& chat) {
  if (chat.messages.empty() || chat.messages.back().role != "user")
    return usage("chat: expected a message of the user at its end, found {}",
                 chat.messages.empty() ? "none" : "one of another");
  for (size_t i = 0; i < chat.messages.size(); ++i)
    if (chat.messages[i].content.empty())
      return usage("chat: message {} is empty, expected a text or a picture", i + 1);
  return chat.messages;
}

Result<engine::Request> request_of(const onsight_chat& chat, const onsight_ask_options* given) {
  TRY(const onsight_ask_options options, options_of(given, "onsight_ask_options", kFirstAskOptions));
  TRY_STATUS(expect_range("max_tokens", options.max_tokens, 0, 1e6));
  TRY_STATUS(expect_range("temperature", options.temperature, 0, 10));
  TRY_STATUS(expect_range("top_k", options.top_k, 0, 1e6));
  TRY_STATUS(expect_range("top_p", options.top_p, 0, 1));
  TRY_STATUS(expect_range("min_p", options.min_p, 0, 1));
  TRY_STATUS(expect_range("repetition_penalty", options.repetition_penalty, 0, 10));
  TRY_STATUS(expect_range("max_tiles", options.max_tiles, 0, 10'000));
  engine::Request request;
  for (const char* const* stop = options.stops; stop && *stop; ++stop) {
    TRY_STATUS(expect_text(*stop, "stop"));
    request.stop.emplace_back(*stop);
  }
  if (options.json_schema) {
    if (!request.stop.empty()) return usage("stops and json_schema exclude each other: a stop would cut the JSON");
    TRY(onsight::text::JsonSchema schema, onsight::text::JsonSchema::compile(options.json_schema, "json_schema"));
    request.schema = std::make_shared<const onsight::text::JsonSchema>(std::move(schema));
  }
  if (options.max_tokens) request.max_tokens = options.max_tokens;
  request.draft = options.no_draft == 0;
  request.sampling = {.temperature = options.temperature,
                      .top_k = options.top_k,
                      .top_p = options.top_p > 0 ? options.top_p : 1,
                      .min_p = options.min_p,
                      .repetition_penalty = options.repetition_penalty > 0 ? options.repetition_penalty : 1,
                      .seed = options.seed};
  request.picture = {.max_tiles = options.max_tiles, .allow_upscale = options.no_upscale == 0};
  TRY(request.messages, messages_of(chat));
  return request;
}

int finish_of(engine::FinishReason reason) {
  switch (reason) {
    case engine::FinishReason::kStop:
      return ONSIGHT_STOP;
    case engine::FinishReason::kLength:
      return ONSIGHT_LENGTH;
    case engine::FinishReason::kCancelled:
      return ONSIGHT_CANCELLED;
  }
  return ONSIGHT_STOP;
}

std::unique_ptr<OwnedReply> owned(engine::Reply from) {
  auto reply = std::make_unique<OwnedReply>();
  reply->storage = std::move(from.text);
  const engine::Timings& ms = from.timings_ms;
  static_cast<onsight_reply&>(*reply) = {.text = reply->storage.c_str(),
                                         .length = reply->storage.size(),
                                         .finish = finish_of(from.finish_reason),
                                         .prompt_tokens = from.prompt_tokens,
                                         .completion_tokens = from.completion_tokens,
                                         .cached_tokens = from.reused_tokens,
                                         .preprocess_ms = ms.preprocess,
                                         .vision_ms = ms.vision,
                                         .prefill_ms = ms.prefill,
                                         .decode_ms = ms.decode,
                                         .first_token_ms = ms.first_token,
                                         .peak_memory_bytes = engine::peak_memory_bytes(),
                                         .drafted_tokens = from.drafted_tokens,
                                         .accepted_tokens = from.accepted_tokens,
                                         .cached_tiles = from.cached_tiles};
  return reply;
}

}  // namespace

const char* onsight_version(void) { return ONSIGHT_VERSION; }

int onsight_model_load(const char* path, const onsight_load_options* options, onsight_model** model,
                       onsight_error* error) {
  if (model) *model = nullptr;
  return answer(error, [&]() -> Status {
    TRY_STATUS(expect_there(model, "model"));
    if (path) TRY_STATUS(expect_text(path, "path"));
    TRY(const engine::EngineOptions engine_options, ::engine_options(options));
    TRY(const Path folder, onsight::hub::find_model(path ? std::optional<std::string>(path) : std::nullopt,
                                                    onsight::hub::model_folders(prefix_of_library())));
    auto out = std::make_unique<onsight_model>();
    TRY(out->runner, engine::Runner::load(folder, engine_options));
    out->info = describe(out->runner->info());
    *model = out.release();
    return {};
  });
}

void onsight_model_free(onsight_model* model) {
  if (!model) return;
  (void)answer(nullptr, [&]() -> Status {
    model->runner->close();
    return {};
  });
  delete model;
}

const onsight_info* onsight_model_info(const onsight_model* model) { return model ? &model->info : nullptr; }

onsight_chat* onsight_chat_new(void) { return new (std::nothrow) onsight_chat; }

void onsight_chat_free(onsight_chat* chat) { delete chat; }

int onsight_chat_message(onsight_chat* chat, int role, onsight_error* error) {
  return answer(error, [&]() -> Status {
    TRY_STATUS(expect_there(chat, "chat"));
    if (role < ONSIGHT_SYSTEM || role > ONSIGHT_ASSISTANT)
      return usage("role: expected an onsight_role, found {}", role);
    constexpr const char* kRoles[] = {"system", "user", "assistant"};
    chat->messages.push_back({.role = kRoles[role], .content = {}});
    return {};
  });
}

int onsight_chat_text(onsight_chat* chat, const char* text, onsight_error* error) {
  return add_part(chat, error, [&]() -> Result<engine::Part> {
    TRY_STATUS(expect_there(text, "text"));
    return engine::Part{.kind = engine::Part::Kind::kText, .text = text, .image = nullptr};
  });
}

int onsight_chat_image_file(onsight_chat* chat, const char* path, onsight_error* error) {
  return add_part(chat, error, [&]() -> Result<engine::Part> {
    TRY_STATUS(expect_text(path, "path"));
    const auto check = [path](std::string_view first) { return media::check_format(first, path); };
    TRY(const std::string bytes, onsight::read_file(path, kMaxPictureBytes, check));
    TRY(media::Image image, media::decode_image(bytes, path));
    return picture(std::move(image));
  });
}

int onsight_chat_image_bytes(onsight_chat* chat, const void* bytes, size_t size, onsight_error* error) {
  return add_part(chat, error, [&]() -> Result<engine::Part> {
    TRY_STATUS(expect_there(bytes, "bytes"));
    if (size > kMaxPictureBytes) return usage("size: {} bytes, expected at most {}", size, kMaxPictureBytes);
    TRY(media::Image image, media::decode_image({static_cast<const char*>(bytes), size}, "the picture's bytes"));
    return picture(std::move(image));
  });
}

int onsight_chat_image_pixels(onsight_chat* chat, const uint8_t* pixels, int width, int height, int channels,
                              ptrdiff_t stride, onsight_error* error) {
  return add_part(chat, error, [&]() -> Result<engine::Part> {
    TRY_STATUS(expect_there(pixels, "pixels"));
    if (channels != 1 && channels != 3 && channels != 4)
      return usage("channels: expected 1, 3 or 4, found {}", channels);
    const int64_t row_bytes = int64_t{width} * channels;
    if (stride != 0 && stride < row_bytes && stride > -row_bytes)
      return usage("stride: {} bytes, expected at least the {} of a row, or 0", stride, row_bytes);
    const media::Pixels from{
        .data = pixels, .shape = {height, width, channels}, .strides = {stride ? stride : row_bytes, channels, 1}};
    TRY(media::Image image, media::copy_pixels(from, "pixels"));
    return picture(std::move(image));
  });
}

int onsight_chat_video_file(onsight_chat* chat, const char* path, const onsight_clip_options* given,
                            onsight_error* error) {
  return add_part(chat, error, [&]() -> Result<engine::Part> {
    TRY_STATUS(expect_text(path, "path"));
    TRY(const onsight_clip_options options, options_of(given, "onsight_clip_options"));
    TRY_STATUS(expect_range("fps", options.fps, 0, 1000));
    TRY_STATUS(expect_range("max_frames", options.max_frames, 0, 100'000));
    TRY_STATUS(expect_range("start", options.start, 0, 1e9));
    TRY_STATUS(expect_range("end", options.end, 0, 1e9));
    if (options.end > 0 && options.end <= options.start)
      return usage("end: expected a time after start ({} s), found {} s", options.start, options.end);
    TRY(auto video, media::Video::open(Path(path)));
    return engine::Part{.kind = engine::Part::Kind::kVideo,
                        .text = {},
                        .image = nullptr,
                        .clip = {std::move(video),
                                 {options.fps, options.max_frames, options.start, options.end},
                                 std::make_shared<media::KeptFrames>()}};
  });
}

void onsight_chat_cancel(onsight_chat* chat, int cancel) {
  if (chat) chat->cancelled = cancel != 0;
}

int onsight_ask(onsight_model* model, const onsight_chat* chat, const onsight_ask_options* options,
                onsight_on_text on_text, void* user, onsight_reply** reply, onsight_error* error) {
  if (reply) *reply = nullptr;
  return answer(error, [&]() -> Status {
    TRY_STATUS(expect_there(model, "model"));
    TRY_STATUS(expect_there(chat, "chat"));
    TRY(engine::Request request, request_of(*chat, options));
    const std::shared_ptr<engine::Runner> runner = model->runner;
    TRY(const auto answering, runner->submit(std::move(request), [&] { return !chat->cancelled; }));
    std::string piece;
    for (bool wanted = true;;) {
      const auto state = answering->take(kBetweenLooks, piece);
      if (state == engine::Answering::State::kDone) break;
      if (!piece.empty() && wanted && on_text) wanted = on_text(user, piece.c_str(), piece.size()) == 0;
      if (!wanted || chat->cancelled) answering->cancel();
    }
    TRY(engine::Reply answered, answering->reply());
    if (reply) *reply = owned(std::move(answered)).release();
    return {};
  });
}

void onsight_reply_free(onsight_reply* reply) { delete static_cast<OwnedReply*>(reply); }
