// The files API: uploads in one piece or in several, and what was uploaded.
#include <algorithm>
#include <charconv>
#include <ctime>

#include "server/file_store.h"
#include "server/gemini/gemini.h"
#include "server/gemini/names.h"
#include "server/gemini/upload_body.h"

namespace onsight::server::gemini {
namespace {

constexpr size_t kMaxDisplayName = 512, kMaxType = 128;
constexpr std::string_view kPathOfFiles = "/v1beta/files/";

tl::expected<FileStore*, Failure> store_of(const Call& call) {
  if (FileStore* store = call.service.options().files.get()) return store;
  return fails(501, "the files: this server keeps none");
}

// As the client names it; a proxy that speaks TLS says so.
std::string origin_of(const net::HttpRequest& request) {
  const std::string_view host = request.headers.get("Host");
  const bool tls = net::equal_ignoring_case(request.headers.get("X-Forwarded-Proto"), "https");
  return fmt::format("{}://{}", tls ? "https" : "http", host.empty() ? "localhost" : host);
}

std::string timestamp(FileStore::Time time) {
  const auto since = std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch()).count();
  const auto seconds = static_cast<std::time_t>(since / 1'000'000);
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
                     utc.tm_hour, utc.tm_min, utc.tm_sec, since % 1'000'000);
}

Json file_object(const Call& call, const FileStore::File& file) {
  Json out = {{"name", "files/" + file.name}};
  if (!file.display_name.empty()) out["displayName"] = file.display_name;
  out["mimeType"] = file.mime_type;
  out["sizeBytes"] = std::to_string(file.size);
  out["createTime"] = out["updateTime"] = timestamp(file.created);
  out["expirationTime"] = timestamp(file.expires);
  out["sha256Hash"] = file.sha256;
  out["uri"] = origin_of(call.request) + std::string(kPathOfFiles) + file.name;
  out["state"] = "ACTIVE";
  out["source"] = "UPLOADED";
  return out;
}

net::HttpResponse upload_response(std::string_view status, const Json& body = Json::object()) {
  net::HttpResponse response = json_response(body);
  response.headers.add("X-Goog-Upload-Status", std::string(status));
  // For pages of other sites that may use the server.
  response.headers.add("Access-Control-Expose-Headers",
                       "X-Goog-Upload-URL, X-Goog-Upload-Status, X-Goog-Upload-Size-Received");
  return response;
}

net::HttpResponse progress_response(const Call& call, const FileStore::Progress& progress) {
  auto response = progress.file ? upload_response("final", {{"file", file_object(call, *progress.file)}})
                                : upload_response("active");
  response.headers.add("X-Goog-Upload-Size-Received", std::to_string(progress.received));
  return response;
}

Result<int64_t> header_number(const net::HttpRequest& request, std::string_view name, int64_t otherwise) {
  const std::string_view text = request.headers.get(name);
  if (text.empty()) return otherwise;
  int64_t number = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failed != std::errc() || end != text.data() + text.size() || number < 0)
    return bad_input("{}: expected a number of bytes, found '{}'", name, text);
  return number;
}

Result<FileStore::NewFile> read_metadata(std::string_view text) {
  FileStore::NewFile out;
  if (text.empty()) return out;
  std::string json(text);
  // The original takes JSON with single quotes, and its documentation has examples that send it.
  if (json.find('"') == std::string::npos) std::replace(json.begin(), json.end(), '\'', '"');
  TRY(Json body, parse_body(json));
  TRY_STATUS(use_camel_case(body));
  const Fields fields(body, "");
  TRY_STATUS(check_names(fields, {"file"}, {}, {}));
  if (!fields.has("file")) return out;
  TRY(const Fields file, fields.object("file"));
  TRY_STATUS(check_names(
      file, {"name", "displayName", "mimeType"},
      {"sizeBytes", "createTime", "updateTime", "expirationTime", "sha256Hash", "uri", "state", "source", "error"},
      {"videoMetadata", "downloadUri"}));
  TRY(out.name, file.string_or("name", ""));
  if (!out.name.empty()) {
    // A name that is not of this form is one that the store refuses.
    if (out.name.starts_with("files/")) out.name.erase(0, 6);
    if (!is_file_name(out.name))
      return bad_input("{}: expected files/ and at most 40 of a-z, 0-9 and -, which is neither first nor last",
                       file.place("name"));
  }
  TRY(out.display_name, file.string_or("displayName", ""));
  if (out.display_name.size() > kMaxDisplayName)
    return bad_input("{}: expected at most {} bytes", file.place("displayName"), kMaxDisplayName);
  TRY(out.mime_type, file.string_or("mimeType", ""));
  return out;
}

