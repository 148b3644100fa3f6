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

// The deadline: of what the body names by http(s) URLs.
Result<ChatRequest> read_chat(const Service& service, const Json& body, const net::FetchDeadline& deadline);

// What both APIs of OpenAI share.
// How closely a request wants its pictures read.
struct Closeness {
  bool pictures = false, all_low = true;
  // "detail" of one picture.
  Status take(const Fields& picture);
  // Every picture in one tile, if that is enough for all.
  void apply(engine::Request& request) const;
};
// The content of a message, a text or parts, into the request's last message.
using ReadPart = std::function<Result<engine::Part>(const Fields& part, Closeness& closeness)>;
Status read_content(const Service& service, const Fields& message, const ReadPart& read_part, Closeness& closeness,
                    engine::Request& request);
Result<engine::Part> read_image(const Service& service, const std::string& url, std::string_view where,
                                const net::FetchDeadline& deadline);
Result<std::string> read_role(const Fields& message);
// {"type": "json_schema", ...}, whose name and schema are in the object of that name, or beside the type; or text; or
// json_object.
enum class SchemaPlace { kInside, kBeside };
Status read_form(const Fields& format, SchemaPlace place, engine::Request& request);
Status read_sampling(const Fields& fields, engine::Sampling& sampling);

}  // namespace onsight::server::openai
