// download: the bytes of a large file on an HTTP server, piece by piece, gone on with where an earlier try ended.
//
//   TRY(DownloadEnd end, download({.url = url, .from = have}, [&](int64_t at, std::string_view bytes) { … }, stop));
//   if (!end.problem.empty()) …  // the line was cut: try again from what is there
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace onsight::net {

struct DownloadRequest {
  std::string url;         // http or https; where it is https, redirects stay so
  std::string token = {};  // a bearer token for the host of the URL; hosts that it redirects to do not see it
  int64_t from = 0;        // bytes of the file that are there
  // Without a byte for so long the line counts as cut.
  std::chrono::seconds stall{30};
};

// How it ended.
struct DownloadEnd {
  int status = 0;           // 200, 206 or what the server refused with; 0: it did not answer
  std::string problem;      // what cut the line; empty: the answer came whole
  int retry_after_s = -1;   // that the server asks for, -1: nothing
  std::string answer = {};  // the first bytes of a refusal
  std::string reason = {};  // the hub's own sentence about a refusal, of the header X-Error-Message
};

// Called with pieces in their order, each with its place in the file: the first is `from`, or 0 where the server knows
// no parts. What it fails with is what download() fails with.
using OnPiece = std::function<Status(int64_t at, std::string_view bytes)>;

// Follows redirects; asks proxies that the environment names. Fails with kInterrupted if `stop` says so, and with what
// `on_piece` says; what the line and the server do is in DownloadEnd.
Result<DownloadEnd> download(const DownloadRequest& request, const OnPiece& on_piece,
                             const std::function<bool()>& stop);

// A part of a path or a query in which nothing has a meaning of its own.
std::string percent_encoded(std::string_view text);

}  // namespace onsight::net
