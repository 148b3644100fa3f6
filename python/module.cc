// onsight._engine: the engine as the package's Python sees it. What people call, and what it says, is in
// python/onsight/.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include "engine/runner.h"
#include "engine/weight_choice.h"
#include "media/pixels.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace onsight::python {
namespace {

using engine::Answering;
using engine::Runner;

constexpr uint64_t kMaxPictureBytes = uint64_t{1} << 30;
constexpr auto kBetweenSignals = std::chrono::milliseconds(50);  // Ctrl-C waits so long at most

// A message may quote a path, and those are bytes.
nb::object to_str(std::string_view text) {
  return nb::steal(PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
}

const char* name_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kUsage:
    case ErrorCode::kBadInput:
      return "InputError";
    case ErrorCode::kOutOfMemory:
      return "OutOfMemoryError";
    case ErrorCode::kBusy:
      return "BusyError";
    case ErrorCode::kInterrupted:
    case ErrorCode::kIo:
      return "Error";
  }
  return "Error";
}

[[noreturn]] void raise(const Error& error) {
  // A signal handler may have raised already.
  if (!PyErr_Occurred()) {
    if (error.code == ErrorCode::kInterrupted) {
      PyErr_SetNone(PyExc_KeyboardInterrupt);
    } else {
      const nb::object type = nb::module_::import_("onsight.errors").attr(name_of(error.code));
      PyErr_SetObject(type.ptr(), to_str(error.message).ptr());
    }
  }
  throw nb::python_error();
}

template <class T>
T value_of(Result<T> result) {
  if (!result) raise(result.error());
  return *std::move(result);
}

// Runs without the lock of the interpreter.
template <class Work>
auto unlocked(const Work& work) {
  const nb::gil_scoped_release release;
  return work();
}

std::string_view view(const nb::bytes& bytes) { return {bytes.c_str(), bytes.size()}; }
// Paths are bytes here, as the system has them.
Path path_of(const nb::bytes& bytes) { return Path(std::string(view(bytes))); }

struct Picture {
  std::shared_ptr<const media::Image> pixels;
};
struct Schema {
  std::shared_ptr<const text::JsonSchema> schema;
};

Picture picture_of(media::Image image) { return {std::make_shared<const media::Image>(std::move(image))}; }

Picture open_picture(const nb::bytes& path) {
  return picture_of(value_of(unlocked([&]() -> Result<media::Image> {
    const Path file = path_of(path);
    const auto check = [&](std::string_view first) { return media::check_format(first, file.string()); };
    TRY(const std::string bytes, read_file(file, kMaxPictureBytes, check));
    return media::decode_image(bytes, file.string());
  })));
}

Picture decode_picture(const nb::bytes& bytes, const std::string& where) {
  return picture_of(value_of(unlocked([&] { return media::decode_image(view(bytes), where); })));
}

Picture picture_of_array(const nb::ndarray<nb::ro>& array, const std::string& where) {
  if (array.device_type() != nb::device::cpu::value)
    raise({ErrorCode::kBadInput, fmt::format("{}: expected an array in the machine's own memory", where)});
  if (array.dtype() != nb::dtype<uint8_t>())
    raise({ErrorCode::kBadInput, fmt::format("{}: expected pixels as uint8, found another type of number", where)});
  media::Pixels pixels{.data = static_cast<const uint8_t*>(array.data()), .shape = {}, .strides = {}};
  for (size_t i = 0; i < array.ndim(); ++i) {
    pixels.shape.push_back(static_cast<int64_t>(array.shape(i)));
    pixels.strides.push_back(array.stride(i));  // of bytes: that is what the numbers are
  }
  return picture_of(value_of(unlocked([&] { return media::copy_pixels(pixels, where); })));
}

media::Clip clip_of(Result<std::shared_ptr<const media::Video>> video, double fps, int64_t max_frames, double start,
                    double end) {
  return {value_of(std::move(video)), {.fps = fps, .max_frames = max_frames, .start = start, .end = end}};
}

// Frames that somebody has chosen: each is looked at, as long as they are not too many.
media::Clip clip_of_frames(const std::vector<Picture>& pictures, const std::string& where, double rate,
                           int64_t max_frames, double start, double end) {
  std::vector<std::shared_ptr<const media::Image>> images;
  for (const Picture& picture : pictures) images.push_back(picture.pixels);
  return clip_of(media::Video::of_images(std::move(images), rate, where), media::kEveryFrame,
                 max_frames > 0 ? max_frames : media::kHoweverMany, start, end);
}

