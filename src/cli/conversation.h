// The messages of a chat, and the file that keeps them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/request_options.h"

namespace onsight::cli {

// A video of a conversation. Whole files are not read for a checksum: their size is what is kept.
struct Film {
  media::Clip clip;
  std::string path;  // absolute
  int64_t bytes = 0;
  static Result<Film> open(const std::string& path, const media::ClipOptions& options);
};

// What is shown with a message.
struct Shown {
  std::vector<Picture> pictures;
  std::vector<Film> films;
  bool empty() const { return pictures.empty() && films.empty(); }
};

struct Turn {
  std::string role;  // "system", "user" or "assistant"
  std::string text;  // as typed, with its {image} or {video} if it has any
  Shown shown;
  engine::Message message;  // what the engine gets for it
};

class Conversation {
 public:
  explicit Conversation(std::optional<std::string> system);

  // Forgets all but the system text.
  void reset();
  // Fails, and changes nothing, if the {image} or {video} in `text` do not match what is shown, or if the conversation
  // would show both kinds.
  Status add_user(std::string text, Shown shown);
  void add_assistant(std::string text);
  Turn take_last();
  std::vector<engine::Message> messages() const;
  size_t size() const { return turns_.size(); }

  // JSON; a picture is kept as its absolute path and a hash of the file, a video as its path, size and options.
  Status save(const Path& file) const;
  // Replaces the conversation, or changes nothing if the file or one of its pictures or videos is missing, broken or
  // changed.
  Status load(const Path& file);

 private:
  std::vector<Turn> turns_;
};

}  // namespace onsight::cli
