// The body of generateContent, read and checked. The room's own.
#pragma once

#include "server/service.h"

namespace onsight::server::gemini {

struct GenerateRequest {
  engine::Request request;  // of the first candidate
  int candidates = 1;
  bool plain_enum = false;  // the schema's value is a string, and the answer is what it says
};

// `body` has its names in camelCase.
tl::expected<GenerateRequest, Failure> read_generate(const Service& service, const Json& body,
                                                     const std::string& place);

}  // namespace onsight::server::gemini
