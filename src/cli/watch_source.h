// What `watch` looks at: a video, a picture that is written again and again, a folder that fills, a stream, a camera.
//
//   TRY_STATUS(watch_source("rtsp://camera/1", options, [&](Look look) -> Status { … }));
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "media/image.h"

namespace onsight::cli {

struct Look {
  std::shared_ptr<const media::Image> picture;
  std::string time;  // of the video, "0:01:05.000"; of others the time of day, as ISO 8601 in UTC
  std::string file;  // of a folder, the picture
};

struct WatchOptions {
  std::chrono::milliseconds every{2000};
  std::chrono::milliseconds longest_pause{30'000};  // between tries to reach a source that was lost
  std::function<bool()> stop;
  std::function<void(const std::string& sentence)> complain;  // of what is wrong and does not end it
};

// Refuses what can be refused at once, before a model is loaded: a file that is not there, a device that is no camera.
Status expect_source(const std::string& source);

// Calls `decide` for each look until the source ends (a video does), `stop` says so, or `decide` fails: with that. A
// source that was reached once and is lost is tried again. A stream is looked at as it is when a look is due: what it
// showed while the last one was decided is left out.
Status watch_source(const std::string& source, const WatchOptions& options, const std::function<Status(Look)>& decide);

}  // namespace onsight::cli
