// Answers: what the page's requests come to. Errors are {"error": {"message": …}} with the status of their kind.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "net/http.h"

namespace onsight::agents::page {

// Bytes of agents may be no UTF-8: what is none becomes U+FFFD.
std::string text_of(const Json& json);
net::HttpResponse json_answer(const Json& json, int status = 200);
net::HttpResponse error_answer(const Error& error);
// Of a request that goes no further: JSON below /api/, a sentence elsewhere.
net::HttpResponse refusal(const net::HttpRequest& head, int status, const std::string& message);
// An error whose status is 404, 413, 415…
tl::unexpected<Error> with_status(std::string_view reason, std::string message);
constexpr std::string_view kNotFound = "not_found", kNotJson = "not_json";

// The object of a request's body, with these fields and no others; an empty body is an empty object.
Result<Json> body_of(const net::HttpRequest& request, std::initializer_list<std::string_view> fields);
// A whole number of the query; `otherwise` where there is none.
Result<int64_t> number_of(const net::HttpRequest& request, std::string_view name, int64_t otherwise, int64_t most);

}  // namespace onsight::agents::page
