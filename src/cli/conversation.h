// The messages of a chat, and the file that keeps them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/request_options.h"

namespace onsight::cli {

struct Turn {
  std::string role;  // "system", "user" or "assistant"
  std::string text;  // as typed, with its {image} if it has any
  std::vector<Picture> pictures;
  engine::Message message;  // what the engine gets for it
};

class Conversation {
 public:
  explicit Conversation(std::optional<std::string> system);

  // Forgets all but the system text.
  void reset();
  // Fails, and changes nothing, if the {image} in `text` do not match the pictures.
  Status add_user(std::string text, std::vector<Picture> pictures);
  void add_assistant(std::string text);
  Turn take_last();
  std::vector<engine::Message> messages() const;
  size_t size() const { return turns_.size(); }

  // JSON; a picture is kept as its absolute path and a hash of the file.
  Status save(const Path& file) const;
  // Replaces the conversation, or changes nothing if the file or one of its pictures is missing, broken or changed.
  Status load(const Path& file);

 private:
  std::vector<Turn> turns_;
};

}  // namespace onsight::cli
