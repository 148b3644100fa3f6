#include "engine/engine.h"

namespace onsight::engine {
namespace {

// A text in which `place` stands for each of `parts`, or, where it stands nowhere, comes after them all.
Result<Message> message_of(std::vector<Part> parts, std::string_view place, std::string_view kind,
                           std::string_view prompt) {
  std::vector<size_t> places;
  if (!parts.empty())
    for (size_t at = prompt.find(place); at != std::string_view::npos; at = prompt.find(place, at + place.size()))
      places.push_back(at);
  if (!places.empty() && places.size() != parts.size())
    return make_error(ErrorCode::kUsage, "prompt: {} times {}, expected once for each of the {} {} or not at all",
                      places.size(), place, parts.size(), kind);
  Message message;
  size_t at = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (!places.empty()) {
      if (places[i] > at) message.content.push_back({.text = std::string(prompt.substr(at, places[i] - at))});
      at = places[i] + place.size();
    }
    message.content.push_back(std::move(parts[i]));
  }
  if (at < prompt.size()) message.content.push_back({.text = std::string(prompt.substr(at))});
  return message;
}

}  // namespace

Result<Message> user_message(const std::vector<std::shared_ptr<const media::Image>>& images, std::string_view prompt) {
  std::vector<Part> parts;
  for (const auto& image : images) parts.push_back({.kind = Part::Kind::kImage, .image = image});
  return message_of(std::move(parts), "{image}", "pictures", prompt);
}

Result<Message> video_message(const std::vector<media::Clip>& clips, std::string_view prompt) {
  std::vector<Part> parts;
  for (const media::Clip& clip : clips) parts.push_back({.kind = Part::Kind::kVideo, .clip = clip});
  return message_of(std::move(parts), "{video}", "videos", prompt);
}

}  // namespace onsight::engine
