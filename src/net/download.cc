#include "net/download.h"

#include <curl/curl.h>

#include <charconv>
#include <memory>
#include <optional>

#include "net/fetch.h"
#include "net/http.h"

namespace onsight::net {
namespace {

constexpr long kDownloadRedirects = 10;
constexpr size_t kRefusalBytes = 4096, kReasonBytes = 300;

using Easy = std::unique_ptr<CURL, decltype(&curl_easy_cleanup)>;

struct DownloadState {
  CURL* easy;
  const DownloadRequest* request;
  const OnPiece* on_piece;
  const std::function<bool()>* stop;
  DownloadEnd end = {};
  int64_t at = -1;                   // of the next piece; before the first one -1
  int64_t range_begin = -1;          // of Content-Range
  std::optional<Error> failed = {};  // of on_piece
  bool wrong_range = false, stopped = false;
};

int64_t number_in(std::string_view text) {
  int64_t number = -1;
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

size_t on_header(char* data, size_t size, size_t count, void* user) {
  auto& transfer = *static_cast<DownloadState*>(user);
  const std::string_view line(data, size * count);
  if (line.starts_with("HTTP/")) {  // another answer: what a redirect said is over
    transfer.range_begin = -1;
    transfer.end.retry_after_s = -1;
    transfer.end.reason.clear();
    return line.size();
  }
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return line.size();
  const std::string_view name = line.substr(0, colon), value = line.substr(colon + 1);
  if (equal_ignoring_case(name, "Content-Range")) {  // "bytes 100-199/200"
    const size_t unit = value.find("bytes ");
    if (unit != std::string_view::npos) transfer.range_begin = number_in(value.substr(unit + 6));
  } else if (equal_ignoring_case(name, "Retry-After")) {
    const int64_t seconds = number_in(value);
    if (seconds >= 0 && seconds < 1 << 20) transfer.end.retry_after_s = static_cast<int>(seconds);
  } else if (equal_ignoring_case(name, "X-Error-Message")) {
    constexpr std::string_view kSpace = " \t\r\n";
    const size_t begin = std::min(value.find_first_not_of(kSpace), value.size());
    const std::string_view said = value.substr(begin, value.find_last_not_of(kSpace) + 1 - begin);
    transfer.end.reason = said.substr(0, kReasonBytes);
  }
  return line.size();
}

size_t on_body(char* data, size_t size, size_t count, void* user) {
  auto& transfer = *static_cast<DownloadState*>(user);
  const std::string_view bytes(data, size * count);
  long status = 0;
  curl_easy_getinfo(transfer.easy, CURLINFO_RESPONSE_CODE, &status);
  if (status != 200 && status != 206) {
    transfer.end.answer += bytes.substr(0, kRefusalBytes - std::min(kRefusalBytes, transfer.end.answer.size()));
    return bytes.size();
  }
  if (transfer.at < 0) {
    transfer.at = status == 206 ? transfer.range_begin : 0;
    if (status == 206 && transfer.at != transfer.request->from) {
      transfer.wrong_range = true;
      return 0;
    }
  }
  if (const Status taken = (*transfer.on_piece)(transfer.at, bytes); !taken) {
    transfer.failed = taken.error();
    return 0;
  }
  transfer.at += static_cast<int64_t>(bytes.size());
  return bytes.size();
}

int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  auto& transfer = *static_cast<DownloadState*>(user);
  transfer.stopped = (*transfer.stop)();
  return transfer.stopped ? 1 : 0;
}

}  // namespace

Result<DownloadEnd> download(const DownloadRequest& request, const OnPiece& on_piece,
                             const std::function<bool()>& stop) {
  TRY_STATUS(ready_to_fetch());
  const Easy easy(curl_easy_init(), &curl_easy_cleanup);
  if (!easy) return make_error(ErrorCode::kOutOfMemory, "{}: not enough memory to fetch it", request.url);
  DownloadState transfer{.easy = easy.get(), .request = &request, .on_piece = &on_piece, .stop = &stop};
  const bool secure = request.url.starts_with("https:");
  curl_easy_setopt(easy.get(), CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(easy.get(), CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy.get(), CURLOPT_REDIR_PROTOCOLS_STR, secure ? "https" : "http,https");
  curl_easy_setopt(easy.get(), CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(easy.get(), CURLOPT_MAXREDIRS, kDownloadRedirects);
  curl_easy_setopt(easy.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy.get(), CURLOPT_USERAGENT, "onsight");
  curl_easy_setopt(easy.get(), CURLOPT_CONNECTTIMEOUT_MS, 20'000L);
  curl_easy_setopt(easy.get(), CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(easy.get(), CURLOPT_LOW_SPEED_TIME, static_cast<long>(request.stall.count()));
  curl_easy_setopt(easy.get(), CURLOPT_BUFFERSIZE, 256L << 10);
  if (!request.token.empty()) {
    curl_easy_setopt(easy.get(), CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
    curl_easy_setopt(easy.get(), CURLOPT_XOAUTH2_BEARER, request.token.c_str());
  }
  // Not CURLOPT_RESUME_FROM: that fails where the server sends the whole file, which is good too.
  const std::string range = fmt::format("{}-", request.from);
  if (request.from > 0) curl_easy_setopt(easy.get(), CURLOPT_RANGE, range.c_str());
  curl_easy_setopt(easy.get(), CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(easy.get(), CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(easy.get(), CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(easy.get(), CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(easy.get(), CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(easy.get(), CURLOPT_XFERINFODATA, &transfer);
  curl_easy_setopt(easy.get(), CURLOPT_NOPROGRESS, 0L);
  const CURLcode code = curl_easy_perform(easy.get());
  if (transfer.stopped) return make_error(ErrorCode::kInterrupted, "interrupted");
  if (transfer.failed) return tl::unexpected(*transfer.failed);
  long status = 0;
  curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &status);
  transfer.end.status = static_cast<int>(status);
  if (transfer.wrong_range)
    transfer.end.problem = "its host sends another part than was asked for";
  else if (code != CURLE_OK)
    transfer.end.problem = curl_easy_strerror(code);
  return std::move(transfer.end);
}

std::string percent_encoded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
                       c == '_' || c == '.' || c == '~';
    if (plain)
      out += c;
    else
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

}  // namespace onsight::net
