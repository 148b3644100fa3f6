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

Result<Turn> user_turn(std::string text, std::vector<Picture> pictures) {
  std::vector<std::shared_ptr<const media::Image>> images;
  for (const Picture& picture : pictures) images.push_back(picture.image);
  Turn turn;
  TRY(turn.message, engine::user_message(images, text));
  turn.role = "user";
  turn.text = std::move(text);
  turn.pictures = std::move(pictures);
  return turn;
}

// Member `key` of an object as an array.
Result<const Json*> array_of(const JsonView& view, std::string_view key) {
  JsonView member = view.at(key);
  if (!member.json().is_array()) return bad_input("{}: expected an array", member.where());
  return &*view.json().find(key);
}

Result<Turn> read_turn(const Json& json, const std::string& where) {
  JsonView view(json, where);
  TRY(std::string role, view.string("role"));
  TRY(std::string text, view.string("text"));
  if (role != "user" && role != "assistant" && role != "system")
    return bad_input("{}: role: expected system, user or assistant, found '{}'", where, role);
  if (role != "user") return text_turn(std::move(role), std::move(text));
  std::vector<Picture> pictures;
  if (view.has("images")) {
    TRY(const Json* images, array_of(view, "images"));
    for (const Json& image : *images) {
      JsonView item(image, where + ".images");
      TRY(std::string path, item.string("path"));
      TRY(std::string hash, item.string("hash"));
      if (path.empty() || path[0] != '/')
        return bad_input("{}: expected an absolute path, found '{}'", item.where(), path);
      TRY(Picture picture, load_picture(path));
      if (picture.file_hash != hash)
        return bad_input("{}: {} has changed since the conversation was kept", where, path);
      pictures.push_back(std::move(picture));
    }
  }
  return user_turn(std::move(text), std::move(pictures));
}

}  // namespace

Conversation::Conversation(std::optional<std::string> system) {
  if (system) turns_.push_back(text_turn("system", *std::move(system)));
}

void Conversation::reset() {
  bool keep = !turns_.empty() && turns_.front().role == "system";
  turns_.erase(turns_.begin() + (keep ? 1 : 0), turns_.end());
}

Status Conversation::add_user(std::string text, std::vector<Picture> pictures) {
  TRY(Turn turn, user_turn(std::move(text), std::move(pictures)));
  turns_.push_back(std::move(turn));
  return {};
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
    for (const Picture& picture : turn.pictures)
      message["images"].push_back({{"path", picture.path}, {"hash", picture.file_hash}});
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
  turns_ = std::move(turns);
  return {};
}

}  // namespace onsight::cli
