// The options that ask, chat and trace share, and what becomes of them: a checked engine::Request.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/sha256.h"
#include "cli/options.h"
#include "engine/engine.h"

namespace onsight::cli {

constexpr const char* kDefaultPrompt = "Describe this image.";
constexpr const char* kDefaultVideoPrompt = "Describe this video.";
constexpr std::string_view kPlaceOfPicture = "{image}", kPlaceOfVideo = "{video}";

// A prompt that says nothing but where pictures go asks nothing: `otherwise` comes behind them then.
std::string question_of(std::string prompt, std::string_view place, std::string_view otherwise);

struct RequestOptions {
  std::optional<std::string> model, system, prompt;
  std::vector<std::string> images, videos;
  media::ClipOptions clip;                         // of every video
  int quantisation = 0, vision_quantisation = -1;  // places in engine::Quantisation; −1: as the text model
  int kv = 0;                                      // of engine::kKvFormats
  int threads = 0;
  std::optional<std::string> cache;
  std::optional<std::string> json_schema;
  int cache_megabytes = 1024;
  engine::EngineOptions engine_options() const;
  engine::Request request;  // all but the messages

  void declare_model(Options& options);
  void declare_inputs(Options& options, std::string image_help);
  void declare_videos(Options& options);
  void declare_prompt(Options& options);
  void declare_answer(Options& options);   // sampling, length, stops
  void declare_form(Options& options);     // the schema of the answer
  void declare_cost(Options& options);     // tiles, threads
  void declare_savings(Options& options);  // what makes an answer come sooner and does not change it

  void declare_machine(Options& options);  // what of these holds for a model and not for a request

  // Mistakes that can be told without opening anything; check() also asks for a question or a picture.
  Status check();
  Status check_values() const;
  // --fps and the like become `clip`; check() does it, too.
  Status check_clip();
  // Reads the schema that --json-schema names into `request`.
  Status load_schema();
  // Of all options that an answer depends on, beside its model, picture and prompt: another where one is another.
  Digest answer_digest() const;

 private:
  std::string schema_text_;
  std::optional<std::string> start_, end_;
  int max_frames_ = 0;

  void declare_formats(Options& options);
  void declare_cache(Options& options);
};

struct Picture {
  std::shared_ptr<const media::Image> image;
  std::string path;       // "-": standard input
  std::string file_hash;  // of the undecoded bytes
};

// Reads and decodes one picture; "-" is standard input.
Result<Picture> load_picture(const std::string& path);

// Opens a video; "-" is standard input.
Result<media::Clip> load_clip(const std::string& path, const media::ClipOptions& options);

// The messages of one question: system text, pictures, prompt. Reads the files and, where "-" asks for it, standard
// input.
Result<std::vector<engine::Message>> make_messages(const RequestOptions& options);

engine::Message system_message(const std::string& text);

}  // namespace onsight::cli
