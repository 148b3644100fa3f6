#include "engine/engine.h"

namespace onsight::engine {

Result<Message> user_message(const std::vector<std::shared_ptr<const media::Image>>& images, std::string_view prompt) {
  constexpr std::string_view kPlace = "{image}";
  std::vector<size_t> places;
  if (!images.empty())
    for (size_t at = prompt.find(kPlace); at != std::string_view::npos; at = prompt.find(kPlace, at + kPlace.size()))
      places.push_back(at);
  if (!places.empty() && places.size() != images.size())
    return make_error(ErrorCode::kUsage,
                      "prompt: {} times {{image}}, expected once for each of the {} pictures or not at all",
                      places.size(), images.size());
  Message message;
  const auto add_text = [&](std::string_view text) {
    if (!text.empty()) message.content.push_back({Part::Kind::kText, std::string(text), nullptr});
  };
  if (places.empty()) {
    for (const auto& image : images) message.content.push_back({Part::Kind::kImage, {}, image});
    add_text(prompt);
    return message;
  }
  size_t at = 0;
  for (size_t i = 0; i < places.size(); ++i) {
    add_text(prompt.substr(at, places[i] - at));
    message.content.push_back({Part::Kind::kImage, {}, images[i]});
    at = places[i] + kPlace.size();
  }
  add_text(prompt.substr(at));
  return message;
}

}  // namespace onsight::engine
