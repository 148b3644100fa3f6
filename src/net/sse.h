// What a stream is made of: server-sent events, and JSON by the line.
//
//   exchange->start_stream(200, sse_headers());
//   exchange->write(sse_event(R"({"text": "Hi"})"));
#pragma once

#include <string>
#include <string_view>

#include "net/http.h"

namespace onsight::net {

inline Headers sse_headers() {
  // The last one asks nginx to pass on what it gets.
  return {
      {"Content-Type", "text/event-stream; charset=utf-8"}, {"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}};
}
inline Headers ndjson_headers() { return {{"Content-Type", "application/x-ndjson"}, {"Cache-Control", "no-cache"}}; }

// An event; each line of `data` is one of its own.
inline std::string sse_event(std::string_view data, std::string_view name = {}) {
  std::string out;
  if (!name.empty()) out.append("event: ").append(name).append("\n");
  for (;;) {
    const size_t end = data.find('\n');
    out.append("data: ").append(data.substr(0, end)).append("\n");
    if (end == std::string_view::npos) return out + "\n";
    data.remove_prefix(end + 1);
  }
}

// Clients skip it.
inline std::string_view sse_comment() { return ": still here\n\n"; }

inline std::string ndjson_line(std::string_view json) { return std::string(json) + "\n"; }

}  // namespace onsight::net