Schema compile_schema(const std::string& json, const std::string& where) {
  return {std::make_shared<const text::JsonSchema>(
      value_of(unlocked([&] { return text::JsonSchema::compile(json, where); })))};
}

// [(role, [text, picture or video, ...]), ...]
std::vector<engine::Message> messages_of(const nb::list& turns) {
  std::vector<engine::Message> messages;
  for (const nb::handle turn : turns) {
    engine::Message& message = messages.emplace_back();
    message.role = nb::cast<std::string>(turn[0]);
    for (const nb::handle part : nb::cast<nb::list>(turn[1])) {
      engine::Part& out = message.content.emplace_back();
      if (nb::isinstance<Picture>(part)) {
        out.kind = engine::Part::Kind::kImage;
        out.image = nb::cast<const Picture&>(part).pixels;
      } else if (nb::isinstance<media::Clip>(part)) {
        out.kind = engine::Part::Kind::kVideo;
        out.clip = nb::cast<const media::Clip&>(part);
      } else {
        out.text = nb::cast<std::string>(part);
      }
    }
  }
  return messages;
}

// The parts of a user's message, in which {image} and {video} have become places.
nb::list list_of(const Result<engine::Message>& message) {
  if (!message) raise(message.error());
  nb::list parts;
  for (const engine::Part& part : message->content) {
    if (part.kind == engine::Part::Kind::kImage)
      parts.append(Picture{part.image});
    else if (part.kind == engine::Part::Kind::kVideo)
      parts.append(part.clip);
    else
      parts.append(part.text);
  }
  return parts;
}

nb::list place_pictures(const std::vector<Picture>& pictures, const std::string& prompt) {
  std::vector<std::shared_ptr<const media::Image>> images;
  for (const Picture& picture : pictures) images.push_back(picture.pixels);
  return list_of(engine::user_message(images, prompt));
}

nb::list place_videos(const std::vector<media::Clip>& clips, const std::string& prompt) {
  return list_of(engine::video_message(clips, prompt));
}

std::unique_ptr<Runner> load(const nb::bytes& path, int text, int vision, size_t kv, int threads,
                             const nb::object& cache, int cache_megabytes) {
  engine::EngineOptions options;
  options.kv = engine::kKvFormats.at(kv).type;
  options.threads = threads;
  options.text = static_cast<engine::Quantisation>(text);
  options.vision = static_cast<engine::Quantisation>(vision);
  if (!cache.is_none()) options.cache = path_of(nb::cast<nb::bytes>(cache));
  options.cache_bytes = int64_t{cache_megabytes} << 20;
  return value_of(unlocked([&] { return Runner::load(path_of(path), options); }));
}

std::unique_ptr<Answering> submit(Runner& runner, const nb::list& messages, int max_tokens, float temperature,
                                  int top_k, float top_p, float min_p, float repetition_penalty, uint64_t seed,
                                  const std::vector<std::string>& stop, int max_tiles, bool upscale, bool draft,
                                  const Schema* schema) {
  engine::Request request;
  request.messages = messages_of(messages);
  request.sampling = {temperature, top_k, top_p, min_p, repetition_penalty, seed};
  request.picture = {.max_tiles = max_tiles, .allow_upscale = upscale};
  request.draft = draft;
  request.max_tokens = max_tokens;
  request.stop = stop;
  if (schema) request.schema = schema->schema;
  const auto go_on = [] {
    const nb::gil_scoped_acquire acquire;
    return PyErr_Occurred() == nullptr && PyErr_CheckSignals() == 0;
  };
  return value_of(unlocked([&] { return runner.submit(std::move(request), go_on); }));
}

nb::tuple take(Answering& answering, bool wait) {
  for (;;) {
    std::string text;
    const auto state =
        unlocked([&] { return answering.take(wait ? kBetweenSignals : std::chrono::milliseconds(0), text); });
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
    if (wait && state == Answering::State::kWaiting) continue;
    return nb::make_tuple(to_str(text), state == Answering::State::kDone);
  }
}

