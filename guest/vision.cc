#include "vision.h"

#include <cstdint>

#include "outside_json.h"
#include "repository.h"

namespace onsight::guest {
namespace {

constexpr size_t kMostPicture = size_t{24} << 20;  // the server takes requests of 64 MB
constexpr std::string_view kModels = "http://vision/v1/models", kQuestion = "http://vision/v1/chat/completions";

Result<Json> json_of(const Answer& answer) {
  if (answer.status >= 300) return refused(answer);
  return parse_outside(answer.body, "the vision model");
}

// Of a list of objects in an object; nothing where there is none.
Json first_of(const Json& object, std::string_view list) {
  const auto found = object.is_object() ? object.find(list) : object.end();
  if (found == object.end() || !found->is_array() || found->empty()) return {};
  return (*found)[0];
}

}  // namespace

std::string to_base64(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t at = 0; at < bytes.size(); at += 3) {
    uint32_t three = 0;
    for (size_t i = 0; i < 3; ++i)
      three = three << 8 | (at + i < bytes.size() ? static_cast<unsigned char>(bytes[at + i]) : 0);
    for (size_t i = 0; i < 4; ++i) out += at + i > bytes.size() ? '=' : kDigits[three >> (18 - 6 * i) & 63];
  }
  return out;
}

Result<std::string> ask_vision(const Broker& broker, const std::string& picture, const std::string& question,
                               Clock::time_point deadline) {
  const auto bytes = read_plain(picture, kMostPicture);
  if (!bytes || bytes->empty())
    return bad_input("{}: expected a picture of at most {} MB", printable(picture, false), kMostPicture >> 20);
  TRY(const Answer listed, broker.insist("GET", kModels, "", deadline, "look"));
  TRY(const Json models, json_of(listed));
  // What kind of picture it is the server sees by itself.
  const Json image = {{"type", "image_url"}, {"image_url", {{"url", "data:image/png;base64," + to_base64(*bytes)}}}};
  const Json body = {
      {"model", string_of(first_of(models, "data"), "id")},
      {"messages",
       Json::array({{{"role", "user"}, {"content", Json::array({image, {{"type", "text"}, {"text", question}}})}}})}};
  TRY(const Answer answer, broker.insist("POST", kQuestion, to_text(body), deadline, "look"));
  TRY(const Json said, json_of(answer));
  const Json choice = first_of(said, "choices");
  if (!choice.is_object() || !choice.contains("message"))
    return bad_input("the vision model: expected an answer with choices");
  return string_of(choice["message"], "content");
}

}  // namespace onsight::guest