Status check_type(FileStore::NewFile& file, std::string_view otherwise) {
  if (file.mime_type.empty()) file.mime_type = otherwise;
  if (file.mime_type.empty()) file.mime_type = "application/octet-stream";
  const bool plain =
      std::all_of(file.mime_type.begin(), file.mime_type.end(), [](char c) { return c > ' ' && c < 127; });
  if (plain && file.mime_type.size() <= kMaxType && file.mime_type.find('/') != std::string::npos) return {};
  return bad_input("mimeType: expected a type as image/png, found '{}'", file.mime_type.substr(0, kMaxType));
}

// A file that comes in one request.
Outcome take_whole(Call& call, FileStore& store, FileStore::NewFile file, std::string_view bytes) {
  file.size = static_cast<int64_t>(bytes.size());
  const auto id = store.begin(std::move(file));
  if (!id) return tl::unexpected<Failure>(id.error());
  const auto progress = store.append(*id, 0, bytes, true);
  if (!progress) return tl::unexpected<Failure>(progress.error());
  call.exchange->respond(progress_response(call, *progress));
  return {};
}

Outcome begin_resumable(Call& call, FileStore& store) {
  const net::HttpRequest& request = call.request;
  const std::string_view command = request.headers.get("X-Goog-Upload-Command");
  if (command != "start")
    return fails(400, fmt::format("X-Goog-Upload-Command: expected start here, and others at the upload's own URL, "
                                  "found '{}'",
                                  command));
  TRY(FileStore::NewFile file, read_metadata(request.body));
  TRY(file.size, header_number(request, "X-Goog-Upload-Header-Content-Length", -1));
  TRY_STATUS(check_type(file, request.headers.get("X-Goog-Upload-Header-Content-Type")));
  const auto id = store.begin(std::move(file));
  if (!id) return tl::unexpected<Failure>(id.error());
  net::HttpResponse response = upload_response("active");
  const std::string url = origin_of(request) + "/upload/v1beta/files/" + *id;
  response.headers.add("X-Goog-Upload-URL", url);
  response.headers.add("X-Goog-Upload-Control-URL", url);
  response.headers.add("X-Goog-Upload-Chunk-Granularity", "1");
  call.exchange->respond(response);
  return {};
}

// Says with the failure whether the upload may go on: clients look at that first.
net::HttpResponse failed_response(const Failure& failure, const std::optional<FileStore::Progress>& now) {
  net::HttpResponse response = error(failure);
  response.headers.add("X-Goog-Upload-Status", !now ? "cancelled" : now->file ? "final" : "active");
  if (now) response.headers.add("X-Goog-Upload-Size-Received", std::to_string(now->received));
  return response;
}

void respond_failed(Call& call, FileStore& store, const std::string& id, const Failure& failure) {
  call.exchange->respond(failed_response(failure, store.progress(id)));
}

Failure no_upload() { return {404, "the upload: expected one that was begun less than an hour ago and not cancelled"}; }

}  // namespace

Outcome start_upload(Call& call) {
  const auto store = store_of(call);
  if (!store) return tl::unexpected<Failure>(store.error());
  const net::HttpRequest& request = call.request;
  const std::string_view protocol = request.headers.get("X-Goog-Upload-Protocol");
  const std::string_view type = request.headers.get("Content-Type");
  if (protocol == "resumable") return begin_resumable(call, **store);
  if (protocol == "raw") {
    FileStore::NewFile file;
    const std::string_view named = request.headers.get("X-Goog-Upload-Header-Content-Type");
    TRY_STATUS(check_type(file, named.empty() ? type : named));
    return take_whole(call, **store, std::move(file), request.body);
  }
  if (protocol == "multipart" || (protocol.empty() && request.query_value("uploadType") == "multipart")) {
    TRY(const UploadBody body, split_upload(request.body, type));
    TRY(FileStore::NewFile file, read_metadata(body.metadata));
    TRY_STATUS(check_type(file, body.type));
    return take_whole(call, **store, std::move(file), body.bytes);
  }
  return fails(400, fmt::format("X-Goog-Upload-Protocol: expected resumable, multipart or raw, found '{}'", protocol));
}

