// The body of a chat completion, read and checked. The room's own.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "server/service.h"

namespace onsight::server::openai {

struct ChatRequest {
  engine::Request request;  // of the first choice
  int choices = 1;
  bool stream = false, include_usage = false;
};

Result<ChatRequest> read_chat(const Service& service, const Json& body);

// What both APIs of OpenAI share.
// Refuses a name that is neither handled nor known to change nothing.
Status check_names(const Json& body, std::span<const std::string_view> handled,
                   std::span<const std::string_view> harmless, std::span<const std::string_view> refused);
// How closely a request wants its pictures read.
struct Closeness {
  bool pictures = false, all_low = true;
  // "detail" of one picture.
  Status take(const Fields& picture);
  // Every picture in one tile, if that is enough for all.
  void apply(engine::Request& request) const;
};
// The content of a message, a text or parts, into the request's last message.
using ReadPart = std::function<Result<engine::Part>(const Service& service, const Fields& part, Closeness& closeness)>;
Status read_content(const Service& service, const Fields& message, const ReadPart& read_part, Closeness& closeness,
                    engine::Request& request);
Result<engine::Part> read_image(const Service& service, const std::string& url, std::string_view where);
Result<std::string> read_role(const Fields& message);
// {"type": "json_schema", ...}, where `schema_fields` has name and schema; or text; or json_object.
Status read_form(const Fields& format, const Fields& schema_fields, engine::Request& request);
Status read_sampling(const Fields& fields, engine::Sampling& sampling);

}  // namespace onsight::server::openai
