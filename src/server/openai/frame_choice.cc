#include "server/openai/frame_choice.h"

#include <algorithm>
#include <optional>

namespace onsight::server::openai {
namespace {

constexpr double kLeastFps = 1e-3, kMostFps = 1000;
constexpr int64_t kMostFrames = 100'000;

Status check_only(const Fields& fields, std::initializer_list<std::string_view> names, std::string_view expected) {
  for (const auto& [name, value] : fields.json().items())
    if (!value.is_null() && std::find(names.begin(), names.end(), name) == names.end())
      return bad_input("{}: expected {} alone", fields.place(name), expected);
  return {};
}

// -1 is vLLM's word for no limit.
bool is_unlimited(const Fields& fields, std::string_view key) {
  const Json* value = fields.find(key);
  return value && value->is_number() && value->get<double>() == -1;
}

Result<std::optional<media::ClipOptions>> read_loader(const Fields& request) {
  if (!request.has("media_io_kwargs")) return std::nullopt;
  TRY(const Fields kinds, request.object("media_io_kwargs"));
  for (const auto& [kind, value] : kinds.json().items())
    if (kind != "video" && !value.is_null() && value != Json::object())
      return bad_input("{}: expected nothing, only videos have options here", kinds.place(kind));
  if (!kinds.has("video")) return std::nullopt;
  TRY(const Fields video, kinds.object("video"));
  TRY_STATUS(check_only(video, {"num_frames", "fps"}, "num_frames and fps"));
  media::ClipOptions out;
  if (!is_unlimited(video, "fps")) {
    TRY(out.fps, video.number("fps", 0, kLeastFps, kMostFps));
  }
  if (is_unlimited(video, "num_frames")) {
    out.max_frames = media::kHoweverMany;
  } else {
    TRY(out.max_frames, video.integer("num_frames", 0, 1, kMostFrames));
  }
  if (out.fps == 0 && out.max_frames == 0) return std::nullopt;
  // A number alone is that of the frames, however far apart they then are.
  if (out.fps == 0) out.fps = media::kEveryFrame;
  return out;
}

struct Processor {
  bool samples = true;  // false: the frames that the loader took are all looked at
  std::optional<media::ClipOptions> choice;
};

Result<Processor> read_processor(const Fields& request) {
  Processor out;
  if (!request.has("mm_processor_kwargs")) return out;
  TRY(const Fields given, request.object("mm_processor_kwargs"));
  TRY_STATUS(check_only(given, {"fps", "num_frames", "do_sample_frames"}, "fps, num_frames and do_sample_frames"));
  TRY(out.samples, given.boolean("do_sample_frames", true));
  media::ClipOptions options;
  TRY(options.fps, given.number("fps", 0, kLeastFps, kMostFps));
  TRY(options.max_frames, given.integer("num_frames", 0, 1, kMostFrames));
  const bool chooses = options.fps > 0 || options.max_frames > 0;
  if (!out.samples && chooses)
    return bad_input("{}: expected true beside fps or num_frames, which choose among the frames",
                     given.place("do_sample_frames"));
  if (chooses || given.has("do_sample_frames")) out.choice = options;
  return out;
}

// The smaller of two of which 0 says nothing.
template <typename T>
T smaller(T a, T b) {
  return a == 0 || b == 0 ? std::max(a, b) : std::min(a, b);
}

}  // namespace

Result<FrameChoice> read_frame_choice(const Fields& request) {
  TRY(const std::optional<media::ClipOptions> loader, read_loader(request));
  TRY(const Processor processor, read_processor(request));
  constexpr media::ClipOptions kAll = {.fps = media::kEveryFrame, .max_frames = media::kHoweverMany};
  FrameChoice out = {.file = loader.value_or(processor.choice.value_or(media::ClipOptions{})),
                     .pictures = processor.samples ? processor.choice.value_or(kAll) : kAll};
  if (loader) {
    if (loader->fps > 0 && loader->fps != media::kEveryFrame) out.picture_fps = loader->fps;
    if (loader->max_frames > 0) out.most_pictures = loader->max_frames;
  }
  if (!processor.samples) {
    out.file = loader.value_or(kAll);
  } else if (loader && processor.choice) {  // the processor chooses of what the loader lets through
    const double loader_fps = loader->fps == media::kEveryFrame ? 0 : loader->fps;
    const int64_t loader_most = loader->max_frames == media::kHoweverMany ? 0 : loader->max_frames;
    out.file = {.fps = smaller(loader_fps, processor.choice->fps),
                .max_frames = smaller(loader_most, processor.choice->max_frames)};
  }
  return out;
}

}  // namespace onsight::server::openai
