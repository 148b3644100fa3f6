// OpenAI's API: chat completions, responses, models.
#pragma once

#include "server/dialect.h"

namespace onsight::server::openai {

extern const Dialect kDialect;

net::HttpResponse error(const Failure& failure);
Json error_object(const Failure& failure);
Failure unknown_model(std::string_view model);
// What the engine blames in its own words is a field of `body`.
Failure in_words_of_body(Failure failure, std::string_view messages, std::string_view schema);

// Reads the body and has it answered, on a thread that may wait if that takes a fetch.
Outcome with_body(Call& call, Outcome (*answer)(Call& call, const Json& body));

Outcome chat_completions(Call& call);
Outcome estimate(Call& call);
Outcome responses(Call& call);

extern const std::string_view kChatSchema, kResponsesSchema;
extern const std::string_view kChatAnswer, kResponsesAnswer, kEstimateAnswer, kModelAnswer, kModelsAnswer, kErrorAnswer;

}  // namespace onsight::server::openai
