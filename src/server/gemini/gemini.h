// Gemini's API: generateContent, its stream, countTokens, models, files.
#pragma once

#include "server/dialect.h"

namespace onsight::server::gemini {

extern const Dialect kDialect;

net::HttpResponse error(const Failure& failure);
Json error_object(const Failure& failure);

// The failure of a method that was asked of a model which is not here.
Outcome check_model(const Call& call, std::string_view method);

Outcome generate_content(Call& call);
Outcome stream_generate_content(Call& call);
Outcome count_tokens(Call& call);

Outcome start_upload(Call& call);
Outcome go_on_with_upload(Call& call);
std::optional<net::HttpResponse> refuse_upload(const Service& service, const net::PathNames& names);
Outcome list_files(Call& call);
Outcome get_file(Call& call);
Outcome delete_file(Call& call);

// ?pageSize and ?pageToken: a part of a list.
struct Page {
  size_t begin = 0, end = 0;
  std::string next;  // token of the page behind it; empty: there is none
};
Result<Page> page_of(const net::HttpRequest& request, size_t count, size_t default_size, size_t max_size);

extern const std::string_view kGenerateSchema, kCountSchema, kUploadSchema;
extern const std::string_view kGenerateAnswer, kCountAnswer, kModelAnswer, kModelsAnswer, kFileAnswer, kFilesAnswer,
    kUploadAnswer, kErrorAnswer;
extern const std::string_view kStreamParameters, kListParameters, kStartParameters, kGoOnParameters, kUploadHeaders;

}  // namespace onsight::server::gemini