nb::dict reply_of(const Answering& answering) {
  const engine::Reply reply = value_of(answering.reply());
  const engine::Timings& ms = reply.timings_ms;
  nb::dict timings;
  timings["preprocess"] = ms.preprocess;
  timings["vision"] = ms.vision;
  timings["prefill"] = ms.prefill;
  timings["decode"] = ms.decode;
  timings["first_token"] = ms.first_token;
  nb::dict out;
  out["text"] = to_str(reply.text);
  out["prompt_tokens"] = reply.prompt_tokens;
  out["cached_tokens"] = reply.reused_tokens;
  out["cached_tiles"] = reply.cached_tiles;
  out["completion_tokens"] = reply.completion_tokens;
  out["drafted_tokens"] = reply.drafted_tokens;
  out["accepted_tokens"] = reply.accepted_tokens;
  out["finish_reason"] = to_str(engine::to_string(reply.finish_reason));
  out["timings_ms"] = timings;
  out["peak_memory_bytes"] = engine::peak_memory_bytes();
  return out;
}

nb::dict info_of(const Runner& runner) {
  const engine::ModelInfo& info = runner.info();
  nb::dict out;
  out["name"] = to_str(info.name);
  out["architecture"] = to_str(info.architecture);
  out["parameters"] = info.parameters;
  out["weight_types"] = to_str(info.weight_types);
  out["quant"] = to_str(info.text_quantisation);
  out["vision_quant"] = to_str(info.vision_quantisation);
  out["memory_bytes"] = info.memory_bytes;
  out["tile_size"] = info.tile_size;
  out["tokens_per_tile"] = info.tokens_per_tile;
  out["context_length"] = info.context_length;
  out["vocabulary_size"] = info.vocabulary_size;
  return out;
}

}  // namespace

NB_MODULE(_engine, m) {
  nb::set_leak_warnings(false);  // a model may live in a global to the end

  nb::class_<Picture>(m, "Picture")
      .def_static("open", open_picture, "path"_a)
      .def_static("decode", decode_picture, "data"_a, "where"_a)
      .def_static("of_array", picture_of_array, "array"_a, "where"_a)
      .def_prop_ro("width", [](const Picture& self) { return self.pixels->width; })
      .def_prop_ro("height", [](const Picture& self) { return self.pixels->height; });

  nb::class_<media::Clip>(m, "Clip")
      .def_static(
          "open",
          [](const nb::bytes& path, double fps, int64_t max_frames, double start, double end) {
            return clip_of(unlocked([&] { return media::Video::open(path_of(path)); }), fps, max_frames, start, end);
          },
          "path"_a, "fps"_a, "max_frames"_a, "start"_a, "end"_a)
      .def_static(
          "decode",
          [](const nb::bytes& data, const std::string& where, double fps, int64_t max_frames, double start,
             double end) {
            return clip_of(unlocked([&] { return media::Video::open(std::string(view(data)), where); }), fps,
                           max_frames, start, end);
          },
          "data"_a, "where"_a, "fps"_a, "max_frames"_a, "start"_a, "end"_a)
      .def_static("of_frames", clip_of_frames, "pictures"_a, "where"_a, "rate"_a, "max_frames"_a, "start"_a, "end"_a);

  nb::class_<Schema>(m, "Schema").def_static("compile", compile_schema, "json"_a, "where"_a);

  nb::class_<Answering>(m, "Answering")
      .def("take", take, "wait"_a)
      .def("reply", reply_of)
      .def("cancel", &Answering::cancel)
      .def("fileno", [](Answering& self) { return value_of(self.descriptor()); });

  nb::class_<Runner>(m, "Runner")
      .def_static("load", load, "path"_a, "text"_a, "vision"_a, "kv"_a, "threads"_a, "cache"_a.none(),
                  "cache_megabytes"_a)
      .def("submit", submit, "messages"_a, nb::kw_only(), "max_tokens"_a, "temperature"_a, "top_k"_a, "top_p"_a,
           "min_p"_a, "repetition_penalty"_a, "seed"_a, "stop"_a, "max_tiles"_a, "upscale"_a, "draft"_a,
           "schema"_a.none())
      .def("info", info_of)
      .def("close", [](Runner& self) { unlocked([&] { self.close(); }); });

  m.def("place_pictures", place_pictures, "pictures"_a, "prompt"_a);
  m.def("place_videos", place_videos, "clips"_a, "prompt"_a);
}

}  // namespace onsight::python
