// Ollama's API: chat, generate, and what its clients ask of a model.
#pragma once

#include "server/dialect.h"

namespace onsight::server::ollama {

extern const Dialect kDialect;

net::HttpResponse error(const Failure& failure);

// Its names end in ":latest" where they name no tag.
bool serves(const Service& service, std::string_view model);
Failure unknown_model(std::string_view model);
std::string time_text(int64_t seconds);  // "2026-01-31T12:00:00Z"

Outcome chat(Call& call);
Outcome generate(Call& call);

extern const std::string_view kChatSchema, kGenerateSchema, kShowSchema;
extern const std::string_view kChatAnswer, kGenerateAnswer, kTagsAnswer, kShowAnswer;

}  // namespace onsight::server::ollama