// Who does not know the URL of an upload sends nothing.
std::optional<net::HttpResponse> refuse_upload(const Service& service, const net::PathNames& names) {
  const FileStore* store = service.options().files.get();
  if (store && store->knows(names.at("upload"))) return {};
  return failed_response(no_upload(), {});
}

Outcome go_on_with_upload(Call& call) {
  const auto found = store_of(call);
  if (!found) return tl::unexpected<Failure>(found.error());
  FileStore& store = **found;
  const std::string& id = call.names["upload"];
  const std::string_view command = call.request.headers.get("X-Goog-Upload-Command");
  if (command == "query") {
    const auto progress = store.progress(id);
    if (!progress) {
      respond_failed(call, store, id, no_upload());
    } else {
      call.exchange->respond(progress_response(call, *progress));
    }
    return {};
  }
  if (command == "cancel") {
    if (store.cancel(id)) {
      call.exchange->respond(upload_response("cancelled"));
    } else {
      respond_failed(call, store, id, no_upload());
    }
    return {};
  }
  std::string plain;
  for (const char c : command)
    if (c != ' ') plain += c;
  const bool upload = plain == "upload" || plain == "upload,finalize", last = plain != "upload";
  if (!upload && plain != "finalize") {
    respond_failed(call, store, id,
                   Failure(400, fmt::format("X-Goog-Upload-Command: expected upload, finalize, query or cancel, found "
                                            "'{}'",
                                            command)));
    return {};
  }
  const auto before = store.progress(id);
  if (!before) {
    respond_failed(call, store, id, no_upload());
    return {};
  }
  // Without an offset it goes on where it stopped.
  const auto offset = header_number(call.request, "X-Goog-Upload-Offset", before->file ? 0 : before->received);
  if (!offset) {
    respond_failed(call, store, id, offset.error());
    return {};
  }
  const auto progress =
      store.append(id, *offset, upload ? std::string_view(call.request.body) : std::string_view(), last);
  if (!progress) {
    respond_failed(call, store, id, progress.error());
  } else {
    call.exchange->respond(progress_response(call, *progress));
  }
  return {};
}

Outcome list_files(Call& call) {
  const auto store = store_of(call);
  if (!store) return tl::unexpected<Failure>(store.error());
  const std::vector<FileStore::File> files = (*store)->list();
  TRY(const Page page, page_of(call.request, files.size(), 10, 100));
  Json out = Json::object();
  for (size_t i = page.begin; i < page.end; ++i) out["files"].push_back(file_object(call, files[i]));
  if (!page.next.empty()) out["nextPageToken"] = page.next;
  call.exchange->respond(json_response(out));
  return {};
}

// The original does not say whether a file that may not be read is there.
Failure no_file(std::string_view name) {
  return {403, fmt::format("files/{} is not here, or is not yours to see", name)};
}

Outcome get_file(Call& call) {
  const auto store = store_of(call);
  if (!store) return tl::unexpected<Failure>(store.error());
  const std::string& name = call.names["name"];
  if (name.ends_with(":download"))
    return fails(400, fmt::format("files/{}: expected a file that was generated, this one was uploaded", name));
  const auto file = (*store)->find(name);
  if (!file) return tl::unexpected<Failure>(no_file(name));
  call.exchange->respond(json_response(file_object(call, *file)));
  return {};
}

Outcome delete_file(Call& call) {
  const auto store = store_of(call);
  if (!store) return tl::unexpected<Failure>(store.error());
  const std::string& name = call.names["name"];
  if (!(*store)->remove(name)) return tl::unexpected<Failure>(no_file(name));
  call.exchange->respond(json_response(Json::object()));
  return {};
}

}  // namespace onsight::server::gemini
