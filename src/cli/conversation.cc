#include "cli/conversation.h"

#include <nlohmann/json.hpp>

#include "base/json.h"

namespace onsight::cli {
namespace {

constexpr int kVersion = 1;

Turn text_turn(std::string role, std::string text) {
  Turn turn;
  turn.message.role = role;
  turn.message.content.push_back({.kind = engine::Part::Kind::kText, .text = text, .image = nullptr});
  turn.role = std::move(role);
  turn.text = std::move(text);
  return turn;
}

Result<Turn> user_turn(std::string text, Shown shown) {
  Turn turn;
  if (shown.films.empty()) {
    std::vector<std::shared_ptr<const media::Image>> images;
    for (const Picture& picture : shown.pictures) images.push_back(picture.image);
    TRY(turn.message, engine::user_message(images, text));
  } else {
    std::vector<media::Clip> clips;
    for (const Film& film : shown.films) clips.push_back(film.clip);
    TRY(turn.message, engine::video_message(clips, text));
  }
  turn.role = "user";
  turn.text = std::move(text);
  turn.shown = std::move(shown);
  return turn;
}

Status expect_one_kind(const std::vector<Turn>& turns) {
  bool pictures = false, films = false;
  for (const Turn& turn : turns) {
    pictures = pictures || !turn.shown.pictures.empty();
    films = films || !turn.shown.films.empty();
  }
  if (!pictures || !films) return {};
  return bad_input("a conversation shows pictures or videos, not both (/reset begins a new one)");
}

// Member `key` of an object as an array.
Result<const Json*> array_of(const JsonView& view, std::string_view key) {
  JsonView member = view.at(key);
  if (!member.json().is_array()) return bad_input("{}: expected an array", member.where());
  return &*view.json().find(key);
}

Result<std::string> absolute_path(const JsonView& item) {
  TRY(std::string path, item.string("path"));
  if (path.empty() || path[0] != '/') return bad_input("{}: expected an absolute path, found '{}'", item.where(), path);
  return path;
}

Result<Turn> read_turn(const Json& json, const std::string& where) {
  JsonView view(json, where);
  TRY(std::string role, view.string("role"));
  TRY(std::string text, view.string("text"));
  if (role != "user" && role != "assistant" && role != "system")
    return bad_input("{}: role: expected system, user or assistant, found '{}'", where, role);
  if (role != "user") return text_turn(std::move(role), std::move(text));
  Shown shown;
  if (view.has("images")) {
    TRY(const Json* images, array_of(view, "images"));
    for (const Json& image : *images) {
      const JsonView item(image, where + ".images");
      TRY(const std::string path, absolute_path(item));
      TRY(const std::string hash, item.string("hash"));
      TRY(Picture picture, load_picture(path));
      if (picture.file_hash != hash)
        return bad_input("{}: {} has changed since the conversation was kept", where, path);
      shown.pictures.push_back(std::move(picture));
    }
  }
  if (view.has("videos")) {
    TRY(const Json* videos, array_of(view, "videos"));
    for (const Json& video : *videos) {
      const JsonView item(video, where + ".videos");
      TRY(const std::string path, absolute_path(item));
      TRY(const int64_t bytes, item.integer("bytes", 0, INT64_MAX));
      media::ClipOptions options;
      TRY(options.fps, item.number_or("fps", 0));
      TRY(options.max_frames, item.integer_or("max_frames", 0, 0, 100'000));
      TRY(options.start, item.number_or("start", 0));
      TRY(options.end, item.number_or("end", 0));
      TRY(Film film, Film::open(path, options));
      if (film.bytes != bytes) return bad_input("{}: {} has changed since the conversation was kept", where, path);
      shown.films.push_back(std::move(film));
    }
  }
  return user_turn(std::move(text), std::move(shown));
}

}  // namespace

Result<Film> Film::open(const std::string& path, const media::ClipOptions& options) {
  Film film;
  TRY(film.clip, load_clip(path, options));
  // Later messages are asked about the same frames.
  film.clip.kept = std::make_shared<media::KeptFrames>();
  std::error_code error;
  film.path = std::filesystem::absolute(path, error).lexically_normal().string();
  film.bytes = static_cast<int64_t>(std::filesystem::file_size(path, error));
  return film;
}

Conversation::Conversation(std::optional<std::string> system) {
  if (system) turns_.push_back(text_turn("system", *std::move(system)));
}

void Conversation::reset() {
  bool keep = !turns_.empty() && turns_.front().role == "system";
  turns_.erase(turns_.begin() + (keep ? 1 : 0), turns_.end());
}

Status Conversation::add_user(std::string text, Shown shown) {
  TRY(Turn turn, user_turn(std::move(text), std::move(shown)));
  turns_.push_back(std::move(turn));
  Status one_kind = expect_one_kind(turns_);
  if (!one_kind) turns_.pop_back();
  return one_kind;
}

void Conversation::add_assistant(std::string text) { turns_.push_back(text_turn("assistant", std::move(text))); }

Turn Conversation::take_last() {
  Turn turn = std::move(turns_.back());
  turns_.pop_back();
  return turn;
}

std::vector<engine::Message> Conversation::messages() const {
  std::vector<engine::Message> out;
  for (const Turn& turn : turns_) out.push_back(turn.message);
  return out;
}

Status Conversation::save(const Path& file) const {
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  for (const Turn& turn : turns_) {
    nlohmann::ordered_json message = {{"role", turn.role}, {"text", turn.text}};
    for (const Picture& picture : turn.shown.pictures)
      message["images"].push_back({{"path", picture.path}, {"hash", picture.file_hash}});
    for (const Film& film : turn.shown.films) {
      const media::ClipOptions& options = film.clip.options;
      message["videos"].push_back({{"path", film.path},
                                   {"bytes", film.bytes},
                                   {"fps", options.fps},
                                   {"max_frames", options.max_frames},
                                   {"start", options.start},
                                   {"end", options.end}});
    }
    messages.push_back(std::move(message));
  }
  nlohmann::ordered_json document = {{"onsight_chat", kVersion}, {"messages", std::move(messages)}};
  return write_file_atomically(file,
                               document.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

Status Conversation::load(const Path& file) {
  TRY(Json document, load_json(file));
  JsonView view(document, file.string());
  if (!view.has("onsight_chat")) return bad_input("{}: expected a conversation kept by /save", file.string());
  TRY_STATUS(view.integer("onsight_chat", kVersion, kVersion));
  TRY(const Json* messages, array_of(view, "messages"));
  std::vector<Turn> turns;
  for (size_t i = 0; i < messages->size(); ++i) {
    TRY(Turn turn, read_turn((*messages)[i], fmt::format("{}: messages[{}]", file.string(), i)));
    turns.push_back(std::move(turn));
  }
  TRY_STATUS(expect_one_kind(turns));
  turns_ = std::move(turns);
  return {};
}

}  // namespace onsight::cli
